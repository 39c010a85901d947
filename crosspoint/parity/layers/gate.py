"""Connects a model whose layers are visible to the parity gate."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crosspoint.parity.layers.layers import GRAPH, Layer, Layers
from crosspoint.parity.reference import overlap

Floats = NDArray[np.float32]
Graphs = Mapping[str, NDArray[np.int64]]


class LayersReference:
    """A model as the reference of a gate, in its own precision.

    Args:
        model: The reference model.
        layers: The layers that both models show, in order.
    """

    def __init__(self, model: Layers, layers: Sequence[Layer]) -> None:
        self._model, self._output = model, layers[-1].name
        self._sources = {layer.graph: layer.inputs[0] for layer in layers if layer.graph}

    def on_own_graphs(self, inputs: Mapping[str, Floats]) -> NDArray[np.float64]:
        """Output `(B, …)` on the model's own neighbour graphs."""
        return self._model.compute([self._output], inputs)[self._output].astype(np.float64)

    def on_graphs(self, inputs: Mapping[str, Floats], graphs: Graphs) -> tuple[NDArray[np.float64], dict[str, float]]:
        """Output `(1, …)` of one cloud on given graphs, and for each EdgeConv the share of right neighbours."""
        given: dict[str, NDArray[Any]] = {**inputs, **{f"{edge}{GRAPH}": chosen for edge, chosen in graphs.items()}}
        names = sorted({self._output, *self._sources.values()} - given.keys())
        made = {**inputs, **self._model.compute(names, given)}
        shares = {}
        for edge, chosen in graphs.items():
            features = torch.from_numpy(made[self._sources[f"{edge}{GRAPH}"]][0]).double()  # (N, C)
            shares[edge] = overlap(features, torch.from_numpy(chosen[0]))
        return made[self._output].astype(np.float64), shares


class ShownGraphs:
    """The neighbour graphs of one run of a model, which are already known.

    Args:
        graphs: Neighbours `(B, N, k)` of every EdgeConv by name.
    """

    def __init__(self, graphs: dict[str, NDArray[np.int64]]) -> None:
        self._graphs = graphs

    def neighbours(self, inputs: dict[str, Floats]) -> dict[str, NDArray[np.int64]]:
        """The graphs of the run with these inputs."""
        return self._graphs
