"""Neighbours and maxima over them, on all instructions that this CPU has."""

import numpy as np
import pytest
from onnx import TensorProto

pytest.importorskip("onnxruntime")
from compiled_operators import LEVELS, limit
from single_operators import run


def test_maxima_over_neighbours_are_those_of_a_loop(on_level):
    rng = np.random.default_rng(0)
    rows, chosen = rng.normal(size=(40, 203)).astype(np.float32), rng.integers(0, 40, (1, 9, 7))
    rows[3, 5], rows[chosen[0, 0, 0], 6] = np.nan, np.nan
    expected = []
    for indices in chosen[0]:
        best = rows[indices[0]].copy()
        for index in indices[1:]:
            best = np.where(best < rows[index], rows[index], best)
        expected.append(best)
    found = run("GatherMax", on_level, {"near": rows[None], "chosen": chosen})
    np.testing.assert_array_equal(found[0], expected)


def clouds_of(kind, n, channels, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, n, channels)).astype(np.float32)
    if kind == "whole":  # of mean 0, so that every product is exact; many are equal
        half = rng.integers(-3, 4, (2, n // 2, channels))
        x = np.concatenate([half, np.zeros((2, n % 2, channels)), -half], axis=1).astype(np.float32)
    elif kind == "far":
        x[:, 0] *= 1e6
    elif kind == "crowded":
        x = 1 + 1e-3 * x
    elif kind == "equal":
        x[:] = 1
    elif kind == "huge":
        x *= 1e30
    elif kind == "tiny":
        x *= 1e-30
    elif kind == "nan":
        x[0, n // 2], x[1, 0, -1] = np.nan, np.inf
    return x


def neighbours(library, x, k):
    return run("Nearest16", library, {"x": x}, output=TensorProto.INT64, k=k)


POINTS = [(1, 1, 1), (2, 3, 2), (31, 3, 20), (33, 16, 5), (64, 17, 64), (129, 70, 33), (300, 128, 20), (300, 64, 65)]


@pytest.mark.parametrize(("n", "channels", "k"), POINTS)
def test_neighbours_of_whole_numbers_are_those_of_a_stable_sort(n, channels, k, on_level):
    x = clouds_of("whole", n, channels)
    distances = ((x[:, :, None].astype(np.float64) - x[:, None]) ** 2).sum(axis=3)
    expected = np.argsort(distances, axis=2, kind="stable")[:, :, :k]
    np.testing.assert_array_equal(neighbours(on_level, x, k), expected)


@pytest.mark.parametrize(("n", "channels", "k"), POINTS)
@pytest.mark.parametrize("kind", ["normal", "crowded", "far"])
def test_neighbours_are_as_near_as_those_of_float64(kind, n, channels, k, on_level):
    x = clouds_of(kind, n, channels)
    centred = x.astype(np.float64) - x.mean(axis=1, keepdims=True, dtype=np.float64)
    distances = ((centred[:, :, None] - centred[:, None]) ** 2).sum(axis=3)
    nearest = np.sort(distances, axis=2)[:, :, :k]
    found = np.take_along_axis(distances, neighbours(on_level, x, k), axis=2)
    size = (centred**2).sum(axis=2)
    allowed = 1e-5 * np.sqrt(size[:, :, None] * size.max(axis=1)[:, None, None])  # rounding of a product
    if kind == "far":
        allowed = 1e-5 * size.max() * np.ones_like(allowed)
    assert (np.abs(np.sort(found, axis=2) - nearest) <= allowed + 1e-12).all()


@pytest.mark.parametrize("kind", ["whole", "normal", "far", "crowded", "equal", "huge", "tiny", "nan"])
def test_every_level_finds_the_same_neighbours(kind, limited):
    for n, channels, k in POINTS:
        x, found = clouds_of(kind, n, channels, seed=n), []
        for level in LEVELS.values():
            limit(limited, level)
            found.append(neighbours(limited, x, k))
        for other in found[1:]:
            np.testing.assert_array_equal(other, found[0])
