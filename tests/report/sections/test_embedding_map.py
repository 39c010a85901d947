"""The map of the embeddings: its places, classes and clouds."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from report_pieces import pieces

from crosspoint.data.sets.datasets import ClassificationSet, Clouds
from crosspoint.report.embedded import Embedded
from crosspoint.report.missing import Missing
from crosspoint.report.sections import (
    embedding_map,
)


def embedded(count, names=None):
    vectors = np.random.default_rng(0).standard_normal((count, 8)).astype(np.float32)
    return Embedded(Path("/reports/run/e.npz"), 2 * count, vectors, names, "abc")


def test_the_map_shows_classes_and_clouds_of_the_data(shown, monkeypatch):
    rng = np.random.default_rng(1)
    clouds = rng.standard_normal((4, 200, 3)).astype(np.float32) + 5
    data = ClassificationSet(
        "modelnet40",
        ("night_stand", "bed"),
        Clouds(-clouds, np.array([1, 0, 0, 1])),
        Clouds(clouds, np.array([0, 1, 1, 0])),
    )
    names = [f"test/{i:06}" for i in (2, 0, 1, 3)]
    made, drawn = embedded(6, [*names, "test/000000", "test/000001"]), []
    monkeypatch.setattr(embedding_map, "tsne", lambda values: values[:, :2])
    monkeypatch.setattr(embedding_map, "scatter", lambda *given, clouds: drawn.append((*given, clouds)) or "map")
    embedding_map.embedding_map(pieces(embeddings=made, data=data))
    context = shown[0][1]
    assert (context.source, context.count, context.total) == ("e.npz", 6, 12)
    assert (context.named, context.classes, context.peeks, context.scatter) == (True, True, True, "map")
    places, classes, peeks = drawn[0]
    np.testing.assert_array_equal(places, made.values[:, :2])
    assert classes == ["bed", "night stand", "bed", "night stand", "night stand", "bed"]
    centred = clouds[2].astype(np.float64) - clouds[2].mean(axis=0)
    expected = centred / np.linalg.norm(centred, axis=1).max()
    assert peeks[0].shape == (96, 3)
    np.testing.assert_allclose(peeks[0][[0, -1]], expected[[0, -1]], atol=1e-5)


def test_a_map_shows_the_clouds_that_there_are(shown, monkeypatch):
    drawn = []
    clouds = np.random.default_rng(1).standard_normal((2, 100, 3)).astype(np.float32)
    data = ClassificationSet("modelnet40", ("bed", "chair"), Clouds(clouds, np.array([0, 1])), None)
    monkeypatch.setattr(embedding_map, "tsne", lambda values: values[:, :2])
    monkeypatch.setattr(embedding_map, "scatter", lambda *given, clouds: drawn.append((*given, clouds)) or "map")
    names = ["train/000000", "train/000001", "train/000002", "test/000000", "train/000000"]  # two are not in the data
    embedding_map.embedding_map(pieces(embeddings=embedded(5, names), data=data))
    context = shown[0][1]
    assert (context.named, context.classes, context.peeks) == (True, False, True)
    assert drawn[0][1] == [""] * 5
    assert [cloud is not None for cloud in drawn[0][2]] == [True, True, False, False, True]


def test_a_map_without_names_has_neither_classes_nor_clouds(shown, monkeypatch):
    drawn = []
    monkeypatch.setattr(embedding_map, "tsne", lambda values: values[:, :2])
    monkeypatch.setattr(embedding_map, "scatter", lambda *given, clouds: drawn.append((*given, clouds)) or "map")
    embedding_map.embedding_map(pieces(embeddings=embedded(5)))
    context = shown[0][1]
    assert (context.named, context.classes, context.peeks) == (False, False, False)
    assert drawn[0][1:] == ([""] * 5, [None] * 5)


def test_fewer_than_five_embeddings_make_no_map():
    assert isinstance(embedding_map.embedding_map(pieces(embeddings=embedded(4))), Missing)


def test_two_groups_of_embeddings_stay_apart_on_the_map():
    rng = np.random.default_rng(0)
    near = rng.standard_normal((2, 12, 64)) + np.array([0, 40])[:, None, None]
    placed = embedding_map.tsne(near.reshape(24, 64).astype(np.float32))
    assert placed.dtype == np.float64
    a, b = placed[:12], placed[12:]
    inside = max(np.linalg.norm(group - group.mean(axis=0), axis=1).max() for group in (a, b))
    assert np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)) > 1.2 * inside
    np.testing.assert_array_equal(placed, embedding_map.tsne(near.reshape(24, 64).astype(np.float32)))
    assert np.isfinite(embedding_map.tsne(np.zeros((5, 8), np.float32))).all()


@pytest.mark.parametrize(("count", "width", "components", "perplexity"), [(60, 80, 50, 59 / 3), (200, 8, 8, 30)])
def test_a_map_is_made_of_fifty_components_with_fixed_seeds(count, width, components, perplexity, monkeypatch):
    made = []

    class Method:
        def __init__(self, *given, **options):
            made.append((given, options))

        def fit_transform(self, values):
            made.append((values.shape, values.dtype))
            return values

    monkeypatch.setattr("sklearn.decomposition.PCA", Method)
    monkeypatch.setattr("sklearn.manifold.TSNE", Method)
    embedding_map.tsne(np.zeros((count, width), np.float32))
    options = {"perplexity": perplexity, "init": "random", "random_state": 0, "n_jobs": 1}
    given = ((count, width), np.float64)
    assert made == [((components,), {"random_state": 0}), given, ((), options), given]


def test_equal_embeddings_are_mapped_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(embedding_map.tsne(np.ones((6, 8), np.float32))).all()
