"""Evaluations of z-up data with `--up z` give what they give of the same data y-up."""

import h5py
import numpy as np
import pytest

from crosspoint.core.console import verbosity
from crosspoint.data.frames import Frame
from crosspoint.data.sets.datasets import load_classification
from crosspoint.eval.fewshot import TaskOptions, fewshot
from crosspoint.eval.robustness import robustness
from crosspoint.eval.svm import svm
from crosspoint.parity.user_clouds import real_clouds
from crosspoint.runtime.options import Sampling


def lay_z_up(folder):
    """Turn the clouds of a set in place, so that z points up: `(x, y, z)` becomes `(x, −z, y)`."""
    for path in folder.glob("*.h5"):
        with h5py.File(path, "r+") as file:
            file["data"][...] = file["data"][...][..., [0, 2, 1]] * np.float32([1, -1, 1])
    return folder


@pytest.fixture
def z_up(tmp_path, writers):
    return lay_z_up(writers["modelnet40"](tmp_path / "z"))


def test_a_set_is_turned_to_y_up(modelnet, z_up):
    expected, found = load_classification(modelnet, None), load_classification(z_up, None, up="z")
    np.testing.assert_array_equal(found.train.points, expected.train.points)
    np.testing.assert_array_equal(found.test.points, expected.test.points)


def test_svm(modelnet, z_up, pointnet):
    found = svm(pointnet, z_up, sampling=Sampling(32, seeds=1, up="z"))
    assert found.confusion == svm(pointnet, modelnet, sampling=Sampling(32, seeds=1)).confusion
    assert found.data.frame == Frame("z", "given")


def test_fewshot(modelnet, z_up, pointnet):
    tasks = TaskOptions(ways=(2,), shots=(3,), queries=2, runs=2)
    found = fewshot(pointnet, z_up, tasks=tasks, sampling=Sampling(32, up="z"))
    assert found.tasks == fewshot(pointnet, modelnet, tasks=tasks, sampling=Sampling(32)).tasks
    assert found.data.frame == Frame("z", "given")


def test_robustness(modelnet, z_up, pointnet):
    chosen = {"corruptions": ("dropped",)}
    found = robustness([pointnet], z_up, **chosen, sampling=Sampling(16, up="z"))
    expected = robustness([pointnet], modelnet, **chosen, sampling=Sampling(16))
    assert found.curves == expected.curves
    assert found.data.frame == Frame("z", "given")


def test_the_clouds_of_parity(modelnet, z_up):
    expected, found = (real_clouds(data, 32, limit=9, seed=0, up=up) for data, up in ((modelnet, None), (z_up, "z")))
    np.testing.assert_array_equal(found.points, expected.points)
    assert (expected.frame, found.frame) == (Frame("y", "format"), Frame("z", "given"))


def test_the_files_of_parity(tmp_path):
    points = np.random.default_rng(0).random((50, 3), np.float32)
    for name, cloud in (("y", points), ("z", points[:, [0, 2, 1]] * np.float32([1, -1, 1]))):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "a.npy", cloud)
    expected, found = (real_clouds(tmp_path / up, 40, limit=None, seed=0, up=up) for up in ("y", "z"))
    np.testing.assert_array_equal(found.points, expected.points)
    assert real_clouds(tmp_path / "y", 40, limit=None, seed=0).frame == Frame("y", "assumed")


def test_published_sets_are_y_up_without_a_word(modelnet, pointnet, capsys):
    with verbosity(quiet=False):
        result = svm(pointnet, modelnet, sampling=Sampling(32, seeds=1))
    assert result.data.frame == Frame("y", "format")
    assert "y-up" not in capsys.readouterr().err
