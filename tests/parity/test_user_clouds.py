import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.splits import balanced
from crosspoint.parity.user_clouds import real_clouds


def test_labelled_clouds_come_training_part_first(modelnet):
    probe = real_clouds(modelnet, 32, limit=None, seed=0)
    assert probe.points.shape == (60, 32, 3)
    assert probe.labels is not None
    assert probe.train == 45
    np.testing.assert_allclose(np.linalg.norm(probe.points, axis=2).max(axis=1), 1, atol=1e-6)


def test_a_limit_draws_from_both_parts(modelnet):
    probe = real_clouds(modelnet, 32, limit=20, seed=0)
    assert probe.labels is not None
    assert len(probe.points) == len(probe.labels) == 20
    assert 5 < probe.train < 20
    np.testing.assert_array_equal(probe.points, real_clouds(modelnet, 32, limit=20, seed=0).points)


def test_a_draw_is_balanced_as_far_as_there_are_objects():
    labels = np.repeat([0, 1, 2], [50, 2, 20])
    rows = balanced(labels, 22, seed=0)
    assert np.bincount(labels[rows]).tolist() == [10, 2, 10]
    assert len(np.unique(rows)) == 22
    assert not np.array_equal(rows, balanced(labels, 22, seed=1))
    np.testing.assert_array_equal(balanced(labels, 72, seed=0), np.arange(72))


def test_too_few_clouds_of_a_class_leave_no_labels(modelnet):
    probe = real_clouds(modelnet, 32, limit=5, seed=0)
    assert probe.labels is None
    assert len(probe.points) == 5
    assert "too few clouds of each class" in probe.source


def test_a_folder_of_files_has_no_labels(tmp_path):
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", np.random.default_rng(i).random((50, 3), np.float32))
    probe = real_clouds(tmp_path, 40, limit=2, seed=0)
    assert probe.labels is None
    assert probe.points.shape == (2, 40, 3)


def test_bad_files_are_passed_over_and_named(tmp_path):
    np.save(tmp_path / "good.npy", np.random.default_rng(0).random((50, 3), np.float32))
    np.save(tmp_path / "short.npy", np.zeros((3, 3), np.float32))
    probe = real_clouds(tmp_path, 40, limit=None, seed=0)
    assert len(probe.points) == 1
    assert len(probe.skipped) == 1
    assert "short.npy" in probe.skipped[0]


def test_a_folder_with_bad_files_only_is_refused(tmp_path):
    np.save(tmp_path / "short.npy", np.zeros((3, 3), np.float32))
    with pytest.raises(InputError, match=r"not one of 1 files .*short.npy"):
        real_clouds(tmp_path, 40, limit=None, seed=0)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError):
        real_clouds(tmp_path, 40, limit=None, seed=0)


def test_no_clouds_is_refused(modelnet):
    with pytest.raises(InputError, match="--clouds is 0"):
        real_clouds(modelnet, 32, limit=0, seed=0)


def test_a_limit_takes_each_object_once_and_by_the_seed(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(12):
        np.save(tmp_path / f"{i:02}.npy", rng.random((40, 3), np.float32) * (1, 1 + i, 1))
    chosen = real_clouds(tmp_path, 32, limit=8, seed=0).points
    assert len({cloud.tobytes() for cloud in chosen}) == 8
    assert real_clouds(tmp_path, 32, limit=8, seed=0).points.tobytes() == chosen.tobytes()
    assert real_clouds(tmp_path, 32, limit=8, seed=1).points.tobytes() != chosen.tobytes()


def test_a_limit_draws_labelled_objects_by_the_seed(modelnet):
    first, again, other = (real_clouds(modelnet, 32, limit=20, seed=seed).points.tobytes() for seed in (0, 0, 1))
    assert first == again != other
