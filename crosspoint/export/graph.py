"""The deployed networks as ONNX graphs, node by node, so that one model always gives the same bytes.

Opset 17 with IR version 8: ONNX Runtime ≥ 1.18 and TensorRT 10.3 to 11 read it, it has every operator used here, and
its reductions take their axes as attributes. Points travel as flat rows `(B·N, C)`, which makes every product a plain
one and every gather one of whole rows; only distances and poolings see the clouds `(B, N, C)`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from crosspoint.export.deploy import (
    Array,
    BackboneWeights,
    DGCNNWeights,
    Edge,
    Linear,
    PointNetWeights,
    SegmenterWeights,
    TransformWeights,
    Weights,
)
from crosspoint.models.edgeconv import SLOPE

OPSET, IR_VERSION = 17, 8
TOPK = "neighbours"  # an EdgeConv's TopK is called `<edge>/neighbours`, and so is its second output


def build(weights: Weights, points: int | None) -> onnx.ModelProto:
    """The ONNX model of a deployed network: `points (batch, N, 3)` to `embedding`, or with `category` to `logits`.

    Args:
        weights: Of the network.
        points: N; None leaves it open.
    """
    graph = Graph(points)
    inputs: dict[str, list[int | str]] = {"points": ["batch", points or "points", 3]}
    if isinstance(weights, SegmenterWeights):
        inputs["category"] = ["batch", weights.category.weight.shape[0]]
        _segmenter(graph, weights)
        return graph.model(inputs, "logits", ["batch", points or "points", weights.classify.shape[1]])
    if isinstance(weights, PointNetWeights):
        dim = _pointnet(graph, weights)
    elif isinstance(weights, DGCNNWeights):
        dim = _dgcnn(graph, weights)
    else:
        _, dim = _backbone(graph, weights, "embedding")
    return graph.model(inputs, "embedding", ["batch", dim])


class Graph:
    """Nodes and constants, each named once; a node with one output has the output's name.

    Args:
        points: The number of points of every cloud; None where it varies.
    """

    def __init__(self, points: int | None) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._points = points
        self._cloud_rows: str | None = None

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant (once); returns its name."""
        self._constants.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def integers(self, name: str, *values: int) -> str:
        """Add an int64 vector."""
        return self.constant(name, np.array(values, np.int64))

    def add(self, operator: str, name: str, *inputs: str, outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Add a node; returns its last output, which is `name` if there is only one."""
        self._nodes.append(helper.make_node(operator, [*inputs], [*outputs] or [name], name, **attributes))
        return outputs[-1] if outputs else name

    def flat(self, name: str, x: str, width: int) -> str:
        """`(B, N, width)` to `(B·N, width)`."""
        return self.add("Reshape", name, x, self.integers(f"{name}/shape", -1, width))

    def clouds(self, name: str, x: str, width: int) -> str:
        """`(B·N, width)` to `(B, N, width)`."""
        if self._points is not None:
            return self.add("Reshape", name, x, self.integers(f"{name}/shape", -1, self._points, width))
        shape = self.add("Concat", f"{name}/shape", self._sizes(), self.integers(f"width{width}", width), axis=0)
        return self.add("Reshape", name, x, shape)

    def cloud_rows(self) -> str:
        """Flat row `b·N` at which each cloud begins, int32 `(B, 1, 1)`."""
        if self._cloud_rows is None:
            sizes = self._sizes()
            batch = self.add("Gather", "rows/batch", sizes, self.constant("rows/first", np.array(0)), axis=0)
            count = self.add("Gather", "rows/points", sizes, self.constant("rows/second", np.array(1)), axis=0)
            end = self.add("Mul", "rows/end", batch, count)
            starts = self.add("Range", "rows/starts", "rows/first", end, count)  # (B,)
            shaped = self.add("Reshape", "rows/shaped", starts, self.integers("rows/shape", -1, 1, 1))
            self._cloud_rows = self.add("Cast", "rows", shaped, to=TensorProto.INT32)
        return self._cloud_rows

    def _sizes(self) -> str:
        """`[B, N]`."""
        if all(node.name != "sizes" for node in self._nodes):
            self.add("Shape", "sizes", "points", start=0, end=2)
        return "sizes"

    def linear(self, name: str, x: str, linear: Linear) -> str:
        """`x W + b` of rows."""
        weight = self.constant(f"{name}/weight", linear.weight)
        return self.add("Gemm", name, x, weight, self.constant(f"{name}/bias", linear.bias))

    def product(self, name: str, x: str, weight: Array) -> str:
        """`x W` of rows or clouds."""
        return self.add("MatMul", name, x, self.constant(f"{name}/weight", weight))

    def leaky(self, name: str, x: str) -> str:
        """LeakyReLU with the networks' slope."""
        return self.add("LeakyRelu", name, x, alpha=SLOPE)

    def model(self, inputs: dict[str, list[int | str]], output: str, shape: list[int | str]) -> onnx.ModelProto:
        """Everything added, as a model of float32 inputs and one float32 output."""
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
    *hidden, last = weights.layers
    x = graph.flat("points/rows", "points", 3)
    for i, layer in enumerate(hidden, 1):
        x = graph.add("Relu", f"layer{i}", graph.linear(f"layer{i}/linear", x, layer))
    pooled = _linear_and_maximum(graph, f"layer{len(hidden) + 1}", x, last)
    graph.add("Relu", "embedding", pooled)
    return len(last.bias)


def _dgcnn(graph: Graph, weights: DGCNNWeights) -> int:
    width = len(weights.embed.bias)
    x = _edges(graph, graph.flat("points/rows", "points", 3), weights.edges)
    x = graph.clouds("embed/clouds", graph.leaky("embed", graph.linear("embed/linear", x, weights.embed)), width)
    maximum = graph.add("ReduceMax", "pool/max", x, axes=[1], keepdims=0)  # (B, 1024)
    mean = graph.add("ReduceMean", "pool/mean", x, axes=[1], keepdims=0)
    graph.add("Concat", "embedding", maximum, mean, axis=1)
    return 2 * width


def _edges(graph: Graph, x: str, edges: Sequence[Edge]) -> str:
    """EdgeConvs in a row; their results side by side `(B·N, ΣD)`."""
    layers = []
    for i, edge in enumerate(edges, 1):
        x = _edge(graph, f"edge{i}", x, edge)
        layers.append(x)
    return graph.add("Concat", "edges", *layers, axis=1)


def _edge(graph: Graph, name: str, x: str, edge: Edge) -> str:
    """One EdgeConv on flat rows `(B·N, C)`."""
    rows = _neighbours(graph, name, x, edge)  # (B, N, k)
    near = graph.add("Gather", f"{name}/gather", graph.product(f"{name}/near", x, edge.near), rows, axis=0)
    own = graph.linear(f"{name}/own", x, edge.own)  # (B·N, D)
    own = graph.clouds(f"{name}/own/clouds", own, len(edge.own.bias))
    if edge.second is None:
        best = graph.add("ReduceMax", f"{name}/max", near, axes=[2], keepdims=0)  # (B, N, D)
        out, width = graph.leaky(name, graph.add("Add", f"{name}/sum", best, own)), len(edge.own.bias)
    else:
        own = graph.add("Unsqueeze", f"{name}/own/edges", own, graph.integers("axis2", 2))  # (B, N, 1, H)
        hidden = graph.leaky(f"{name}/hidden", graph.add("Add", f"{name}/sum", near, own))  # (B, N, k, H)
        # what follows the product is monotone in each channel, so the maximum comes first
        best = graph.product(f"{name}/second", hidden, edge.second.weight)
        best = graph.add("ReduceMax", f"{name}/max", best, axes=[2], keepdims=0)  # (B, N, D)
        bias = graph.constant(f"{name}/second/bias", edge.second.bias)
        out, width = graph.leaky(name, graph.add("Add", f"{name}/biased", best, bias)), len(edge.second.bias)
    return graph.flat(f"{name}/rows", out, width)


def _neighbours(graph: Graph, name: str, x: str, edge: Edge) -> str:
    """Flat rows of the k nearest points `(B, N, k)`, int32.

    `x_i·x_j − ½|x_j|²` falls as the distance grows. Each cloud's mean is subtracted first: that changes no distance and
    keeps the terms from cancelling. This part stays in float32 whatever the precision of the rest.
    """
    x = graph.clouds(f"{name}/clouds", x, edge.near.shape[0])
    mean = graph.add("ReduceMean", f"{name}/mean", x, axes=[1], keepdims=1)  # (B, 1, C)
    centred = graph.add("Sub", f"{name}/centred", x, mean)
    squares = graph.add("ReduceSumSquare", f"{name}/squares", centred, axes=[2], keepdims=1)  # (B, N, 1)
    half = graph.add("Mul", f"{name}/half", squares, graph.constant("half", np.array(0.5, np.float32)))
    half = graph.add("Transpose", f"{name}/half/row", half, perm=[0, 2, 1])  # (B, 1, N)
    others = graph.add("Transpose", f"{name}/others", centred, perm=[0, 2, 1])  # (B, C, N)
    products = graph.add("MatMul", f"{name}/products", centred, others)  # (B, N, N)
    scores = graph.add("Sub", f"{name}/scores", products, half)
    k = graph.integers(f"k{edge.k}", edge.k)
    topk = (f"{name}/nearness", f"{name}/{TOPK}")
    chosen = graph.add("TopK", f"{name}/{TOPK}", scores, k, outputs=topk, axis=2, largest=1, sorted=1)
    within = graph.add("Cast", f"{name}/within", chosen, to=TensorProto.INT32)
    return graph.add("Add", f"{name}/among", within, graph.cloud_rows())


def _linear_and_maximum(graph: Graph, name: str, x: str, linear: Linear) -> str:
    """`max_p x_p W + b` over the points of each cloud, from flat rows: `(B, D)`."""
    y = graph.clouds(f"{name}/clouds", graph.product(f"{name}/product", x, linear.weight), len(linear.bias))
    y = graph.add("ReduceMax", f"{name}/max", y, axes=[1], keepdims=0)
    return graph.add("Add", f"{name}/biased", y, graph.constant(f"{name}/bias", linear.bias))


def _transform(graph: Graph, weights: TransformWeights) -> str:
    """The points, moved by the matrix that is predicted for their cloud; flat rows `(B·N, 3)`."""
    x = _edge(graph, "transform/edge", graph.flat("points/rows", "points", 3), weights.edge)
    x = graph.leaky("transform/embed", _linear_and_maximum(graph, "transform/embed", x, weights.embed))  # (B, 1024)
    for i, layer in enumerate(weights.hidden, 1):
        x = graph.leaky(f"transform/hidden{i}", graph.linear(f"transform/hidden{i}/linear", x, layer))
    matrix = graph.linear("transform/matrix", x, weights.matrix)  # (B, 9)
    matrix = graph.add("Reshape", "transform/matrices", matrix, graph.integers("3x3", -1, 3, 3))
    return graph.flat("transform/rows", graph.add("MatMul", "transform", "points", matrix), 3)


def _backbone(graph: Graph, weights: BackboneWeights, output: str) -> tuple[str, int]:
    """Features of the points, flat rows `(B·N, 192)`; those of the clouds `(B, 1024)` are named `output`."""
    local = _edges(graph, _transform(graph, weights.transform), weights.edges)
    graph.leaky(output, _linear_and_maximum(graph, "embed", local, weights.embed))
    return local, len(weights.embed.bias)


def _segmenter(graph: Graph, weights: SegmenterWeights) -> None:
    local, _ = _backbone(graph, weights.backbone, "cloud")
    category = graph.leaky("category/embed", graph.linear("category/linear", "category", weights.category))  # (B, 64)
    context = graph.add("Concat", "context", "cloud", category, axis=1)  # (B, 1088)
    context = graph.linear("hidden1/context", context, weights.context)  # (B, 256)
    context = graph.add("Unsqueeze", "hidden1/context/points", context, graph.integers("axis1", 1))  # (B, 1, 256)
    width = len(weights.context.bias)
    x = graph.clouds("hidden1/clouds", graph.product("hidden1/local", local, weights.local), width)
    x = graph.leaky("hidden1", graph.add("Add", "hidden1/sum", x, context))
    x = graph.flat("hidden1/rows", x, width)
    for i, layer in enumerate(weights.hidden, 2):
        x = graph.leaky(f"hidden{i}", graph.linear(f"hidden{i}/linear", x, layer))
    graph.clouds("logits", graph.product("classify", x, weights.classify), weights.classify.shape[1])
