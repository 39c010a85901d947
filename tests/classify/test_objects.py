"""Embedding labelled objects, and messages about those that are missing."""

import numpy as np
import pytest

from crosspoint.classify.objects import embed_labelled
from crosspoint.core.errors import InputError
from crosspoint.data.labelled import find_labelled
from crosspoint.data.points import drawing, normalise, sample_points
from crosspoint.runtime.load import load_encoder
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


def embedded(folder, draws=1, views=0):
    return embed_labelled(
        find_labelled(folder), "pointnet", views=views, sampling=Sampling(32, draws=draws), run_on=RunOn()
    )


def test_the_embedding_of_an_object_is_the_mean_over_its_draws(folder):
    found = embedded(folder, draws=3)
    rng = drawing(0, 40)
    points = np.load(folder / "car" / "a.npy")
    clouds = normalise(np.stack([sample_points(points, 32, rng=rng) for _ in range(3)]))
    with load_encoder("pointnet") as encoder:
        expected = encoder.embed(clouds).astype(float).mean(axis=0)
    np.testing.assert_allclose(found.features[2, 0], expected, rtol=1e-4, atol=1e-6)
    assert found.names == ["bed/a.npy", "bed/b.npy", "car/a.npy", "car/b.npy"]
    assert found.labels.tolist() == [0, 0, 1, 1]


def test_views_are_samples_after_the_whole_object(folder):
    plain, viewed = embedded(folder), embedded(folder, views=2)
    assert viewed.features.shape == (4, 3, plain.features.shape[2])
    np.testing.assert_array_equal(viewed.features[:, 0], plain.features[:, 0])
    assert not np.allclose(viewed.features[:, 1], viewed.features[:, 2])


def test_a_class_that_an_unreadable_file_leaves_with_one_object_names_the_file(folder):
    (folder / "car" / "b.npy").write_bytes(b"no array")
    with pytest.raises(InputError, match=r"class car has only one object \(car/b\.npy could not be read: "):
        embedded(folder)


def test_a_class_that_a_copy_leaves_with_one_object_names_the_copy(folder):
    (folder / "car" / "b.npy").write_bytes((folder / "car" / "a.npy").read_bytes())
    with pytest.raises(InputError, match=r"class car has only one object \(car/b\.npy is a copy of another object\)"):
        embedded(folder)
