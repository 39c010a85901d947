from dataclasses import replace

import numpy as np
import pytest
import torch

from crosspoint.core.errors import InputError
from crosspoint.data.points import normalise
from crosspoint.eval.fewshot import Labelled, TaskOptions, eligible, fewshot, run_task
from crosspoint.models import DGCNN, PointNet
from crosspoint.models.weights import save_model
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.options import Sampling


def separable(per_class, classes=6, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    features = 20 * np.eye(classes)[labels] + rng.standard_normal((len(labels), classes))
    return Labelled(features.astype(np.float32), labels)


def test_separable_classes_are_all_recognised():
    data = separable(10)
    assert run_task(data, data, ways=5, shots=3, queries=4, seed=(0,)).accuracy == 1.0


def test_labels_without_relation_to_the_features_give_chance():
    rng = np.random.default_rng(0)
    noise = Labelled(rng.standard_normal((600, 8)).astype(np.float32), np.repeat(np.arange(6), 100))
    accuracies = [run_task(noise, noise, ways=5, shots=10, queries=20, seed=(run,)).accuracy for run in range(40)]
    assert np.mean(accuracies) == pytest.approx(0.2, abs=0.03)


def test_queries_are_never_support_objects():
    """Every object has a direction of its own, so only an object that was seen in training would be recognised."""
    labels = np.tile(np.arange(2), 15)
    data = Labelled(np.eye(30, dtype=np.float32), labels)
    leaking = run_task(data, Labelled(data.features, data.labels), ways=2, shots=15, queries=15, seed=(0,)).accuracy
    assert leaking == 1.0
    assert np.mean(
        [run_task(data, data, ways=2, shots=10, queries=5, seed=(run,)).accuracy for run in range(10)]
    ) == pytest.approx(0.5, abs=0.15)


def test_classes_need_support_and_queries_together_when_both_come_from_one_split():
    labels = np.repeat([0, 1, 2], [4, 5, 6])
    assert eligible(labels, labels, shots=3, queries=2, same=True).tolist() == [1, 2]
    assert eligible(labels, np.repeat([0, 2], [2, 1]), shots=3, queries=2, same=False).tolist() == [0]


def test_every_pair_and_both_sources_are_reported(modelnet, pointnet):
    result = fewshot(
        pointnet, modelnet, tasks=TaskOptions((2, 3), shots=(1, 5), queries=5, runs=4), sampling=Sampling(32)
    )
    rows = [(row.queries_from, row.ways, row.shots) for row in result.tasks]
    sources = ("training split", "test split")
    assert rows == [(source, ways, shots) for source in sources for ways in (2, 3) for shots in (1, 5)]
    for row in result.tasks:
        assert len(row.accuracies) == 4
        assert row.summary.standard_error == pytest.approx(row.summary.std / 2)
        squares = sum((accuracy - row.summary.mean) ** 2 for accuracy in row.accuracies)
        assert (row.summary.std, row.std_n) == pytest.approx(((squares / 3) ** 0.5, (squares / 4) ** 0.5))


def test_a_pair_does_not_depend_on_the_others(modelnet, pointnet):
    several = TaskOptions((2, 3), shots=(1, 5), queries=5, runs=3)
    single = replace(several, ways=(3,), shots=(5,))
    many = fewshot(pointnet, modelnet, tasks=several, sampling=Sampling(32)).tasks
    one = fewshot(pointnet, modelnet, tasks=single, sampling=Sampling(32)).tasks
    assert many[3] == one[0]
    assert fewshot(pointnet, modelnet, tasks=single, sampling=Sampling(32, 1)).tasks != one


def test_there_is_no_test_variant_without_a_test_split(tmp_path, writers, pointnet):
    root = writers["modelnet40"](tmp_path, test=0)
    result = fewshot(pointnet, root, tasks=TaskOptions((2,), shots=(1,), queries=5, runs=2), sampling=Sampling(32))
    assert [row.queries_from for row in result.tasks] == ["training split"]


@pytest.mark.parametrize(("ways", "shots", "queries"), [((4,), (1,), 5), ((3,), (11,), 5), ((3,), (5,), 6)])
def test_too_few_classes_say_what_to_lower(modelnet, pointnet, ways, shots, queries):
    with pytest.raises(InputError, match=r"classes of .* lower --ways, --shots or --queries"):
        fewshot(pointnet, modelnet, tasks=TaskOptions(ways, shots=shots, queries=queries), sampling=Sampling(32))


def test_one_way_is_no_task(modelnet, pointnet):
    with pytest.raises(InputError, match="at least 2 ways"):
        fewshot(pointnet, modelnet, tasks=TaskOptions((1,)))


def test_another_model_meets_the_same_tasks(tmp_path, modelnet, pointnet):
    torch.manual_seed(5)
    other = tmp_path / "other.safetensors"
    save_model(PointNet().eval(), other)
    arguments = {"tasks": TaskOptions((2,), (5,), queries=5, runs=4), "sampling": Sampling(32)}
    pairs = [row.against for row in fewshot(pointnet, modelnet, **arguments, against=other).tasks]
    alone = fewshot(other, modelnet, **arguments).tasks
    assert [pair.reference_accuracy for pair in pairs] == pytest.approx([row.summary.mean for row in alone])
    assert all(pair.equal_predictions == 1 for pair in _against_itself(modelnet, pointnet, arguments))


def _against_itself(data, model, arguments):
    return [row.against for row in fewshot(model, data, **arguments, against=model).tasks]


def test_k_is_set_for_pytorch_and_changes_the_features(tmp_path, modelnet):
    torch.manual_seed(0)
    model = DGCNN(k=6).eval()
    save_model(model, tmp_path / "a.safetensors")
    five = DGCNN(k=3).eval()
    five.load_state_dict(model.state_dict())
    save_model(five, tmp_path / "b.safetensors")
    clouds = normalise(np.random.default_rng(0).random((2, 16, 3)))
    with load_encoder(tmp_path / "a.safetensors") as a, load_encoder(tmp_path / "b.safetensors") as b:
        before = a.embed(clouds)
        a.set_neighbours(3)
        np.testing.assert_array_equal(a.embed(clouds), b.embed(clouds))
        assert np.abs(before - b.embed(clouds)).max() > 1e-3
        assert a.specification.min_points == 3


def test_a_model_without_graphs_has_no_k(modelnet, pointnet):
    with pytest.raises(InputError, match="no neighbour graphs"):
        fewshot(pointnet, modelnet, tasks=TaskOptions((2,), shots=(1,), queries=5, runs=2), sampling=Sampling(32), k=5)


def test_the_json_has_the_entries_that_scripts_read(modelnet, pointnet):
    """Names and order are a contract: others read these files."""
    few = {"tasks": TaskOptions((2,), (5,), queries=5, runs=2), "sampling": Sampling(32)}
    written = fewshot(pointnet, modelnet, **few, against=pointnet).to_json()
    assert list(written) == ["schema", "model", "data", "queries", "runs", "tasks", "against"]
    assert written["schema"] == "crosspoint.fewshot/1"
    assert list(written["data"]) == ["path", "format", "train", "test", "points", "seed", "k", "frame"]
    assert list(written["tasks"][0]) == [
        *("ways", "shots", "queries_from", "mean", "std", "standard_error", "accuracies", "std_n", "against")
    ]
    assert list(written["tasks"][0]["against"])[-3:] == ["difference", "interval", "runs"]
    assert list(written["against"]) == ["model"]
    alone = fewshot(pointnet, modelnet, **few).to_json()
    assert "against" not in alone
    assert "against" not in alone["tasks"][0]


@pytest.mark.parametrize(
    "options",
    [
        {"ways": ()},
        {"shots": ()},
        {"ways": (1,)},
        {"ways": (2, 1)},
        {"shots": (1, 0)},
        {"queries": 0},
        {"runs": 0},
    ],
)
def test_a_task_of_nothing_is_refused_before_anything_is_opened(tmp_path, options):
    with pytest.raises(InputError, match="at least 2 ways, 1 shot, 1 query and 1 run"):
        fewshot(tmp_path / "no model", tmp_path / "no data", tasks=TaskOptions(**options))
