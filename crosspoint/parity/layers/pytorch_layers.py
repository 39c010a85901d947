"""The layers of a PyTorch network."""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from crosspoint.core.errors import InputError
from crosspoint.models import DGCNN, DGCNNSegmenter, PointNet, SegmentationBackbone
from crosspoint.models.edgeconv import EdgeConv, EdgeConv2
from crosspoint.models.neighbours import nearest
from crosspoint.parity.layers.layers import Array, Layers
from crosspoint.runtime.specification import Specification

Get = Callable[[str], Tensor]
Table = dict[str, Callable[[Get], Tensor]]


class PyTorchLayers(Layers):
    """A network in evaluation mode, on its device.

    Args:
        model: The network; its modules are called as in its own forward pass.
        specification: Description of the open encoder.
    """

    def __init__(self, model: nn.Module, specification: Specification) -> None:
        self.specification = specification
        self._device = torch.device(specification.device)
        self._table = _table(model.to(self._device))
        self.names = frozenset(self._table)

    @torch.inference_mode()
    def compute(self, names: Iterable[str], given: Mapping[str, Array]) -> dict[str, Array]:
        """Only what is needed, and not given, is run."""
        tensors = {name: torch.from_numpy(array).to(self._device) for name, array in given.items()}

        def get(name: str) -> Tensor:
            if name not in tensors:
                tensors[name] = self._table[name](get)
            return tensors[name]

        return {name: get(name).cpu().numpy() for name in names}


def _table(model: nn.Module) -> Table:
    """For each tensor, how it is computed from others."""
    if isinstance(model, DGCNN):
        return _dgcnn(model)
    if isinstance(model, PointNet):
        return _pointnet(model)
    if isinstance(model, SegmentationBackbone):
        return _backbone(model, "embedding")
    if isinstance(model, DGCNNSegmenter):
        return _segmenter(model)
    raise InputError(f"{type(model).__name__} has no layers to compare; give a point encoder or a part segmenter")


def _edges(edges: Iterable[nn.Module], source: str) -> Table:
    table: Table = {}
    for i, edge in enumerate(edges, 1):
        assert isinstance(edge, EdgeConv | EdgeConv2)
        graph = f"edge{i}/neighbours"
        table[graph] = lambda get, x=source, k=edge.k: nearest(get(x), k)  # type: ignore[misc]
        table[f"edge{i}"] = lambda get, x=source, g=graph, e=edge: e(get(x), get(g))  # type: ignore[misc]
        source = f"edge{i}"
    return table


def _side_by_side(get: Get, count: int) -> Tensor:
    return torch.cat([get(f"edge{i}") for i in range(1, count + 1)], dim=2)


def _dgcnn(model: DGCNN) -> Table:
    count = len(model.edges)
    return {
        **_edges(model.edges, "points"),
        "embed": lambda get: model.embed.forward(_side_by_side(get, count)),  # (B, N, 1024)
        "embedding": lambda get: torch.cat([get("embed").amax(dim=1), get("embed").mean(dim=1)], dim=1),
    }


def _pointnet(model: PointNet) -> Table:
    names = ["points", *(f"layer{i}" for i in range(1, len(model.linears))), "pointwise"]
    table: Table = {}
    for i, (linear, norm) in enumerate(zip(model.linears, model.norms, strict=True)):
        table[names[i + 1]] = lambda get, x=names[i], w=linear, n=norm: _pointwise(w, n, get(x))  # type: ignore[misc]
    pointwise = table.pop("pointwise")
    return {**table, "embedding": lambda get: pointwise(get).amax(dim=1)}


def _pointwise(linear: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = norm(linear(x.flatten(0, 1)))  # (B·N, outputs)
    return torch.relu(y).view(*x.shape[:2], -1)


def _backbone(model: SegmentationBackbone, output: str) -> Table:
    def transform(get: Get) -> Tensor:
        matrices: Tensor = model.transform(get("points"), get("transform/edge/neighbours"))
        return get("points") @ matrices

    return {
        "transform/edge/neighbours": lambda get: nearest(get("points"), model.k),
        "transform": transform,
        **_edges(model.edges, "transform"),
        output: lambda get: model.embed.pool(_side_by_side(get, 3)).maximum,
    }


def _segmenter(model: DGCNNSegmenter) -> Table:
    def first(get: Get) -> Tensor:
        context = torch.cat([get("cloud"), model.category(get("category").unsqueeze(1)).squeeze(1)], dim=1)
        local = _side_by_side(get, 3)
        wide = torch.cat([context.unsqueeze(1).expand(-1, local.shape[1], -1), local], dim=2)
        hidden: Tensor = model.hidden[0](wide)
        return hidden

    return {
        **_backbone(model.backbone, "cloud"),
        "hidden1": first,
        "hidden2": lambda get: model.hidden[1](get("hidden1")),
        "hidden3": lambda get: model.hidden[2](get("hidden2")),
        "logits": lambda get: model.classify(get("hidden3")),
    }
