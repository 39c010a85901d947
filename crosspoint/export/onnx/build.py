"""Writes the networks as ONNX graphs, node by node, so that the same model always gives the same bytes.

Opset 17 with IR version 8 is read by ONNX Runtime ≥ 1.18 and TensorRT 10.3 to 11, has every operator used here, and
takes the axes of reductions as attributes. All values have the shape `(B, N, …)`, so that no shape is computed at run
time, even if B and N vary.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from crosspoint.export.onnx.fold import (
    Array,
    BackboneWeights,
    DGCNNWeights,
    Edge,
    Linear,
    PointNetWeights,
    SceneWeights,
    SegmenterWeights,
    TransformWeights,
    Weights,
)
from crosspoint.models.edgeconv import SLOPE

OPSET, IR_VERSION = 17, 8
TOPK = "neighbours"  # an EdgeConv's TopK, and its second output, are named `<edge>/neighbours`


def build(weights: Weights, points: int | None) -> onnx.ModelProto:
    """Build the ONNX model of a network: `points (batch, N, 3)` to `embedding`, or with `category` to `logits`.

    Args:
        weights: Deployed weights of the network.
        points: Number of points N; None: any.
    """
    graph = Graph()
    inputs: dict[str, list[int | str]] = {"points": ["batch", points or "points", 3]}
    if isinstance(weights, SegmenterWeights):
        inputs["category"] = ["batch", weights.category.weight.shape[0]]
        _segmenter(graph, weights)
        return graph.model(inputs, "logits", shape=["batch", points or "points", weights.classify.shape[1]])
    if isinstance(weights, PointNetWeights):
        dim = _pointnet(graph, weights)
    elif isinstance(weights, DGCNNWeights):
        dim = _dgcnn(graph, weights)
    elif isinstance(weights, SceneWeights):
        local = _edges(graph, "points", weights.edges)
        dim = _pooled(graph, "embedding", local, weights.embed)
    else:
        _, dim = _backbone(graph, weights, "embedding")
    return graph.model(inputs, "embedding", shape=["batch", dim])


class Graph:
    """Collects nodes and constants, each with a unique name. A node with one output has the output's name."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant, once; returns its name."""
        self._constants.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def integers(self, name: str, *values: int) -> str:
        """Add a vector of int64, once; returns its name."""
        return self.constant(name, np.array(values, np.int64))

    def add(self, operator: str, name: str, *inputs: str, outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Add a node; returns the name of its last output, which is `name` if there is only one."""
        self._nodes.append(helper.make_node(operator, [*inputs], [*outputs] or [name], name, **attributes))
        return outputs[-1] if outputs else name

    def product(self, name: str, x: str, *, weight: Array) -> str:
        """Add `x W` over the last dimension."""
        return self.add("MatMul", name, x, self.constant(f"{name}/weight", weight))

    def biased(self, name: str, x: str, *, bias: Array) -> str:
        """Add `x + b`."""
        return self.add("Add", name, x, self.constant(f"{name}/bias", bias))

    def linear(self, name: str, x: str, *, linear: Linear) -> str:
        """Add `x W + b`."""
        return self.biased(name, self.product(f"{name}/product", x, weight=linear.weight), bias=linear.bias)

    def leaky(self, name: str, x: str) -> str:
        """Add LeakyReLU with the networks' slope."""
        return self.add("LeakyRelu", name, x, alpha=SLOPE)

    def model(self, inputs: dict[str, list[int | str]], output: str, *, shape: list[int | str]) -> onnx.ModelProto:
        """All nodes as a model with float32 inputs and one float32 output."""
        graph = helper.make_graph(
            self._nodes,
            "crosspoint",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in inputs.items()],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
            list(self._constants.values()),
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="crosspoint")


def _pointnet(graph: Graph, weights: PointNetWeights) -> int:
    x = "points"
    *hidden, last = weights.layers
    for i, layer in enumerate(hidden, 1):
        x = graph.add("Relu", f"layer{i}", graph.linear(f"layer{i}/linear", x, linear=layer))
    graph.add("Relu", "embedding", _maximum_of_linear(graph, f"layer{len(hidden) + 1}", x, last))
    return len(last.bias)


def _dgcnn(graph: Graph, weights: DGCNNWeights) -> int:
    x = _edges(graph, "points", weights.edges)
    x = graph.leaky("embed", graph.linear("embed/linear", x, linear=weights.embed))  # (B, N, 1024)
    maximum = graph.add("ReduceMax", "pool/max", x, axes=[1], keepdims=0)  # (B, 1024)
    mean = graph.add("ReduceMean", "pool/mean", x, axes=[1], keepdims=0)
    graph.add("Concat", "embedding", maximum, mean, axis=1)
    return 2 * len(weights.embed.bias)


def _edges(graph: Graph, x: str, edges: Sequence[Edge]) -> str:
    """Add EdgeConvs one after the other; their outputs are concatenated to `(B, N, ΣD)`."""
    layers = []
    for i, edge in enumerate(edges, 1):
        x = _edge(graph, f"edge{i}", x, edge)
        layers.append(x)
    return graph.add("Concat", "edges", *layers, axis=2)


