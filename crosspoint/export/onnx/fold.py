"""The weights for deployment: batch normalisation folded in, EdgeConv as two products per point.

For an EdgeConv whose BN is `a e + b` on the running statistics (`a = γ / √(σ² + ε)`, of any sign; `b = β − a μ`),

    out_i = LeakyReLU(max_j near_j + own_i),   near = x (a W₁)ᵀ,   own = x (a (W₂ − W₁))ᵀ + b

which is equation 2 of `crosspoint.models.edgeconv`. Everything is computed in float64 and rounded once.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from crosspoint.core.errors import InputError
from crosspoint.models import DGCNN, DGCNNSegmenter, PointNet, SceneBackbone, SegmentationBackbone
from crosspoint.models.dgcnn import PointLinear
from crosspoint.models.edgeconv import EdgeConv, EdgeConv2, EdgeLinear
from crosspoint.models.heads import PointHead
from crosspoint.models.scenes import LIFT, OFFSET
from crosspoint.models.segmentation import TransformNet

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Linear:
    """`x W + b` for every row, before the activation."""

    weight: Array  # (C, D)
    bias: Array  # (D,)


@dataclass(frozen=True)
class Edge:
    """An EdgeConv. If there is a `second` convolution, `out_i = LeakyReLU(max_j LeakyReLU(near_j + own_i) W + b)`."""

    k: int
    near: Array  # (C, D)
    own: Linear  # (C, D)
    second: Linear | None


@dataclass(frozen=True)
class PointNetWeights:
    """Weights of `PointNet`."""

    layers: tuple[Linear, ...]


@dataclass(frozen=True)
class DGCNNWeights:
    """Weights of `DGCNN`."""

    edges: tuple[Edge, ...]
    embed: Linear


@dataclass(frozen=True)
class TransformWeights:
    """Weights of `TransformNet`."""

    edge: Edge
    embed: Linear
    hidden: tuple[Linear, ...]
    matrix: Linear


@dataclass(frozen=True)
class BackboneWeights:
    """Weights of `SegmentationBackbone`."""

    transform: TransformWeights
    edges: tuple[Edge, ...]
    embed: Linear


@dataclass(frozen=True)
class SegmenterWeights:
    """Weights of `DGCNNSegmenter`. The first hidden layer takes cloud ‖ category ‖ point, in two parts."""

    backbone: BackboneWeights
    category: Linear
    context: Linear  # the part of the first hidden layer for cloud ‖ category, with its bias; once per cloud
    local: Array  # the part of the first hidden layer for the point
    hidden: tuple[Linear, ...]  # the hidden layers after it
    classify: Array


@dataclass(frozen=True)
class SceneWeights:
    """Weights of `SceneBackbone` for points of three coordinates."""

    edges: tuple[Edge, ...]
    embed: Linear


Weights = PointNetWeights | DGCNNWeights | BackboneWeights | SegmenterWeights | SceneWeights


def deploy(model: nn.Module) -> Weights:
    """Fold the weights of a network in evaluation mode.

    Raises:
        InputError: It is not a point encoder or part segmenter.
    """
    if isinstance(model, PointNet):
        pairs = zip(model.linears, model.norms, strict=True)
        return PointNetWeights(tuple(_linear(linear, norm) for linear, norm in pairs))
    if isinstance(model, DGCNN):
        return DGCNNWeights(tuple(_edge(edge) for edge in model.edges), _point_linear(model.embed))
    if isinstance(model, SegmentationBackbone):
        return _backbone(model)
    if isinstance(model, DGCNNSegmenter):
        return _segmenter(model)
    if isinstance(model, SceneBackbone):
        first, *others = model.edges
        return SceneWeights((_lifted(first), *(_edge(edge) for edge in others)), _point_linear(model.embed))
    raise InputError(f"{type(model).__name__} cannot be exported; give a point encoder or a part segmenter")


def deploy_head(head: PointHead) -> tuple[Linear, Linear]:
    """Fold the weights of a projection head: the layer before its ReLU, and the layer after it."""
    first, norm, _, last = head
    return _linear(first, norm), _linear(last)


def _backbone(model: SegmentationBackbone) -> BackboneWeights:
    edges = tuple(_edge(edge) for edge in model.edges)
    return BackboneWeights(_transform(model.transform), edges, _point_linear(model.embed))


def _transform(model: TransformNet) -> TransformWeights:
    hidden = (_linear(model.linear1, model.norm1), _linear(model.linear2, model.norm2))
    return TransformWeights(_edge(model.edge), _point_linear(model.embed), hidden, _linear(model.transform))


def _segmenter(model: DGCNNSegmenter) -> SegmenterWeights:
    first, *others = (_point_linear(layer) for layer in model.hidden)
    category = _point_linear(model.category)
    context = SegmentationBackbone.dim + len(category.bias)  # 1024 + 64
    return SegmenterWeights(
        _backbone(model.backbone),
        category,
        Linear(first.weight[:context], first.bias),
        first.weight[context:],
        tuple(others),
        _linear(model.classify).weight,
    )


def _point_linear(module: nn.Module) -> Linear:
    assert isinstance(module, PointLinear)
    return _linear(module.linear, module.norm)


def _linear(linear: nn.Module, norm: nn.Module | None = None) -> Linear:
    """`BN(W x + c) = (a W) x + (a c + b)`."""
    assert isinstance(linear, nn.Linear)
    weight = _exact(linear.weight)  # (D, C)
    bias = np.zeros(len(weight)) if linear.bias is None else _exact(linear.bias)
    if norm is not None:
        scale, shift = _frozen(norm)
        weight, bias = scale[:, None] * weight, scale * bias + shift
    return Linear(_rounded(weight.T), _rounded(bias))


def _edge(module: nn.Module) -> Edge:
    if isinstance(module, EdgeConv2):
        return Edge(module.k, *_edge_linear(module.first), second=_linear(module.second, module.norm))
    assert isinstance(module, EdgeConv)
    return Edge(module.k, *_edge_linear(module.linear), second=None)


def _edge_linear(module: EdgeLinear) -> tuple[Array, Linear]:
    """Weight of the neighbours `a W₁`, weight of the point `a (W₂ − W₁)`, and b."""
    near, own, shift = _edge_terms(module)
    return _rounded(near.T), Linear(_rounded(own.T), _rounded(shift))


def _edge_terms(module: EdgeLinear) -> tuple[NDArray[np.float64], ...]:
    """`a W₁` and `a (W₂ − W₁)`, each `(D, C)`, and b."""
    first, second = np.split(_exact(module.weight), 2, axis=1)  # (D, C) each
    scale, shift = _frozen(module.norm)
    return scale[:, None] * first, scale[:, None] * (second - first), shift


def _lifted(module: nn.Module) -> Edge:
    """The first EdgeConv of a `SceneBackbone` behind `x = p L + o`, for points p of three coordinates.

    W₁ (x_j − x_i) + W₂ x_i = (p_j L) W₁ᵀ + (p_i L) (W₂ − W₁)ᵀ + o W₂ᵀ,   and W₂ = (W₂ − W₁) + W₁

    The products with L are computed here, so that the graph takes points as they are.
    """
    assert isinstance(module, EdgeConv2)
    near, own, shift = _edge_terms(module.first)
    matrix, offset = np.array(LIFT), np.array(OFFSET)
    linear = Linear(_rounded(matrix @ own.T), _rounded(shift + (own + near) @ offset))
    return Edge(module.k, _rounded(matrix @ near.T), linear, second=_linear(module.second, module.norm))


def _frozen(norm: nn.Module) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale a and shift b of a batch normalisation with its running statistics."""
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = _exact(norm.weight) / np.sqrt(_exact(norm.running_var) + norm.eps)
    return scale, _exact(norm.bias) - scale * _exact(norm.running_mean)


def _exact(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().cpu().double().numpy()


def _rounded(array: NDArray[np.float64]) -> Array:
    return np.ascontiguousarray(array, dtype=np.float32)
