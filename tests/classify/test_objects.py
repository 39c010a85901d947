"""Embedding labelled objects, and messages about those that are missing."""

import numpy as np
import pytest

from crosspoint.classify.objects import embed_labelled
from crosspoint.core.errors import InputError
from crosspoint.data.labelled import find_labelled
from crosspoint.runtime.options import RunOn, Sampling

pytest.importorskip("onnxruntime")


@pytest.fixture
def folder(tmp_path):
    """Two beds and two cars of 40 points."""
    rng = np.random.default_rng(0)
    for name in ("bed/a", "bed/b", "car/a", "car/b"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{name}.npy", rng.normal(size=(40, 3)).astype(np.float32))
    return tmp_path


def embedded(folder, seeds=1):
    return embed_labelled(find_labelled(folder), "pointnet", sampling=Sampling(32, 0, seeds), run_on=RunOn())


def test_each_draw_of_an_object_is_one_embedding_of_it(folder):
    found = embedded(folder, seeds=3)
    assert found.features.shape[:2] == (4, 3)
    assert found.names == ["bed/a.npy", "bed/b.npy", "car/a.npy", "car/b.npy"]
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert not np.allclose(found.features[:, 0], found.features[:, 1])


def test_a_class_that_an_unreadable_file_leaves_with_one_object_names_the_file(folder):
    (folder / "car" / "b.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match=r"class car has only one object \(car/b\.npy could not be read: "):
        embedded(folder)


def test_a_class_that_a_copy_leaves_with_one_object_names_the_copy(folder):
    (folder / "car" / "b.npy").write_bytes((folder / "car" / "a.npy").read_bytes())
    with pytest.raises(InputError, match=r"class car has only one object \(car/b\.npy is a copy of another object\)"):
        embedded(folder)
