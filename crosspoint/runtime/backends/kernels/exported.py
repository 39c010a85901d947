"""Matches a graph, node by node, with what `crosspoint.export.onnx.build` writes, and inserts the CPU operators.

Every node must be the next one that the exporter would write: the same operator, inputs and attributes, and the same
constants where they decide shapes. At the first difference the graph counts as foreign, and nothing is replaced. The
position of a value therefore gives its rank, and no shape inference is needed.

The casts of fp16 and bf16 exports and the quantisation of int8 exports are skipped: their output counts as their
input.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.runtime.backends import onnx_messages as messages
from crosspoint.runtime.backends.onnx_messages import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

DOMAIN = "crosspoint"
OPSET, IR_VERSION = 17, 8
FLOATS = (messages.FLOAT, messages.FLOAT16, messages.BFLOAT16)
CONVERSIONS = ("Cast", "QuantizeLinear", "DequantizeLinear")
SLOPE = float(np.float32(0.2))  # of LeakyReLU
MOST_NEIGHBOURS = 64  # above it ONNX Runtime's TopK is as fast; at 64 of 1024, Nearest: 12 to 52 ms, TopK: 20 ms

Constant = Callable[[TensorProto], bool]  # checks that a constant is the expected one


class Different(Exception):
    """The graph is not one that the exporter writes."""


def put_kernels(model: ModelProto) -> bool:
    """Insert the operators in place; False, with the model unchanged, if there is no place for one."""
    try:
        reader = Reader(model)
        reader.read()
    except (Different, ValueError):  # ValueError: text that is not UTF-8
        return False
    nodes, graph = reader.rewritten(), model.graph
    if nodes is None:
        return False
    used = {name for node in nodes for name in node.input}
    constants = [constant for constant in graph.initializer if constant.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    model.opset_import.append(messages.OperatorSetIdProto(domain=DOMAIN, version=1))
    return True


class Reader:
    """Reads a graph from its first node to its last. Values are known by their names.

    Raises:
        Different: The graph is not one that the exporter writes.
    """

    def __init__(self, model: ModelProto) -> None:
        opsets = [(opset.domain, opset.version) for opset in model.opset_import]
        graph = model.graph
        if opsets != [("", OPSET)] or model.ir_version != IR_VERSION or model.functions or graph.sparse_initializer:
            raise Different
        self._graph = graph
        self._constants = {constant.name: constant for constant in graph.initializer}
        self._inputs = _inputs(graph)
        self._types: dict[str, int] = {name: constant.data_type for name, constant in self._constants.items()}
        self._types |= dict.fromkeys(self._inputs, messages.FLOAT)
        if len(self._types) != len(graph.initializer) + len(graph.input) or any(map(_is_outside, graph.initializer)):
            raise Different
        self._operators = [node.op_type for node in graph.node if node.op_type not in CONVERSIONS]
        self._taken = 0  # of these
        self._origins: dict[str, str] = {}  # for each converted value, the original one
        self._makers: dict[str, NodeProto] = {}
        self._position = 0
        self._choices: set[str] = set()
        self._scores: set[str] = set()
        self._replaced: dict[str, NodeProto] = {}
        self._dropped: set[str] = set()

    def rewritten(self) -> list[NodeProto] | None:
        """The nodes with the operators inserted; None if there is no place for one, or nodes are left over."""
        kept = [node for node in self._graph.node if node.output[0] not in self._dropped]
        nodes = [self._replaced.get(node.output[0], node) for node in kept]
        gone = {name for node in self._graph.node for name in node.output}
        gone -= {name for node in nodes for name in node.output}
        if not self._replaced or any(name in gone for node in nodes for name in node.input):
            return None
        return nodes

    def read(self) -> None:
        """Read the whole network."""
        if self._next(1) != "ReduceMean":
            result = self._pointnet()
        else:
            x = self._edge("points", spatial=True)
            if self._next(1) == "ReduceMax":
                local, result = self._backbone(x)
                if "category" in self._inputs:
                    result = self._segmenter(local, result)
            else:
                result = self._dgcnn(x)
        self._convert()
        if self._next(0) == "Sub":
            self._classifier(result)
        output, *others = (value.name for value in self._graph.output)
        if not _has_width(self._graph.output[0]):  # ONNX Runtime infers no shapes after a custom operator
            raise Different
        complete = self._position == len(self._graph.node) and self._origin(output) == result
        if not complete or not self._choices | self._scores >= {*others}:
            raise Different

    # The networks, as `crosspoint.export.onnx.build` writes them

    def _pointnet(self) -> str:
        x = "points"
        while self._next(1) == "Add":
            x = self._take("Relu", self._linear(x))
        return self._take("Relu", self._maximum_of_linear(x))

    def _dgcnn(self, x: str) -> str:
        x = self._leaky(self._linear(self._edges(x)))
        maximum = self._reduction("ReduceMax", x, axis=1, keep=0)
        mean = self._reduction("ReduceMean", x, axis=1, keep=0)
        return self._take("Concat", maximum, mean, axis=1)

    def _backbone(self, x: str) -> tuple[str, str]:
        """Read from the first EdgeConv of the transform to the features of points and clouds."""
        x = self._leaky(self._maximum_of_linear(x))
        while self._next(2) == "LeakyRelu":
            x = self._leaky(self._linear(x))
        matrices = self._take("Reshape", self._linear(x), _integers(-1, 3, 3))
        local = self._edges(self._edge(self._take("MatMul", "points", matrices), spatial=True))
        return local, self._leaky(self._maximum_of_linear(local))

    def _segmenter(self, local: str, cloud: str) -> str:
        category = self._leaky(self._linear("category"))
        context = self._linear(self._take("Concat", cloud, category, axis=1))
        context = self._take("Unsqueeze", context, _integers(1))
        x = self._leaky(self._take("Add", self._product(local), context))
        while self._next(1) == "Add":
            x = self._leaky(self._linear(x))
        return self._product(x)

    def _classifier(self, embedding: str) -> None:
        """Read the scores and the novelty, as `crosspoint.export.onnx.classifier_head` writes them."""
        x = standard = self._take("Div", self._take("Sub", embedding, _is_vector), _is_vector)
        while self._next(2) == "Relu":
            x = self._take("Relu", self._linear(x))
        scores = self._take("Softmax", self._linear(x), axis=1)
        least = self._take("ReduceMin", self._linear(standard), axes=[1], keepdims=1)
        length = self._take("ReduceSumSquare", standard, axes=[1], keepdims=1)
        distance = self._take("Sqrt", self._take("Max", self._take("Add", length, least), _is_vector))
        far = self._take("Mul", distance, _is_vector)
        sure = self._take("Mul", self._take("ReduceMax", scores, axes=[1], keepdims=1), _is_vector)
        self._scores |= {scores, self._biased(self._take("Add", far, sure))}

    def _edges(self, x: str) -> str:
        """Read the EdgeConvs after the first, whose output is x; return the concatenation of all outputs."""
        layers = [x]
        while self._next(0) == "MatMul":
            layers.append(self._edge(layers[-1]))
        return self._take("Concat", *layers, axis=2)

    def _edge(self, x: str, *, spatial: bool = False) -> str:
        """Read an EdgeConv; spatial: on points in three dimensions."""
        near = self._product(x)
        chosen = self._neighbours(x, spatial)
        rows = self._take("Unsqueeze", chosen, _integers(3))
        edges = self._take("GatherND", near, rows, batch_dims=1)  # (B, N, k, D)
        own = self._linear(x)
        if self._next(0) == "ReduceMax":
            best = self._take("ReduceMax", edges, axes=[2], keepdims=0)  # (B, N, D)
            if self._is_float(edges):
                inputs = (self._makers[edges].input[0], self._makers[rows].input[0])
                self._replace(best, "GatherMax", inputs, dropped=(rows, edges))
            return self._leaky(self._take("Add", best, own))
        own = self._take("Unsqueeze", own, _integers(2))
        hidden = self._leaky(self._take("Add", edges, own))
        best = self._reduction("ReduceMax", self._product(hidden), axis=2, keep=0)
        return self._leaky(self._biased(best))

    def _neighbours(self, x: str, spatial: bool) -> str:
        mean = self._reduction("ReduceMean", x, axis=1, keep=1)
        centred = self._take("Sub", x, mean)
        squares = self._take("ReduceSumSquare", centred, axes=[2], keepdims=1)
        half = self._take("Transpose", self._take("Mul", squares, _is_half), perm=[0, 2, 1])  # (B, 1, N)
        others = self._take("Transpose", centred, perm=[0, 2, 1])
        products = self._take("MatMul", centred, others)  # (B, N, N)
        scores = self._take("Sub", products, half)
        chosen = self._take("TopK", scores, _is_count, outputs=2, axis=2, largest=1, sorted=1)
        self._choices.add(chosen)
        k = _count(self._constants[self._makers[chosen].input[1]])
        if self._is_float(scores) and k <= MOST_NEIGHBOURS:
            left, right = self._makers[scores].input
            if spatial and left == products and [*self._makers[products].input] == [centred, others]:
                self._replace(chosen, "NearestPoints", (centred, right), dropped=(others, products, scores), k=k)
            else:
                self._replace(chosen, "Nearest", (left, right), dropped=(scores,), k=k)
        return chosen

    def _maximum_of_linear(self, x: str) -> str:
        return self._biased(self._reduction("ReduceMax", self._product(x), axis=1, keep=0))

    def _linear(self, x: str) -> str:
        return self._biased(self._product(x))

    def _product(self, x: str) -> str:
        return self._take("MatMul", x, _is_matrix)

    def _biased(self, x: str) -> str:
        return self._take("Add", x, _is_vector)

    def _leaky(self, x: str) -> str:
        return self._take("LeakyRelu", x, alpha=SLOPE)

    def _reduction(self, operator: str, x: str, axis: int, keep: int) -> str:
        """Read a reduction over an axis before the last."""
        y = self._take(operator, x, axes=[axis], keepdims=keep)
        if self._is_float(y):
            inputs = self._makers[y].input
            self._replace(y, operator.removeprefix("Reduce"), inputs, axis=axis, keep=keep)
        return y

    # Nodes

    def _next(self, ahead: int) -> str:
        """The operator of a later node, not counting conversions; empty after the last."""
        return "".join(self._operators[self._taken + ahead : self._taken + ahead + 1])

    def _take(self, operator: str, *inputs: str | Constant, outputs: int = 1, **attributes: Any) -> str:
        """Read the next node, which must be this one; return its last output."""
        self._convert()
        node = self._node()
        self._position += 1
        self._taken += 1
        if node.op_type != operator or len(node.input) != len(inputs) or not _has(node, **attributes):
            raise Different
        for name, expected in zip(node.input, inputs, strict=True):
            if isinstance(expected, str):
                fits = self._origin(name) == expected
            else:
                constant = self._constants.get(self._origin(name))
                fits = constant is not None and expected(constant)
            if not fits:
                raise Different
        kinds = [self._types[node.input[0]], messages.INT64]
        self._make(node, kinds[:outputs])
        last: str = node.output[-1]
        return last

    def _convert(self) -> None:
        """Read the conversions that come next."""
        while self._position < len(self._graph.node) and (node := self._node()).op_type in CONVERSIONS:
            self._position += 1
            if node.op_type == "Cast":
                found = [kind for kind in FLOATS if _has(node, to=kind)]
                fits = len(node.input) == 1 and len(found) == 1
                kind = found[0] if fits else messages.UNDEFINED
            else:
                kind = messages.INT8 if node.op_type == "QuantizeLinear" else messages.FLOAT
                fits = len(node.input) == 3 and self._constants.keys() >= {*node.input[1:]}
                # a weight has a scale for each column
                fits = fits and (_has(node, axis=1) if node.input[0] in self._constants else _has(node))
            if not fits or node.input[0] not in self._types:
                raise Different
            self._make(node, [kind])
            self._origins[node.output[0]] = self._origin(node.input[0])

    def _node(self) -> NodeProto:
        if self._position >= len(self._graph.node):
            raise Different
        node: NodeProto = self._graph.node[self._position]
        if node.domain or not node.input or not node.output:
            raise Different
        return node

    def _make(self, node: NodeProto, kinds: list[int]) -> None:
        """Note the outputs of a node."""
        if len(node.output) != len(kinds) or len({*node.output}) != len(kinds):
            raise Different
        for name, kind in zip(node.output, kinds, strict=True):
            if not name or name in self._types:
                raise Different
            self._types[name] = kind
            self._makers[name] = node

    def _origin(self, name: str) -> str:
        return self._origins.get(name, name)

    def _is_float(self, name: str) -> bool:
        return self._types[name] == messages.FLOAT

    def _replace(self, value: str, kind: str, inputs: Any, dropped: tuple[str, ...] = (), **attributes: int) -> None:
        """Compute a value with an operator instead of its node, and drop the nodes that only this node needed."""
        old = self._makers[value]
        new = messages.make_node(kind, [*inputs], outputs=[value], name=old.name, domain=DOMAIN)
        new.attribute.extend(messages.make_attribute(name, number) for name, number in attributes.items())
        self._replaced[old.output[0]] = new
        self._dropped |= set(dropped)


def _inputs(graph: GraphProto) -> set[str]:
    """Names of the inputs: float32 points (B, N, 3), and for a segmenter category (B, categories)."""
    shapes = {}
    for value in graph.input:
        kind = value.type.tensor_type
        shapes[value.name] = [dim.dim_value for dim in kind.shape.dim]
        if kind.elem_type != messages.FLOAT:
            raise Different
    points, category = shapes.get("points", []), shapes.get("category", [0, 1])
    known = {"points"} <= shapes.keys() <= {"points", "category"}
    if not known or len(points) != 3 or points[2] != 3 or len(category) != 2:
        raise Different
    return {*shapes}


def _has_width(value: ValueInfoProto) -> bool:
    """Whether the last dimension of an output is a number."""
    dims = value.type.tensor_type.shape.dim
    return bool(dims) and dims[-1].dim_value > 0


def _has(node: NodeProto, **attributes: Any) -> bool:
    """Whether a node has exactly these attributes."""
    found = sorted(node.attribute, key=lambda entry: str(entry.name))
    return found == [messages.make_attribute(*pair) for pair in sorted(attributes.items())]


def _is_outside(constant: TensorProto) -> bool:
    """Whether the values of a constant are in another file."""
    return constant.data_location != messages.HERE or len(constant.external_data) > 0


def _is_matrix(constant: TensorProto) -> bool:
    return len(constant.dims) == 2


def _is_vector(constant: TensorProto) -> bool:
    return len(constant.dims) == 1


def _is_half(constant: TensorProto) -> bool:
    return _holds(constant, np.array(0.5, np.float32))


def _holds(constant: TensorProto, array: NDArray[Any]) -> bool:
    """Whether a constant equals an array, as the exporter writes it."""
    return bool(constant == messages.make_tensor(array, constant.name))


def _is_count(constant: TensorProto) -> bool:
    return _count(constant) > 0


def _count(constant: TensorProto) -> int:
    """The one int64 of a vector, if it is 1 to 2³¹ − 1; else 0."""
    value = int.from_bytes(constant.raw_data[:8], "little", signed=True)
    return value if 0 < value < 1 << 31 and _holds(constant, np.array([value], np.int64)) else 0


def _integers(*expected: int) -> Constant:
    return lambda constant: _holds(constant, np.array(expected, np.int64))
