"""Finds the fault of a layer: its neighbours, its batch normalisation, or single weights.

If a layer is a linear map, the map is measured. Its input is random; in an EdgeConv each point i gets one random
neighbour j, so that `z_i = W₁ (x_j − x_i) + W₂ x_i + b` is linear. The activation is inverted, and least squares give
W₁, W₂ and b. A wrong batch normalisation scales and shifts a whole row of W; a wrong weight does not.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crosspoint.parity.layers.compare import Difference, overlap_when_centred
from crosspoint.parity.layers.diagnosis import (
    ChannelFacts,
    Facts,
    NeighbourCounts,
    NeighbourFacts,
    NormalisationFacts,
    OneWeightFacts,
    WeightFacts,
)
from crosspoint.parity.layers.layers import Array, Layer, Layers, as_rows
from crosspoint.parity.limits import Limits

ROWS_PER_UNKNOWN, WITH_RELU = 4, 32  # more rows with ReLU, which sets many of them to 0
PARALLEL, SAME = 2.0, 5.0  # times the limit: angle of a row that is only scaled; difference of equal weights
COARSE = 0.1  # above this limit single wrong weights cannot be told from rounding
SHOWN = 6  # channels that a message names

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Cause:
    """A fault of a layer.

    Attributes:
        layer: Name of the layer.
        kind: `"neighbours"`, `"distances"`, `"uncentred distances"`, `"batch normalisation"`, `"weight sign"`,
            `"weights"` or `"values"`.
        text: What was found; it follows the layer's name in a sentence.
        advice: What to do.
        facts: The numbers.
        scales: For a batch normalisation, the factor of each channel; else empty.
    """

    layer: str
    kind: str
    text: str
    advice: str
    facts: Facts
    scales: dict[int, float] = field(default_factory=dict)


def find_cause(
    reference: Layers, candidate: Layers, *, difference: Difference, features: dict[str, Array], limits: Limits
) -> Cause:
    """Find the fault of a layer that differs from the reference.

    Args:
        reference: The reference model.
        candidate: The model to check.
        difference: The difference at that layer, on the clouds that show it.
        features: The reference's input of the layer on these clouds.
        limits: Limits of the coarser precision.
    """
    layer, limit = difference.layer, limits.channel
    if difference.widths is not None and difference.widths[0] != difference.widths[1]:
        first, second = difference.widths
        text = f"looks at {second} neighbours of each point where the reference looks at {first}"
        advice = f"export or train it again with k = {first}"
        return Cause(layer.name, "neighbours", text, advice, NeighbourCounts([first, second]))
    if difference.wrong_neighbours(limits).any():
        return _distances(candidate, difference, features[layer.inputs[0]])
    bad = np.flatnonzero(~(difference.channels <= limit).all(axis=0))
    if layer.slope is not None and limit < COARSE and np.isfinite(difference.channels).all():
        maps = measure(reference, candidate, difference=difference, features=features, channels=bad)
        if np.isfinite(maps).all():
            return _weights(difference, *maps, features, bad, limit)
    text = f"computes something else in {_channels(bad, difference.channels.shape[1])}"
    return Cause(layer.name, "values", text, "compare its weights and batch normalisation", ChannelFacts(bad.tolist()))


def _distances(candidate: Layers, difference: Difference, features: Array) -> Cause:
    layer = difference.layer
    assert layer.graph is not None
    assert difference.own_overlap is not None
    share = float(difference.own_overlap.mean())
    centred = overlap_when_centred(candidate, layer, features=features)
    types = candidate.types(layer.graph, layer.inputs[0])
    low = sorted(kind.lower() for kind in types & {"FLOAT16", "BFLOAT16"})
    within = f" in {' and '.join(low)}" if low else ""
    found = f"finds {share:.0%} of the right neighbours on equal features"
    facts = NeighbourFacts(share, centred, sorted(types))
    if 1 - centred < (1 - share) / 4:
        text = (
            f"{found}, and {centred:.0%} when each cloud's mean is subtracted: its uncentred distances cancel{within}"
        )
        advice = "subtract each cloud's mean before the distance, and keep distance and TopK in float32"
        return Cause(layer.name, "uncentred distances", text, advice, facts)
    text = f"{found}: its distances{within} are too coarse or wrong"
    return Cause(layer.name, "distances", text, "keep distance and TopK in float32, with TF32 off", facts)


def _weights(
    difference: Difference,
    first: Doubles,
    second: Doubles,
    features: dict[str, Array],
    bad: NDArray[np.int64],
    limit: float,
) -> Cause:
    """Find the fault from the weights and biases `(F + 1, bad)` of both models in the differing channels."""
    layer, width = difference.layer, difference.channels.shape[1]
    scales = _scales(first[:-1], second[:-1], PARALLEL * limit)
    if not np.isnan(scales).any():
        named = dict(zip(bad.tolist(), scales.tolist(), strict=True))
        return _normalisation(layer, named, second[-1] - first[-1], width)
    changed = np.abs(second - first)[:-1] > SAME * limit * np.abs(first[:-1]).max(axis=0)
    if changed.sum() == 1:
        row, column = (int(place[0]) for place in np.nonzero(changed))
        return _one_weight(layer, features, row, int(bad[column]), first[row, column], second[row, column])
    text = f"has {changed.sum()} other weights, in {_channels(bad, width)}"
    advice = "check that both are of the same checkpoint and export again"
    return Cause(layer.name, "weights", text, advice, WeightFacts(bad.tolist(), int(changed.sum())))


def _one_weight(layer: Layer, features: dict[str, Array], row: int, channel: int, before: float, after: float) -> Cause:
    where = f"from {_input(layer, features, row)} to channel {channel}"
    flipped = abs(after + before) < 0.1 * abs(before)
    what = "one weight with the wrong sign" if flipped else "one other weight"
    return Cause(
        layer.name,
        "weight sign" if flipped else "weights",
        f"has {what}, {where}: {after:.3g} in place of {before:.3g}",
        "copy the weights or export again",
        OneWeightFacts(row, channel, float(before), float(after)),
    )


def _normalisation(layer: Layer, scales: dict[int, float], shifts: Doubles, width: int) -> Cause:
    values = list(scales.values())
    swapped = len(values) == 2 and abs(np.log(abs(values[0] * values[1]))) < 0.01
    listed = ", ".join(f"{value:.3g}" for value in values[:SHOWN]) + (", …" if len(values) > SHOWN else "")
    text = (
        f"scales and shifts {_channels(np.array([*scales]), width)} otherwise (by {listed}): its batch normalisation "
        "is another one" + (", with the statistics of these two channels swapped" if swapped else "")
    )
    facts = NormalisationFacts([*scales], values, shifts.tolist())
    advice = "copy running mean, running variance, γ and β again, or export again"
    return Cause(layer.name, "batch normalisation", text, advice, facts, scales)


def measure(
    reference: Layers,
    candidate: Layers,
    *,
    difference: Difference,
    features: dict[str, Array],
    channels: NDArray[np.int64],
) -> tuple[Doubles, Doubles]:
    """Measure weights and bias (last row) of both models at a layer that is linear except for its activation.

    Args:
        reference: The reference model.
        candidate: The model to check.
        difference: The difference at that layer.
        features: The reference's input of the layer on some clouds.
        channels: Channels of the layer's output.

    Returns:
        Two arrays `(F + 1, channels)`. F counts the inputs; in an EdgeConv these are `x_j − x_i` and then `x_i`.
    """
    layer = difference.layer
    given, rows = _probes(layer, features, 1 if difference.widths is None else difference.widths[0])
    results = [model.compute([layer.name], given)[layer.name] for model in (reference, candidate)]
    first, second = (_least_squares(rows, as_rows(result)[:, channels], layer.slope or 0.0) for result in results)
    return first, second


def _probes(layer: Layer, features: dict[str, Array], k: int) -> tuple[dict[str, Array], Doubles]:
    """Random features with the spread of the real ones, and the rows `(rows, F + 1)` that the linear map gets."""
    rng = np.random.default_rng(0)
    points = features[layer.inputs[0]].shape[1]
    widths = [features[name].shape[2] for name in layer.inputs]
    unknown = sum(widths) * (2 if layer.graph else 1) + 1
    clouds = -(-(WITH_RELU if layer.slope == 0 else ROWS_PER_UNKNOWN) * unknown // points)
    given: dict[str, Array] = {}
    for name, width in zip(layer.inputs, widths, strict=True):
        real = as_rows(features[name])
        spread = np.maximum(real.std(axis=0), 0.1 * np.sqrt(np.square(real).mean()) + 1e-6)
        given[name] = (spread * rng.standard_normal((clouds, points, width))).astype(np.float32)
    seen = [as_rows(given[name]) for name in layer.inputs]
    if layer.graph:
        other = rng.integers(points, size=(clouds, points, 1))  # one neighbour per point, repeated k times
        given[layer.graph] = np.repeat(other, k, axis=2)
        near = np.take_along_axis(given[layer.inputs[0]], other, axis=1)
        seen = [as_rows(near) - seen[0], seen[0]]
    return given, np.concatenate([*seen, np.ones((len(seen[0]), 1))], axis=1)


def _least_squares(rows: Doubles, values: Doubles, slope: float) -> Doubles:
    """Weights `(F + 1, D)` of `values (rows, D)` after an activation with this slope below 0."""
    if slope:
        return np.asarray(
            np.linalg.lstsq(rows, np.where(values > 0, values, values / slope), rcond=None)[0], np.float64
        )
    columns = []
    for value in values.T:
        live = value > 0  # ReLU hides the other values
        enough = live.sum() > 2 * rows.shape[1]
        found = np.linalg.lstsq(rows[live], value[live], rcond=None)[0] if enough else np.full(rows.shape[1], np.nan)
        columns.append(np.asarray(found, np.float64))
    return np.stack(columns, axis=1)


def _scales(first: Doubles, second: Doubles, tolerance: float) -> Doubles:
    """Factor of each column of `second` relative to `first`; NaN if they are not parallel."""
    squares = np.maximum(np.square(first).sum(axis=0), np.finfo(np.float64).tiny)
    scales = (first * second).sum(axis=0) / squares
    turned = np.linalg.norm(second - scales * first, axis=0) > tolerance * np.linalg.norm(second, axis=0)
    result: Doubles = np.where(turned | (scales == 0), np.nan, scales)
    return result


def swapped_layers(causes: list[Cause]) -> tuple[Cause, Cause] | None:
    """Two layers whose batch normalisations were swapped: in every channel, one factor is the inverse of the other."""
    norms = [cause for cause in causes if cause.kind == "batch normalisation"]
    for i, one in enumerate(norms):
        for other in norms[i + 1 :]:
            common = sorted(one.scales.keys() & other.scales.keys())
            products = np.abs([one.scales[channel] * other.scales[channel] for channel in common])
            if len(common) > len(one.scales) / 2 > 1 and np.median(np.abs(np.log(products))) < 0.01:
                return one, other
    return None


def _channels(channels: NDArray[np.int64], width: int) -> str:
    if len(channels) == width:
        return f"all {width} channels"
    listed = ", ".join(map(str, channels[:SHOWN]))
    noun = "channel" if len(channels) == 1 else "channels"
    return f"{noun} {listed}" if len(channels) <= SHOWN else f"{len(channels)} of {width} channels ({listed}, …)"


def _input(layer: Layer, features: dict[str, Array], row: int) -> str:
    """The input that a row of the weights multiplies, in words."""
    if layer.graph:
        width = features[layer.inputs[0]].shape[2]
        return f"channel {row % width} of {'x_j − x_i' if row < width else 'x_i'}"
    for name in layer.inputs:
        if row < features[name].shape[2]:
            return f"channel {row} of {name}"
        row -= features[name].shape[2]
    raise IndexError(row)
