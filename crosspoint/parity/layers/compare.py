"""Measures how much two models differ at each layer, and how much of it the layer itself adds.

The input of a candidate's layer already differs from the reference's. So the candidate's layer is also run on the
*reference's* input: that difference is introduced by this layer; the rest was carried in. Neighbours come first and are
judged by distance. Then values are compared, with the reference's layer on the candidate's neighbours, so that wrong
neighbours do not count as wrong values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.parity.clouds import inputs_of
from crosspoint.parity.layers.layers import Array, Layer, Layers, as_rows
from crosspoint.parity.limits import Limits
from crosspoint.parity.measures import TINY, relative_l2
from crosspoint.parity.reference import overlap

PIECE = 4  # clouds that are run at a time


class NamedClouds(NamedTuple):
    """Clouds `(P, N, 3)`, their names, and which of them are hostile."""

    points: NDArray[np.float32]
    names: list[str]
    hostile: list[bool]


@dataclass(frozen=True)
class Difference:
    """The difference of two models at one layer; arrays have one value per cloud.

    Attributes:
        layer: The layer.
        total: Relative L2 error of the layer's output when both models run as a whole `(P,)`.
        introduced: Relative L2 error when both layers get the reference's input and the same neighbours `(P,)`.
        channels: The introduced error of each channel, relative to the root mean square of all channels `(P, D)`.
        own_overlap: Share of right neighbours on equal features `(P,)`; None if the layer has no neighbours.
        widths: Number of neighbours of the reference and of the candidate.
        overlap: Share of right neighbours as the gate counts it `(P,)`: the candidate runs as a whole, the reference on
            the candidate's graphs.
        passed: Which hostile clouds pass the gate `(P,)`. For them the gate decides: on points that are equal or in
            line, a float32 sum can lose digits in one channel without an effect on the output.
    """

    layer: Layer
    total: NDArray[np.float64]
    introduced: NDArray[np.float64]
    channels: NDArray[np.float64]
    own_overlap: NDArray[np.float64] | None
    widths: tuple[int, int] | None
    overlap: NDArray[np.float64] | None = None
    passed: NDArray[np.bool_] | None = None

    def bad(self, limits: Limits) -> NDArray[np.bool_]:
        """The clouds `(P,)` on which the layer itself differs from the reference's."""
        if self.widths is not None and self.widths[0] != self.widths[1]:
            return np.ones(len(self.total), dtype=bool)
        wrong: NDArray[np.bool_] = ~np.all(self.channels <= limits.channel, axis=1) | self.wrong_neighbours(limits)
        return wrong if self.passed is None else wrong & ~self.passed

    def wrong_neighbours(self, limits: Limits) -> NDArray[np.bool_]:
        """The clouds `(P,)` on which the layer, and also the gate, finds wrong neighbours."""
        wrong = np.zeros(len(self.total), dtype=bool)
        if self.own_overlap is not None:
            wrong |= ~(self.own_overlap >= limits.overlap)
        if self.overlap is not None:
            wrong &= ~(self.overlap >= limits.overlap)
        return wrong

    def at(self, rows: Sequence[int] | NDArray[np.int64]) -> "Difference":
        """The difference on some of the clouds."""
        own, shares, passed = self.own_overlap, self.overlap, self.passed
        return replace(
            self,
            total=self.total[rows],
            introduced=self.introduced[rows],
            channels=self.channels[rows],
            own_overlap=None if own is None else own[rows],
            overlap=None if shares is None else shares[rows],
            passed=None if passed is None else passed[rows],
        )


def compare(reference: Layers, candidate: Layers, *, layers: Sequence[Layer], clouds: NamedClouds) -> list[Difference]:
    """Compare two models layer by layer.

    Args:
        reference: The reference model.
        candidate: The model to check.
        layers: The layers that both models show, in order.
        clouds: The clouds to run.
    """
    pieces: list[list[Difference]] = []
    for start in track(range(0, len(clouds.points), PIECE), "Comparing layers"):
        inputs = inputs_of(clouds.points[start : start + PIECE], candidate.specification.categories)
        mentioned = {name for layer in layers for name in (layer.name, layer.graph, *layer.inputs) if name}
        names = sorted(mentioned - inputs.keys())
        a, b = ({**inputs, **model.compute(names, inputs)} for model in (reference, candidate))
        pieces.append([_difference(reference, candidate, layer, a, b) for layer in layers])
    return [_joined(parts) for parts in zip(*pieces, strict=True)]


def _difference(
    reference: Layers, candidate: Layers, layer: Layer, a: dict[str, Array], b: dict[str, Array]
) -> Difference:
    given = {name: a[name] for name in layer.inputs}
    outputs = [layer.name] + ([layer.graph] if layer.graph else [])
    second = candidate.compute(outputs, given)
    own = widths = None
    if layer.graph:
        given[layer.graph] = second[layer.graph]
        own = _overlaps(a[layer.inputs[0]], second[layer.graph])
        widths = (a[layer.graph].shape[2], b[layer.graph].shape[2])
    first = reference.compute([layer.name], given)[layer.name]
    channels = _channel_errors(first, second[layer.name])
    total, introduced = relative_l2(a[layer.name], b[layer.name]), relative_l2(first, second[layer.name])
    return Difference(layer, total, introduced, channels, own, widths)


def _joined(parts: tuple[Difference, ...]) -> Difference:
    def join(name: str) -> NDArray[np.float64] | None:
        arrays = [getattr(part, name) for part in parts]
        return None if arrays[0] is None else np.concatenate(arrays)

    total, introduced, channels = join("total"), join("introduced"), join("channels")
    assert total is not None
    assert introduced is not None
    assert channels is not None
    return Difference(parts[0].layer, total, introduced, channels, join("own_overlap"), parts[0].widths)


def _channel_errors(reference: Array, candidate: Array) -> NDArray[np.float64]:
    """Error of each channel over the points of each cloud, relative to the root mean square of all, `(P, D)`."""
    errors = []
    for cloud in range(len(reference)):
        a, b = as_rows(reference[cloud]), as_rows(candidate[cloud])
        size = np.sqrt(np.square(a).mean())
        difference = np.sqrt(np.square(b - a).mean(axis=0))
        errors.append(np.where(difference == 0, 0.0, difference / max(size, TINY)))
    stacked = np.stack(errors)
    return np.where(np.isfinite(stacked), stacked, np.inf)


def _overlaps(features: Array, neighbours: Array) -> NDArray[np.float64]:
    """Share of right neighbours in each cloud, judged by distance, not by index."""
    pairs = zip(torch.from_numpy(features).double(), torch.from_numpy(neighbours), strict=True)
    return np.array([overlap(cloud, chosen) for cloud, chosen in pairs])


def overlap_when_centred(candidate: Layers, layer: Layer, *, features: Array) -> float:
    """Mean share of right neighbours when the candidate's layer gets features without their mean.

    Distances do not change. If the layer now finds the neighbours, it lost them to cancellation.
    """
    assert layer.graph is not None
    x = features - features.mean(axis=1, keepdims=True)
    found = candidate.compute([layer.graph], {layer.inputs[0]: x})[layer.graph]
    return float(_overlaps(x, found).mean())
