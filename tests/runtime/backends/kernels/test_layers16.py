"""Layers of 16 bits against float64 on rounded factors, on all instructions that this CPU has.

With factors in bfloat16 a product is exact in float32, above 2⁻¹²⁶. A sum of C of them, a bias and a maximum in any
order, and the slope, have C + 3 roundings at most, each by u = 2⁻²⁴ of no more than the sum of all magnitudes (Higham,
Accuracy and Stability of Numerical Algorithms, 2002, section 3.1). The instruction takes factors and sums below 2⁻¹²⁶
as 0: of each channel that is at most 2⁻¹²⁶ times the other factor, for either, and 2⁻¹²⁶.
"""

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
from single_operators import run

from crosspoint.runtime.backends.kernels.sixteen_bits import pack_bf16

UNIT, TINY = 2.0**-24, 2.0**-126


def bf16(x):
    """Rounded to bfloat16, ties to even, by arithmetic: 8 significant bits, or multiples of 2⁻¹³³."""
    with np.errstate(invalid="ignore"):  # a NaN that signals
        x = np.asarray(x, np.float64)
        fraction, exponent = np.frexp(x)
        rounded = np.where(
            np.abs(x) < TINY, np.rint(x * 2.0**133) * 2.0**-133, np.ldexp(np.rint(fraction * 256) / 256, exponent)
        )
        rounded = np.where(np.isfinite(x), rounded, x)
        return np.where(np.isfinite(x) & (np.abs(rounded) >= 2.0**128), np.sign(x) * np.inf, rounded)


def leaky(x, slope):
    return np.where(x < 0, (slope * x if slope else 0.0), x)


