"""The linear probe: what it measures, on which data, and that training does not notice it."""

import json
import os
import signal

import h5py
import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from crosspoint.core.errors import InputError
from crosspoint.core.system.interrupt import Stopped
from crosspoint.data.points import normalise
from crosspoint.data.splits import HELD_OUT, balanced, stratified
from crosspoint.models import PointNet
from crosspoint.models.weights import load_model, read_weights
from crosspoint.train.pretrain import probe as module
from crosspoint.train.pretrain.options import RunOptions
from crosspoint.train.pretrain.pretrain import Picked, PretrainRun, train
from crosspoint.train.pretrain.probe import RELATIVE_C, LinearProbe
from crosspoint.train.pretrain.recipes import make_recipe


def write(folder, split, per_class, seed):
    """Balls, sticks and plates of 32 points."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), per_class)
    stretch = np.array([[1, 1, 1], [0.4, 1, 0.4], [1, 0.4, 1]])[labels] * rng.uniform(0.7, 1.4, (len(labels), 3))
    points = rng.standard_normal((len(labels), 32, 3)) * stretch[:, None]
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / f"ply_data_{split}0.h5", "w") as file:
        file["data"], file["label"] = points.astype(np.float32), labels.astype(np.uint8)[:, None]
    (folder / "shape_names.txt").write_text("ball\nstick\nplate\n")
    return points.astype(np.float32), labels


@pytest.fixture
def labelled(tmp_path):
    folder = tmp_path / "labelled"
    write(folder, "train", 20, 0)
    return folder


@pytest.fixture
def recipe():
    return make_recipe("quick", ["points=32", "backbone=pointnet"])


def embed(encoder, points):
    with torch.no_grad():
        return encoder.eval()(torch.from_numpy(normalise(points))).double().numpy()


def test_official_is_the_published_protocol_on_the_test_split(labelled):
    test_points, test_labels = write(labelled, "test", 7, 1)
    points, labels = write(labelled, "train", 20, 0)
    encoder = PointNet()
    recipe = make_recipe("official", ["points=32", "backbone=pointnet"])
    classifier = SVC(kernel="linear", C=0.1).fit(embed(encoder, points), labels)
    expected = np.mean(classifier.predict(embed(encoder, test_points)) == test_labels)
    assert LinearProbe(labelled, 1, recipe=recipe).accuracy(encoder) == pytest.approx(expected)


def test_any_other_recipe_holds_out_training_data_and_never_looks_at_the_test_split(labelled, recipe):
    without = LinearProbe(labelled, 1, recipe=recipe)
    write(labelled, "test", 7, 1)
    probe = LinearProbe(labelled, 1, recipe=recipe)
    assert np.array_equal(without.tested.points, probe.tested.points)
    assert [len(part.labels) for part in (probe.fitted, probe.tested)] == [48, 12]
    assert np.bincount(probe.tested.labels).tolist() == [4, 4, 4]
    encoder = PointNet()
    fitted = embed(encoder, probe.fitted.points)
    variance = np.square(fitted - fitted.mean(axis=0)).sum(axis=1).mean()
    classifier = SVC(kernel="linear", C=RELATIVE_C / variance).fit(fitted, probe.fitted.labels)
    expected = np.mean(classifier.predict(embed(encoder, probe.tested.points)) == probe.tested.labels)
    assert probe.accuracy(encoder) == pytest.approx(expected)


def test_the_encoder_and_the_random_numbers_are_left_as_they_were(labelled, recipe):
    encoder = PointNet().train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    state = torch.get_rng_state()
    LinearProbe(labelled, 1, recipe=recipe).accuracy(encoder)
    assert encoder.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_a_collapsed_encoder_scores_as_the_most_frequent_class(labelled, recipe):
    encoder = PointNet()
    for parameter in encoder.parameters():
        torch.nn.init.zeros_(parameter)
    assert LinearProbe(labelled, 1, recipe=recipe).accuracy(encoder) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("every", "steps"), [(1, [0, 3, 6]), (3, [0, 6])])
def test_training_is_the_same_with_a_probe(labelled, pairs, small, tmp_path, every, steps):
    overrides = (*small, "backbone=pointnet", "objective=imid")
    train(pairs, tmp_path / "plain", recipe="quick", overrides=overrides, device="cpu", options=RunOptions(0))
    train(
        pairs,
        tmp_path / "probed",
        recipe="quick",
        overrides=overrides,
        device="cpu",
        options=RunOptions(0, probe=labelled, probe_every=every),
    )
    states = [load_model(tmp_path / run / "encoder.safetensors").state_dict() for run in ("plain", "probed")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    lines = [json.loads(line) for line in (tmp_path / "probed" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "probe_accuracy" in line] == steps


@pytest.fixture
def official(labelled, pairs, small, tmp_path, monkeypatch):
    """Trains with the recipe `official`; the probe gives these accuracies before and after the epochs."""
    write(labelled, "test", 7, 1)

    def run(name, accuracies, probed=True, **arguments):
        given = iter(accuracies)
        monkeypatch.setattr(LinearProbe, "accuracy", lambda self, encoder: next(given))
        overrides = (*small, "backbone=pointnet", "objective=imid", "epochs=3")
        return train(
            pairs,
            tmp_path / name,
            recipe="official",
            overrides=overrides,
            device="cpu",
            options=RunOptions(0, probe=labelled if probed else None),
            **arguments,
        )

    return run


def weights(folder):
    model = load_model(folder / "encoder.safetensors")
    return torch.cat([tensor.flatten().double() for tensor in model.state_dict().values()])


def test_official_keeps_the_first_epoch_with_the_best_test_accuracy_and_says_so(official, tmp_path):
    result = official("run", [0.9, 0.4, 0.5, 0.5])  # the state before the training is not an epoch
    assert result.picked == Picked(6, 0.5)
    recipe = read_weights(tmp_path / "run" / "encoder.safetensors").recipe
    assert (recipe["steps"], "test split" in recipe["picked"]) == (6, True)
    official("first", [0.9, 0.4, 0.3, 0.3])
    official("last", [0.9, 0.4, 0.5, 0.6])
    kept, first, last = (weights(tmp_path / name) for name in ("run", "first", "last"))
    assert not torch.equal(kept, first)
    assert not torch.equal(kept, last)
    assert official("plain", [], probed=False).picked is None
    assert torch.equal(weights(tmp_path / "plain"), last)
    assert "picked" not in read_weights(tmp_path / "plain" / "encoder.safetensors").recipe


def test_a_resumed_run_remembers_the_best_epoch(official, tmp_path, monkeypatch):
    official("whole", [0.9, 0.6, 0.5, 0.4])
    step = PretrainRun.train_step

    def interrupted(self, batch, rate):
        if self.step == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, rate)

    monkeypatch.setattr(PretrainRun, "train_step", interrupted)
    with pytest.raises(Stopped):
        official("parts", [0.9, 0.6, 0.5])
    monkeypatch.setattr(PretrainRun, "train_step", step)
    result = official("parts", [0.4], resume=True)
    assert result.picked == Picked(3, 0.6)
    assert torch.equal(weights(tmp_path / "parts"), weights(tmp_path / "whole"))


def test_mistakes_are_one_line(labelled, recipe):
    with pytest.raises(InputError, match="give at least 1 epoch"):
        LinearProbe(labelled, 0, recipe=recipe)
    with pytest.raises(InputError, match="32"):
        LinearProbe(labelled, 1, recipe=make_recipe("quick", ["points=64"]))
    with pytest.raises(InputError, match="no test split"):
        LinearProbe(labelled, 1, recipe=make_recipe("official", ["points=32"]))


@pytest.mark.parametrize("seed", [0, 5])
def test_of_many_objects_the_recipe_s_seed_draws_some(labelled, seed, monkeypatch):
    monkeypatch.setattr(module, "FITTED", 9)
    monkeypatch.setattr(module, "TESTED", 6)
    points, labels = write(labelled, "train", 20, 0)
    probe = LinearProbe(labelled, 1, recipe=make_recipe("quick", ["points=32", "backbone=pointnet", f"seed={seed}"]))
    kept, held_out = stratified(labels, HELD_OUT, seed=seed)
    for part, rows, count in ((probe.fitted, kept, 9), (probe.tested, held_out, 6)):
        chosen = rows[balanced(labels[rows], count, seed=seed)]
        assert len(chosen) == count
        np.testing.assert_array_equal(part.labels, labels[chosen])
        np.testing.assert_array_equal(part.points, points[chosen])


def test_what_is_probed_at_most():
    assert (module.FITTED, module.TESTED, module.RELATIVE_C) == (2000, 1000, 10.0)
