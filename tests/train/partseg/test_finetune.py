"""Part segmentation: the loss, the schedule, the run folder, resuming, and the choice of the epoch."""

import json
import math
import os
import signal

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from crosspoint.cli import crosspoint
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.system.interrupt import Stopped
from crosspoint.models.segmentation import SegmentationBackbone
from crosspoint.models.weights import load_model, read_metadata, save_model
from crosspoint.runtime.load import load_encoder
from crosspoint.train.partseg import finetune
from crosspoint.train.partseg.finetune import FinetuneRun, learning_rate, partseg, smoothed_cross_entropy
from crosspoint.train.partseg.recipes import PartSegRecipe

SMALL = ("points=32", "k=4", "batch=4", "epochs=3", "held_out=0.2")  # 16 objects to train on: 4 steps an epoch


def metrics(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "objects_per_second"} for line in lines]


def segmenter(run):
    return load_model(run / "segmenter.safetensors").state_dict()


def assert_same(one, two):
    assert metrics(one) == metrics(two)
    for name, tensor in segmenter(one).items():
        assert torch.equal(tensor, segmenter(two)[name]), name


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("pretrained") / "encoder.safetensors"
    save_model(SegmentationBackbone(4), path)
    return path


@pytest.fixture(scope="module")
def finished(part_set, backbone, tmp_path_factory):
    run = tmp_path_factory.mktemp("finished") / "run"
    return run, partseg(part_set, run, start=backbone, recipe="clean", overrides=SMALL, device="cpu")


def test_the_loss_is_that_of_the_formula():
    """1 − ε for the true part and ε / (K − 1) for each other one, point by point in float64."""
    rng = np.random.default_rng(0)
    logits, parts = rng.normal(size=(2, 3, 7)), rng.integers(0, 7, (2, 3))
    expected = 0.0
    for row, part in zip(logits.reshape(-1, 7), parts.reshape(-1), strict=True):
        total = math.log(sum(math.exp(value) for value in row))
        for i, value in enumerate(row):
            expected -= (0.8 if i == part else 0.2 / 6) * (value - total) / 6
    loss = smoothed_cross_entropy(torch.from_numpy(logits), torch.from_numpy(parts), smoothing=0.2)
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    assert smoothed_cross_entropy(torch.ones(1, 3, 1), torch.zeros(1, 3, dtype=torch.int64), smoothing=0.2).item() == 0


def test_the_schedule_is_the_cosine_of_pytorch():
    recipe = PartSegRecipe("clean")
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 300, eta_min=1e-3)
    for epoch in range(300):
        assert learning_rate(recipe, epoch) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        optimiser.step()
        scheduler.step()


def test_run_folder_is_complete(finished, backbone):
    run, result = finished
    assert result.steps == 12
    config = json.loads((run / "config.json").read_text())
    assert config["recipe"]["epochs"] == 3
    assert config["kernels"].startswith("none: " if config["device"] == "cpu" else ("triton ", "none: "))
    assert config["initial"]["path"] == str(backbone)
    assert config["data"]["taxonomy"]["category_parts"]["Dumbbell"] == [2, 3, 4]
    lines = metrics(run)
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert [line["step"] for line in lines if "selection_instance_miou" in line] == [4, 8, 12]
    assert {"loss", "accuracy", "gradient_norm", "learning_rate"} <= set(lines[0])
    metadata = read_metadata(run / "segmenter.safetensors")
    assert metadata.model == {"architecture": "dgcnn_partseg", "parts": 5, "categories": 2, "k": 4}
    assert metadata.recipe["best"] == vars(result.best)
    with load_encoder(run) as encoder:
        assert encoder.specification.categories == 2


def test_the_result_is_the_best_epoch_by_validation(finished, part_set):
    run, result = finished
    scores = [line["selection_instance_miou"] for line in metrics(run) if "selection_instance_miou" in line]
    assert result.best.instance_miou == max(scores)
    assert scores[result.best.epoch] == max(scores)


def test_the_network_learns_parts_that_follow_from_the_coordinates(part_set, tmp_path):
    overrides = (*SMALL, "epochs=12", "selection=last", "stretch=1", "shift=0")
    partseg(part_set, tmp_path / "run", start=None, recipe="clean", overrides=overrides, device="cpu")
    lines = metrics(tmp_path / "run")
    assert sum(line["loss"] for line in lines[-5:]) < 0.8 * sum(line["loss"] for line in lines[:5])
    assert np.mean([line["accuracy"] for line in lines[-5:]]) > 0.6


def test_an_interrupted_run_ends_as_if_it_had_not_been(finished, part_set, backbone, tmp_path, monkeypatch):
    original, out = FinetuneRun.train_step, tmp_path / "run"

    def step_and_interrupt(run, rows, rate):
        if run.step in (1, 7):
            os.kill(os.getpid(), signal.SIGTERM if run.step == 1 else signal.SIGINT)
        return original(run, rows, rate)

    monkeypatch.setattr(FinetuneRun, "train_step", step_and_interrupt)
    for stopped_at in (2, 8):
        with pytest.raises(Stopped, match=f"after step {stopped_at} of 12"):
            partseg(part_set, out, start=backbone, recipe="clean", overrides=SMALL, resume=True, device="cpu")
    result = partseg(part_set, out, resume=True, device="cpu")
    assert_same(out, finished[0])
    assert result.best == finished[1].best
    assert partseg(part_set, out, resume=True, device="cpu").best == result.best, "nothing is left to do"


