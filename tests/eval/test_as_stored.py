"""ScanObjectNN's clouds in the published protocols are taken as they are stored; ours are normalised.

The classes here have one shape and differ in size alone, which normalising takes away.
"""

import h5py
import numpy as np
import pytest

from crosspoint.eval.fewshot import TaskOptions, fewshot
from crosspoint.eval.svm import svm
from crosspoint.models import PointNet
from crosspoint.runtime.options import RunOn, Sampling
from crosspoint.train.pretrain.probe import LinearProbe
from crosspoint.train.pretrain.recipes import make_recipe


@pytest.fixture(params=["scanobjectnn", "modelnet40"])
def sized(tmp_path, request):
    """Balls of two sizes, and the name of the format they are stored in."""
    names = {
        "scanobjectnn": ("training_objectdataset.h5", "test_objectdataset.h5"),
        "modelnet40": ("ply_data_train0.h5", "ply_data_test0.h5"),
    }[request.param]
    rng = np.random.default_rng(0)
    for name, per_class in zip(names, (40, 20), strict=True):
        labels = np.repeat([0, 1], per_class)
        directions = rng.standard_normal((len(labels), 32, 3))
        points = (
            directions / np.linalg.norm(directions, axis=2, keepdims=True) * np.array([0.5, 2.0])[labels, None, None]
        )
        with h5py.File(tmp_path / name, "w") as file:
            file["data"], file["label"] = points.astype(np.float32), labels.astype(np.int64)
    return tmp_path, request.param


def test_official_takes_scanobjectnn_as_stored_and_clean_does_not(sized, pointnet):
    data, name = sized
    result = svm(pointnet, data, sampling=Sampling(32))
    assert (result.official.accuracy == 1) == (name == "scanobjectnn")
    assert result.official.rule.endswith("as stored") == (name == "scanobjectnn")
    assert result.clean.accuracy < 0.8


def test_published_tasks_take_scanobjectnn_as_stored_and_ours_do_not(sized, pointnet):
    data, name = sized
    tasks = TaskOptions((2,), (10,), queries=20, runs=4)
    training, test = fewshot(pointnet, data, tasks=tasks, sampling=Sampling(32)).tasks
    assert (training.summary.mean == 1) == (name == "scanobjectnn")
    assert test.summary.mean < 0.8


@pytest.mark.parametrize("recipe", ["official", "quick"])
def test_the_probe_of_official_takes_scanobjectnn_as_stored(sized, recipe):
    data, name = sized
    probe = LinearProbe(data, 1, recipe=make_recipe(recipe, ["points=32", "backbone=pointnet"]))
    right = probe.accuracy(PointNet()) == 1
    assert right == (recipe == "official" and name == "scanobjectnn")


def test_a_cache_keeps_both(sized, pointnet, tmp_path):
    data, _ = sized
    run_on = RunOn(cache=tmp_path / "cache")
    first, second = (svm(pointnet, data, sampling=Sampling(32), run_on=run_on) for _ in range(2))
    assert first.official.accuracy == second.official.accuracy
    assert first.clean.accuracy == second.clean.accuracy
