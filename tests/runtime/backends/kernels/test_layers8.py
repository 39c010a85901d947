"""Layers of 8 bits against slow formulas, on all instructions that this CPU has."""

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
from single_operators import run

from crosspoint.runtime.backends.kernels.eight_bits import pack_codes

SLOPE = np.float32(0.2)


def leaky(x, slope=SLOPE):
    return np.where(x >= 0, x, slope * x)


def mean(rows):
    """A sum of sums of √n rows in float32, divided by n."""
    together = int(np.ceil(np.sqrt(len(rows))))
    total = np.zeros(rows.shape[1], np.float32)
    for start in range(0, len(rows), together):
        part = np.zeros_like(total)
        for row in rows[start : start + together]:
            part += row
        total += part
    return total / np.float32(len(rows))


def layer(seed, shape, width, largest=64):
    """Codes, weights, scale, bias and maxima of a layer, extremes among them."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-128, 128, shape, dtype=np.int8)
    weights = rng.integers(-largest, largest + 1, (shape[-1], width), dtype=np.int8)
    codes[..., :1, :], weights[:, :1] = -128, -largest
    scale, bias = rng.uniform(1e-4, 1e-2, width).astype(np.float32), rng.normal(size=width).astype(np.float32)
    return codes, weights, scale, bias, rng.normal(size=(*shape[:-1], width)).astype(np.float32)


SIZES = [
    *((1, 1, 1, 1), (2, 31, 3, 16), (1, 33, 16, 31), (3, 32, 64, 32), (2, 129, 65, 33), (1, 257, 130, 70)),
    *((2, 5, 512, 64), (1, 128, 63, 17)),
]


@pytest.mark.parametrize("largest", [64, 127])
@pytest.mark.parametrize(("batch", "n", "channels", "width"), SIZES)
def test_layers_are_those_of_exact_sums(batch, n, channels, width, largest, on_level):
    codes, weights, scale, bias, best = layer(n, (batch, n, channels), width, largest)
    sums = codes.astype(np.int64) @ weights.astype(np.int64)
    product = sums.astype(np.float32) * scale
    active = leaky(product + bias)
    panels = pack_codes(weights)
    inputs = {"codes": codes, "panels": panels, "scale": scale}
    biased = inputs | {"bias": bias}
    assert np.array_equal(run("Product8", on_level, inputs), product)
    assert np.array_equal(run("Linear8", on_level, biased, slope=0.2), active)
    assert np.array_equal(run("Linear8", on_level, biased, slope=1.0), product + bias)
    assert np.array_equal(run("Linear8", on_level, biased, slope=0.0), np.maximum(product + bias, 0))
    assert np.array_equal(run("Edge8", on_level, biased | {"best": best}, slope=0.2), leaky(best + (product + bias)))
    assert np.array_equal(run("Max8", on_level, inputs, axis=1), product.max(axis=1))
    pooled = np.concatenate([active.max(axis=1), np.stack([mean(cloud) for cloud in active])], axis=1)
    assert np.array_equal(run("Pool8", on_level, biased, slope=0.2), pooled)


@pytest.mark.parametrize("shape", [(7, 20), (2, 3, 20, 20), (1, 2, 2, 3, 5)])
def test_codes_may_have_any_number_of_dimensions(shape, on_level):
    codes, weights, scale, _, _ = layer(0, shape, 9)
    product = (codes.astype(np.int64) @ weights.astype(np.int64)).astype(np.float32) * scale
    inputs = {"codes": codes, "panels": pack_codes(weights), "scale": scale}
    assert np.array_equal(run("Product8", on_level, inputs), product)
    assert np.array_equal(run("Max8", on_level, inputs, axis=len(shape) - 2), product.max(axis=-2))


def test_a_layer_without_rows_is_empty_or_least(on_level):
    codes, weights, scale, bias, _ = layer(0, (2, 1, 5), 3)
    inputs = {"codes": codes[:, :0], "panels": pack_codes(weights), "scale": scale}
    assert run("Product8", on_level, inputs).shape == (2, 0, 3)
    assert np.array_equal(run("Max8", on_level, inputs, axis=1), np.full((2, 3), -np.inf))
    pooled = run("Pool8", on_level, inputs | {"bias": bias}, slope=0.2)
    assert np.array_equal(pooled, np.repeat([[-np.inf, 0]], 3, axis=1).repeat(2, axis=0))


@pytest.mark.parametrize("slope", [-0.1, 1.1, np.nan])
def test_a_slope_that_is_not_0_to_1_is_refused(slope, library):
    codes, weights, scale, bias, _ = layer(0, (1, 2, 5), 3)
    inputs = {"codes": codes, "panels": pack_codes(weights), "scale": scale, "bias": bias}
    with pytest.raises(Exception, match="slope"):
        run("Linear8", library, inputs, slope=float(slope))


@pytest.mark.parametrize("axis", [0, 2, -2])
def test_an_axis_that_is_not_that_of_the_rows_is_refused(axis, library):
    codes, weights, scale, _, _ = layer(0, (1, 2, 5), 3)
    with pytest.raises(Exception, match="axis"):
        run("Max8", library, {"codes": codes, "panels": pack_codes(weights), "scale": scale}, axis=axis)