def test_a_run_that_died_before_its_first_checkpoint_starts_from_the_same_weights(
    finished, part_set, backbone, tmp_path, monkeypatch
):
    out = tmp_path / "run"

    def die(run, rows, rate):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(FinetuneRun, "train_step", die)
        with pytest.raises(MemoryError):
            partseg(part_set, out, start=backbone, recipe="clean", overrides=SMALL, device="cpu")
    partseg(part_set, out, resume=True, device="cpu")
    assert_same(out, finished[0])


def test_each_selection_has_its_result(write_parts, tmp_path):
    root = write_parts(tmp_path, val=4)
    overrides = (*SMALL, "epochs=1")
    for selection, objects in (("val", 20), ("test", 24), ("last", 24)):
        out = tmp_path / selection
        result = partseg(
            root, out, start=None, recipe="clean", overrides=(*overrides, f"selection={selection}"), device="cpu"
        )
        assert json.loads((out / "config.json").read_text())["data"]["objects"] == objects
        assert (result.best is None) == (selection == "last")
        assert (out / "segmenter.safetensors").exists()
    last = torch.load(next((tmp_path / "last" / "checkpoints").iterdir()), weights_only=True)["network"]
    for name, tensor in segmenter(tmp_path / "last").items():
        assert torch.equal(tensor, last[name])


def test_official_and_bf16_run(part_set, tmp_path):
    overrides = ("points=32", "k=4", "batch=4", "epochs=1")
    result = partseg(part_set, tmp_path / "official", start=None, recipe="official", overrides=overrides, device="cpu")
    assert "test split" in result.selected_on
    partseg(
        part_set,
        tmp_path / "low",
        start=None,
        recipe="official",
        overrides=(*overrides, "precision=bf16"),
        device="cpu",
    )
    low, full = metrics(tmp_path / "low")[0], metrics(tmp_path / "official")[0]
    assert low["loss"] == pytest.approx(full["loss"], rel=0.05)
    assert low["loss"] != full["loss"]


def test_mistakes_are_one_line(finished, part_set, write_parts, backbone, tmp_path):
    run = finished[0]
    with pytest.raises(InputError, match="already holds a run"):
        partseg(part_set, run, start=backbone, recipe="clean", overrides=SMALL)
    with pytest.raises(InputError, match=r"another recipe \(batch was 4, now 8\)"):
        partseg(part_set, run, start=None, recipe="clean", overrides=(*SMALL, "batch=8"), resume=True)
    other = tmp_path / "other.safetensors"
    save_model(SegmentationBackbone(4), other)
    with pytest.raises(InputError, match="resume without --from"):
        partseg(part_set, run, start=other, resume=True)
    with pytest.raises(InputError, match="the training data has changed since the run started"):
        partseg(write_parts(tmp_path / "a", train=24), run, resume=True, device="cpu")
    with pytest.raises(InputError, match="16 objects, fewer than a batch of 50"):
        partseg(part_set, tmp_path / "b", start=None, recipe="clean", overrides=(*SMALL, "batch=50"), device="cpu")
    assert not (tmp_path / "b" / "checkpoints").exists()


def test_a_loss_that_is_not_finite_stops_with_the_objects(part_set, tmp_path, monkeypatch):
    original = finetune.augment_parts

    def poisoned(*arguments, **options):
        points, parts = original(*arguments, **options)
        return points * float("nan"), parts

    monkeypatch.setattr(finetune, "augment_parts", poisoned)
    with pytest.raises(
        CheckFailed, match=r"the loss is nan in step 1, with the objects \[.*last good checkpoint is none"
    ):
        partseg(part_set, tmp_path / "run", start=None, recipe="clean", overrides=SMALL, device="cpu")


def test_the_command_says_what_was_loaded_and_how_the_epoch_was_chosen(part_set, backbone, tmp_path):
    settings = [value for override in (*SMALL, "epochs=1", "k=5") for value in ("--set", override)]
    options = ["--data", part_set, "--out", tmp_path / "run", "--from", backbone, "--device", "cpu"]
    arguments = ["finetune", "partseg", *options, *settings, "--json", tmp_path / "a.json"]
    result = CliRunner().invoke(crosspoint, [str(a) for a in arguments], catch_exceptions=False)
    assert f"of {backbone}, dgcnn_seg; the head starts anew; it was trained with k = 4" in result.output
    assert "best epoch 1 of 1, by 20% of the training split, stratified, seed 0" in result.output
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["schema"] == "crosspoint.finetune-partseg/1"
    assert list(written)[:8] == ["schema", "out", "steps", "epochs", "seconds", "device", "rank", "processes"]
    assert list(written)[-3:] == ["initial", "selected_on", "best"]
    assert list(written["best"]) == ["epoch", "instance_miou", "class_miou"]
    assert written["initial"]["tensors"] == len(load_model(backbone).state_dict())