def _edge(graph: Graph, name: str, x: str, edge: Edge) -> str:
    """Add an EdgeConv, `(B, N, C)` to `(B, N, D)`."""
    near = graph.product(f"{name}/near", x, weight=edge.near)
    near = graph.add("GatherND", f"{name}/gather", near, _neighbours(graph, name, x, edge.k), batch_dims=1)
    own = graph.linear(f"{name}/own", x, linear=edge.own)
    if edge.second is None:
        best = graph.add("ReduceMax", f"{name}/max", near, axes=[2], keepdims=0)  # (B, N, k, D) to (B, N, D)
        return graph.leaky(name, graph.add("Add", f"{name}/sum", best, own))
    own = graph.add("Unsqueeze", f"{name}/own/edges", own, graph.integers("axis2", 2))  # (B, N, 1, H)
    hidden = graph.leaky(f"{name}/hidden", graph.add("Add", f"{name}/sum", near, own))  # (B, N, k, H)
    # what follows the product is monotone in each channel, so the maximum comes first
    best = graph.product(f"{name}/second", hidden, weight=edge.second.weight)
    best = graph.add("ReduceMax", f"{name}/max", best, axes=[2], keepdims=0)  # (B, N, D)
    return graph.leaky(name, graph.biased(f"{name}/biased", best, bias=edge.second.bias))


def _neighbours(graph: Graph, name: str, x: str, k: int) -> str:
    """Add the search for the k nearest points within each cloud, `(B, N, k, 1)`.

    `x_i·x_j − ½|x_j|²` falls as the distance grows. The mean of each cloud is subtracted first: this changes no
    distance and loses fewer digits. This part stays in float32, whatever the precision of the other layers.
    """
    mean = graph.add("ReduceMean", f"{name}/mean", x, axes=[1], keepdims=1)  # (B, 1, C)
    centred = graph.add("Sub", f"{name}/centred", x, mean)
    squares = graph.add("ReduceSumSquare", f"{name}/squares", centred, axes=[2], keepdims=1)  # (B, N, 1)
    half = graph.add("Mul", f"{name}/half", squares, graph.constant("half", np.array(0.5, np.float32)))
    half = graph.add("Transpose", f"{name}/half/row", half, perm=[0, 2, 1])  # (B, 1, N)
    others = graph.add("Transpose", f"{name}/others", centred, perm=[0, 2, 1])  # (B, C, N)
    products = graph.add("MatMul", f"{name}/products", centred, others)  # (B, N, N)
    scores = graph.add("Sub", f"{name}/scores", products, half)
    outputs = (f"{name}/nearness", f"{name}/{TOPK}")
    count = graph.integers(f"k{k}", k)
    chosen = graph.add("TopK", f"{name}/{TOPK}", scores, count, outputs=outputs, axis=2, largest=1, sorted=1)
    return graph.add("Unsqueeze", f"{name}/rows", chosen, graph.integers("axis3", 3))


def _maximum_of_linear(graph: Graph, name: str, x: str, linear: Linear) -> str:
    """Add `max_p x_p W + b` over the points of each cloud, `(B, D)`."""
    y = graph.add(
        "ReduceMax", f"{name}/max", graph.product(f"{name}/product", x, weight=linear.weight), axes=[1], keepdims=0
    )
    return graph.biased(f"{name}/biased", y, bias=linear.bias)


def _transform(graph: Graph, weights: TransformWeights) -> str:
    """Add the product of the points with the matrix predicted for their cloud, `(B, N, 3)`."""
    x = _edge(graph, "transform/edge", "points", weights.edge)
    x = graph.leaky("transform/embed", _maximum_of_linear(graph, "transform/embed", x, weights.embed))  # (B, 1024)
    for i, layer in enumerate(weights.hidden, 1):
        x = graph.leaky(f"transform/hidden{i}", graph.linear(f"transform/hidden{i}/linear", x, linear=layer))
    matrix = graph.linear("transform/matrix", x, linear=weights.matrix)  # (B, 9)
    matrix = graph.add("Reshape", "transform/matrices", matrix, graph.integers("3x3", -1, 3, 3))
    return graph.add("MatMul", "transform", "points", matrix)


def _backbone(graph: Graph, weights: BackboneWeights, output: str) -> tuple[str, int]:
    """Add the features of the points `(B, N, 192)`; those of the clouds `(B, 1024)` are named `output`."""
    local = _edges(graph, _transform(graph, weights.transform), weights.edges)
    return local, _pooled(graph, output, local, weights.embed)


def _pooled(graph: Graph, output: str, local: str, embed: Linear) -> int:
    """Add the features of the clouds, named `output`, from those of their points; returns their width."""
    graph.leaky(output, _maximum_of_linear(graph, "embed", local, embed))
    return len(embed.bias)


def _segmenter(graph: Graph, weights: SegmenterWeights) -> None:
    local, _ = _backbone(graph, weights.backbone, "cloud")
    category = graph.leaky(
        "category/embed", graph.linear("category/linear", "category", linear=weights.category)
    )  # (B, 64)
    context = graph.add("Concat", "context", "cloud", category, axis=1)  # (B, 1088)
    context = graph.linear("hidden1/context", context, linear=weights.context)  # (B, 256)
    context = graph.add("Unsqueeze", "hidden1/context/points", context, graph.integers("axis1", 1))  # (B, 1, 256)
    x = graph.product("hidden1/local", local, weight=weights.local)  # (B, N, 256)
    x = graph.leaky("hidden1", graph.add("Add", "hidden1/sum", x, context))
    for i, layer in enumerate(weights.hidden, 2):
        x = graph.leaky(f"hidden{i}", graph.linear(f"hidden{i}/linear", x, linear=layer))
    graph.product("logits", x, weight=weights.classify)