def layer(seed, shape, width):
    """Rows, weights in bfloat16, bias and maxima of a layer; rows of very different sizes, and one of zeros."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=shape) * 10.0 ** rng.integers(-3, 3, (*shape[:-1], 1))).astype(np.float32)
    x[..., :1, :] = 0
    weights = bf16(rng.normal(size=(shape[-1], width))).astype(np.float32)
    return x, weights, rng.normal(size=width).astype(np.float32), rng.normal(size=(*shape[:-1], width)).astype("f4")


def expected(x, weights):
    """Products in float64, the sums of magnitudes, and what the instruction may lose below 2⁻¹²⁶."""
    rows, weights = bf16(x), weights.astype(np.float64)
    lost = 2 * x.shape[-1] * TINY * (1 + np.abs(rows).max(initial=0) + np.abs(weights).max(initial=0))
    return rows @ weights, np.abs(rows) @ np.abs(weights), lost


def gamma(count):
    return count * UNIT / (1 - count * UNIT)


def close(found, reference, bound):
    assert found.shape == reference.shape
    assert found.dtype == np.float32
    assert (np.abs(found - reference) <= bound).all(), np.max(np.abs(found - reference) / bound)


SIZES = [
    *((1, 1, 1, 1), (2, 31, 3, 16), (1, 33, 16, 31), (3, 32, 64, 32), (2, 129, 65, 33), (1, 257, 130, 70)),
    *((2, 5, 512, 64), (1, 128, 63, 17), (1, 127, 31, 97)),
]


@pytest.mark.parametrize(("batch", "n", "channels", "width"), SIZES)
def test_layers_are_those_of_float64_within_the_roundings(batch, n, channels, width, on_level):
    x, weights, bias, best = layer(n, (batch, n, channels), width)
    product, sizes, lost = expected(x, weights)
    bound = gamma(channels + 3) * (sizes + np.abs(bias) + np.abs(best)) + lost
    panels = pack_bf16(weights)
    inputs, at = {"x": x, "panels": panels}, {"width": width}
    biased = inputs | {"bias": bias}
    close(run("Product16", on_level, inputs, **at), product, bound)
    close(run("Max16", on_level, inputs, **at, axis=1), product.max(axis=1), bound.max(axis=1))
    for slope in (0.2, 1.0, 0.0):
        active = leaky(product + bias, slope)
        close(run("Linear16", on_level, biased, **at, slope=slope), active, bound)
        found = run("Edge16", on_level, biased | {"best": best}, **at, slope=slope)
        close(found, leaky(product + bias + best, slope), bound)
        pooled = run("Pool16", on_level, biased, **at, slope=slope)
        close(pooled[:, :width], active.max(axis=1), bound.max(axis=1))
        # as a sum of sums of sqrt(n) values, divided
        adding = gamma(2 * int(np.ceil(np.sqrt(n))) + 2) * np.abs(active).mean(axis=1)
        close(pooled[:, width:], active.mean(axis=1), bound.mean(axis=1) * 1.01 + adding)


def test_rows_are_rounded_to_nearest_and_ties_to_even(on_level):
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 4000, dtype=np.uint32)
    bits[:1000] = bits[:1000] & 0xFFFF0000 | 0x8000  # in the middle between two
    x = np.concatenate([bits.view(np.float32), np.float32([0, -0.0, 1e-40, -1e-45, 3.4e38, -3.4e38, np.inf, -np.inf])])
    found = run("Product16", on_level, {"x": x[:, None], "panels": pack_bf16(np.ones((1, 1), "f4"))}, width=1)[:, 0]
    rounded = bf16(x)
    normal = ~(np.abs(rounded) < TINY)  # NaN and infinity too
    np.testing.assert_array_equal(found[normal], rounded[normal])
    assert ((found[~normal] == rounded[~normal]) | (found[~normal] == 0)).all()


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_nan_and_infinity_come_out_as_of_the_standard_operators(slope, on_level):
    x = np.float32([np.nan, np.inf, -np.inf, 3, -3])[None, :, None]
    inputs = {"x": x, "panels": pack_bf16(np.ones((1, 1), np.float32)), "bias": np.zeros(1, np.float32)}
    found = run("Linear16", on_level, inputs, width=1, slope=slope)[0, :, 0]
    low = 0.0 if slope == 0 else -np.inf
    np.testing.assert_allclose(found, [np.nan, np.inf, low, 3, -3 * slope], rtol=1e-6)
    assert np.isnan(run("Pool16", on_level, inputs, width=1, slope=slope)).all()
    del inputs["bias"]
    assert np.isnan(run("Max16", on_level, inputs, width=1, axis=1)).all()
    later = inputs | {"x": np.ascontiguousarray(x[:, ::-1])}  # a NaN that is not first is passed over
    assert run("Max16", on_level, later, width=1, axis=1) == np.inf


def test_sums_too_large_for_float32_are_infinite(on_level):
    x, weights = np.full((1, 2, 4), 3e38, np.float32), bf16(np.full((4, 3), 2.0)).astype(np.float32)
    assert (run("Product16", on_level, {"x": x, "panels": pack_bf16(weights)}, width=3) == np.inf).all()


@pytest.mark.parametrize("shape", [(7, 20), (2, 3, 20, 20), (1, 2, 2, 3, 5)])
def test_rows_may_have_any_number_of_dimensions(shape, on_level):
    x, weights, _, _ = layer(0, shape, 9)
    product, sizes, lost = expected(x, weights)
    inputs = {"x": x, "panels": pack_bf16(weights)}
    bound = gamma(shape[-1]) * sizes + lost
    close(run("Product16", on_level, inputs, width=9), product, bound)
    found = run("Max16", on_level, inputs, width=9, axis=len(shape) - 2)
    close(found, product.max(axis=-2), bound.max(axis=-2))


def test_a_layer_without_rows_is_empty_or_least(on_level):
    x, weights, bias, _ = layer(0, (2, 1, 5), 3)
    inputs = {"x": x[:, :0], "panels": pack_bf16(weights)}
    assert run("Product16", on_level, inputs, width=3).shape == (2, 0, 3)
    assert np.array_equal(run("Max16", on_level, inputs, width=3, axis=1), np.full((2, 3), -np.inf))
    pooled = run("Pool16", on_level, inputs | {"bias": bias}, width=3, slope=0.2)
    assert np.array_equal(pooled, np.repeat([[-np.inf, 0]], 3, axis=1).repeat(2, axis=0))


def test_a_layer_without_channels_is_its_bias(on_level):
    inputs = {
        "x": np.ones((2, 3, 0), "f4"),
        "panels": pack_bf16(np.ones((0, 4), "f4")),
        "bias": np.float32([1, 2, 3, 4]),
    }
    found = run("Linear16", on_level, inputs, width=4, slope=1.0)
    np.testing.assert_array_equal(found, np.broadcast_to(inputs["bias"], (2, 3, 4)))


@pytest.mark.parametrize("slope", [-0.1, 1.1, np.nan])
def test_a_slope_that_is_not_0_to_1_is_refused(slope, library):
    x, weights, bias, _ = layer(0, (1, 2, 5), 3)
    inputs = {"x": x, "panels": pack_bf16(weights), "bias": bias}
    with pytest.raises(Exception, match="slope"):
        run("Linear16", library, inputs, width=3, slope=float(slope))


@pytest.mark.parametrize("width", [-1, 33, 2**31, 2**63 - 1, -(2**63)])
def test_a_width_that_is_not_that_of_the_panels_is_refused(width, library):
    x, weights, _, _ = layer(0, (1, 2, 5), 3)
    with pytest.raises(Exception, match=r"width|panels"):
        run("Product16", library, {"x": x, "panels": pack_bf16(weights)}, width=width)
