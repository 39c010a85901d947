"""Near-duplicates of a labelled set are held out together."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scripts import load_script

from crosspoint.data.sets.datasets import load_classification


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_script("tools/validation_split.py")


def planted(copies: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings (n, 64) of 60 objects with near copies, in random order; the object and the label of each."""
    rng = np.random.default_rng(0)
    objects = rng.permutation(np.repeat(np.arange(60), copies))
    embeddings = rng.normal(size=(60, 64))[objects] + 0.02 * rng.normal(size=(len(objects), 64))
    return (rng.uniform(1, 9, (len(objects), 1)) * embeddings).astype(np.float32), objects, objects % 3


def test_copies_are_a_group_of_their_own_whatever_their_length(tool: ModuleType) -> None:
    embeddings, objects, _ = planted(3)
    groups = tool.near_duplicates(embeddings, 0.02)
    assert len(set(groups)) == 60
    assert len(set(zip(groups, objects, strict=True))) == 60


def test_a_chain_of_neighbours_is_not_one_group(tool: ModuleType) -> None:
    angles = np.linspace(0, np.pi / 2, 40)  # each within 0.001 of the next, the ends far apart
    groups = tool.near_duplicates(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32), 0.02)
    within = [1 - np.cos(np.ptp(angles[groups == group])) for group in set(groups)]
    assert max(within) <= 0.0201


@pytest.mark.parametrize("seed", range(3))
def test_no_object_has_a_copy_on_the_other_side_and_each_is_held_out_once(tool: ModuleType, seed: int) -> None:
    _, objects, labels = planted(4)
    folds = np.stack([tool.divide(labels, objects, fold=fold, seed=seed) for fold in range(tool.FOLDS)])  # (5, n)
    assert (folds.sum(axis=0) == 1).all()
    for held_out in folds:
        assert not set(objects[held_out]) & set(objects[~held_out])
        assert set(labels[held_out]) == {0, 1, 2}


def test_the_new_set_has_every_cloud_once(tool: ModuleType, tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(10, 32, 3)).astype(np.float32)
    labels = np.arange(10) % 2
    held_out = np.arange(10) < 4
    tool.write_set(tmp_path / "new", points, labels, held_out=held_out, names=["chair", "table"])
    read = load_classification(tmp_path / "new", None)
    assert read.class_names == ("chair", "table")
    assert read.test is not None
    np.testing.assert_array_equal(read.test.points, points[:4])
    np.testing.assert_array_equal(np.concatenate([read.test.points, read.train.points]), points)
    np.testing.assert_array_equal(np.concatenate([read.test.labels, read.train.labels]), labels)
