"""The layers of the networks, under the names that they have in the exported graph."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.runtime.specification import Specification

Array = NDArray[Any]
SLOPE, RELU, NONE = 0.2, 0.0, 1.0  # slope of the activation below 0
GRAPH = "/neighbours"  # an EdgeConv's neighbours are named `<edge>/neighbours`


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes:
        name: Name of the layer and of its output tensor.
        inputs: Names of its input tensors; neighbours are searched in the first.
        graph: Name of the tensor `(B, N, k)` of its neighbours; None if it has none.
        slope: If it is one linear map of every point or edge, the slope of its activation below 0; else None.
    """

    name: str
    inputs: tuple[str, ...]
    graph: str | None = None
    slope: float | None = None


def _edge(number: int, source: str, slope: float | None = SLOPE) -> Layer:
    return Layer(f"edge{number}", (source,), f"edge{number}{GRAPH}", slope)


_BACKBONE = (
    Layer("transform", ("points",), f"transform/edge{GRAPH}"),
    _edge(1, "transform", None),
    _edge(2, "edge1", None),
    _edge(3, "edge2"),
)
_LOCAL = ("edge1", "edge2", "edge3")

LAYERS: dict[str, tuple[Layer, ...]] = {
    "dgcnn": (
        _edge(1, "points"),
        _edge(2, "edge1"),
        _edge(3, "edge2"),
        _edge(4, "edge3"),
        Layer("embed", ("edge1", "edge2", "edge3", "edge4"), slope=SLOPE),
        Layer("embedding", ("embed",)),
    ),
    "pointnet": (
        Layer("layer1", ("points",), slope=RELU),
        Layer("layer2", ("layer1",), slope=RELU),
        Layer("layer3", ("layer2",), slope=RELU),
        Layer("layer4", ("layer3",), slope=RELU),
        Layer("embedding", ("layer4",)),
    ),
    "dgcnn_seg": (*_BACKBONE, Layer("embedding", _LOCAL)),
    "dgcnn_partseg": (
        *_BACKBONE,
        Layer("cloud", _LOCAL),
        Layer("hidden1", ("cloud", "category", *_LOCAL)),
        Layer("hidden2", ("hidden1",), slope=SLOPE),
        Layer("hidden3", ("hidden2",), slope=SLOPE),
        Layer("logits", ("hidden3",), slope=NONE),
    ),
}
INPUTS = ("points", "category")


class Layers(ABC):
    """A model whose layers can be inspected and run one by one.

    Attributes:
        specification: Description of the model.
        names: Names of the tensors that are visible, without the inputs.
    """

    specification: Specification
    names: frozenset[str]

    @abstractmethod
    def compute(self, names: Iterable[str], given: Mapping[str, Array]) -> dict[str, Array]:
        """Compute tensors from other, given tensors. Only what is needed is run.

        Args:
            names: Names of tensors in `self.names`.
            given: Known tensors: features float32, neighbours int64. The model's inputs suffice for everything.
        """

    def close(self) -> None:
        """Free all resources."""
        return

    def types(self, name: str, source: str) -> set[str]:
        """Element types between the tensor `source` and the tensor `name`, as far as they are known from the file."""
        return set()


def common_layers(architecture: str, names: frozenset[str]) -> tuple[Layer, ...]:
    """The layers of an architecture if only the tensors `names` are visible; invisible ones join the next layer."""
    known = {layer.name: layer for layer in LAYERS.get(architecture, ())}

    def seen(tensor: str) -> tuple[str, ...]:
        if tensor in names or tensor in INPUTS:
            return (tensor,)
        return tuple(dict.fromkeys(source for before in known[tensor].inputs for source in seen(before)))

    layers = []
    for layer in known.values():
        if layer.name not in names:
            continue
        inputs = tuple(dict.fromkeys(source for tensor in layer.inputs for source in seen(tensor)))
        whole = inputs == layer.inputs
        graph = layer.graph if whole and layer.graph in names else None
        layers.append(replace(layer, inputs=inputs, graph=graph, slope=layer.slope if whole else None))
    return tuple(layers) or (Layer(next(iter(names)), ("points",)),)


def as_rows(array: Array) -> NDArray[np.float64]:
    """`(…, D)` as `(rows, D)` in float64."""
    return array.reshape(-1, array.shape[-1]).astype(np.float64)
