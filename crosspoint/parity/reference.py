"""The trained network in float64 as a reference, and the judgement of neighbour graphs.

A neighbour graph is judged by distance, not by index: among points at the same distance, every choice is right. The
network is then evaluated on the candidate's graphs, so that outputs can be compared whichever points were chosen.
"""

import copy
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crosspoint.core.console import track
from crosspoint.models.edgeconv import EdgeConv, EdgeConv2

# What float32 cannot tell apart: errors of a score, of the cloud's squared radius, and of a feature, of the longest one
SCORE_ERROR, FEATURE_ERROR = 1e-5, 1e-6
ROWS = 1024  # rows of the distance matrix that are in memory at a time

Inputs = Mapping[str, NDArray[np.float32]]
Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]


class Reference:
    """A network in float64, evaluated on its own neighbour graphs or on a candidate's.

    Args:
        model: The network in evaluation mode; it is not changed.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = copy.deepcopy(model).double()
        self._edges = [edge for edge in self._model.modules() if isinstance(edge, EdgeConv | EdgeConv2)]
        for i, edge in enumerate(self._edges):
            edge.register_forward_hook(self._hook(i))
        self._chosen: list[Tensor] = []
        self._overlap: list[float] = []

    def on_graphs(
        self, inputs: Inputs, graphs: Mapping[str, NDArray[np.int64]]
    ) -> tuple[NDArray[np.float64], dict[str, float]]:
        """Evaluate one cloud on the candidate's neighbour graphs, and judge the graphs.

        Args:
            inputs: Inputs by name, with a batch of one.
            graphs: Neighbours `(1, N, k)` of every EdgeConv, in order.

        Returns:
            The output `(1, …)`, and for each EdgeConv the share of right neighbours.
        """
        self._chosen, self._overlap = [torch.from_numpy(neighbours) for neighbours in graphs.values()], []
        return self._run(inputs), dict(zip(graphs, self._overlap, strict=True))

    def on_own_graphs(self, inputs: Inputs) -> NDArray[np.float64]:
        """Evaluate clouds on the network's own neighbour graphs."""
        self._chosen = []
        return self._run(inputs)

    @torch.inference_mode()
    def _run(self, inputs: Inputs) -> NDArray[np.float64]:
        output: Tensor = self._model(**{name: torch.from_numpy(array).double() for name, array in inputs.items()})
        result: NDArray[np.float64] = output.numpy()
        return result

    def _hook(self, index: int) -> Hook:
        def on_chosen(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
            assert isinstance(module, EdgeConv | EdgeConv2)
            if not self._chosen:
                return output
            chosen = self._chosen[index]
            self._overlap.append(overlap(arguments[0][0], chosen[0]) if chosen.shape[2] == module.k else 0.0)
            return module.forward(arguments[0], chosen)  # forward, because calling the module would run this hook again

        return on_chosen


def embed_network(network: nn.Module, clouds: NDArray[np.float32], *, batch: int = 32) -> NDArray[np.float32]:
    """Embeddings `(n, D)` of clouds `(n, N, 3)` by the trained network, in float32."""
    starts = track(range(0, len(clouds), batch), "Embedding with the trained network")
    with torch.inference_mode():
        pieces = [network(torch.from_numpy(clouds[start : start + batch])).numpy() for start in starts]
    return np.concatenate(pieces)


def overlap(features: Tensor, chosen: Tensor) -> float:
    """Share of the chosen neighbours that are at most as far as the k-th nearest point; duplicates count once.

    Args:
        features: `(N, C)`, float64.
        chosen: `(N, k)`.
    """
    x = features - features.mean(dim=0)
    score_error = SCORE_ERROR * x.square().sum(dim=1).max()
    feature_error = FEATURE_ERROR * features.square().sum(dim=1).max().sqrt()
    right = 0
    for r in range(0, len(x), ROWS):
        near = chosen[r : r + ROWS].sort(dim=1).values  # (r, k)
        distances = torch.cdist(x[r : r + ROWS], x)  # (r, N)
        farthest = distances.topk(near.shape[1], dim=1, largest=False).values[:, -1:]  # (r, 1)
        limit = (farthest + feature_error).square() + score_error
        within = distances.gather(1, near).square() <= limit
        within[:, 1:] &= near[:, 1:] != near[:, :-1]
        right += int(within.sum())
    return right / chosen.numel()
