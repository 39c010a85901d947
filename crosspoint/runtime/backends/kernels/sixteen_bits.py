"""Runs a graph of bfloat16 layers on a CPU with AVX512-BF16: as a float32 graph with products of 16 bits.

ONNX Runtime has no bfloat16 arithmetic on the CPU. `widen` makes a bf16 graph, as `crosspoint export` writes it, a
float32 one: its conversions go, its constants become float32 of the same values, and its products are noted. After the
operators of `exported.py` are in it, `put_layers` replaces each of these products and what follows it.

A product rounds its rows to bfloat16 once, to nearest, ties to even, and sums in float32. All that lies between
products stays in float32, where the graph would round it to bfloat16; neighbours are those of float32. A product of two
values that both depend on the points (a part segmenter's turn by a 3 × 3 matrix) is one of float32 on rounded values.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from crosspoint.runtime.backends import onnx_messages as messages
from crosspoint.runtime.backends.kernels.layers import Product, Rewriter, pack
from crosspoint.runtime.backends.onnx_messages import BFLOAT16, FLOAT, INT64, GraphProto, NodeProto, TensorProto


def is_bf16(graph: GraphProto) -> bool:
    """Whether a graph stores weights in bfloat16; one that only rounds to it is of float32."""
    return any(constant.data_type == BFLOAT16 for constant in graph.initializer)


def widen(graph: GraphProto) -> set[str] | None:
    """Make a bf16 graph a float32 graph, in place.

    Returns:
        The names of the products by weights that are in bfloat16; None, with the graph in any state, if there are none,
        types do not fit, neighbours are not searched in float32, or a value is rounded to bfloat16 and widened again.
    """
    widening = _Widening(graph)
    return widening.products if widening.run() and widening.products else None


def put_layers(graph: GraphProto, products: Collection[str], *, search: bool = False) -> bool:
    """Replace, in place, products of 16 bits and what follows each.

    Args:
        graph: A graph of `widen` with the operators of `exported.py`.
        products: Their names.
        search: Find neighbours by way of 16 bits; they are those of float32 all the same.

    Returns:
        Whether all were replaced.
    """
    rewriter = _Rewriter16(graph, products)
    rewriter.run(search=search)
    return rewriter.replaced == {*products}


def pack_bf16(weight: NDArray[np.float32]) -> NDArray[np.int8]:
    """Weights `(C, D)`, all of them values of bfloat16, as panels `(panels, 1 + lines, 64)`."""
    return pack((weight.view(np.uint32) >> 16).astype(np.uint16))


class _Widening:
    """State of `widen`: the type of every value in the bf16 graph, and the names of values that conversions left."""

    def __init__(self, graph: GraphProto) -> None:
        self.products: set[str] = set()
        self._graph = graph
        self._constants = {constant.name: constant for constant in graph.initializer}
        self._types = {name: constant.data_type for name, constant in self._constants.items()}
        self._types |= {value.name: value.type.tensor_type.elem_type for value in graph.input}
        self._outputs = {value.name for value in graph.output}
        self._sources: dict[str, str] = {}
        self._rounded: set[str] = set()
        self._nodes: list[NodeProto] = []

    def run(self) -> bool:
        """Whether the graph is now one of float32."""
        if not all(self._add(node) for node in self._graph.node):
            return False
        if any(self._types.get(name, BFLOAT16) == BFLOAT16 for name in self._outputs):
            return False
        if not all(_to_float32(constant) for constant in self._graph.initializer):
            return False
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        return True

    def _add(self, node: NodeProto) -> bool:
        """Add a node; whether its types fit."""
        kinds = [self._types.get(name) for name in node.input]
        if node.domain or not kinds or None in kinds or not node.output:
            return False
        if node.op_type == "Cast":
            return self._convert(node)
        floats = {kind for kind in kinds if kind != INT64}
        if len(floats) > 1 or not floats <= {FLOAT, BFLOAT16} or (node.op_type == "TopK" and BFLOAT16 in floats):
            return False
        self._types |= dict.fromkeys(node.output, kinds[0] or FLOAT)
        if node.op_type == "TopK":
            self._types[node.output[-1]] = INT64
        node.input[:] = [self._sources.get(name, name) for name in node.input]
        if node.op_type == "MatMul" and BFLOAT16 in floats:
            if node.input[1] in self._constants:
                self.products.add(node.output[0])
            else:
                node.input[:] = [self._round(name) for name in node.input]
        self._nodes.append(node)
        return True

    def _convert(self, node: NodeProto) -> bool:
        """Drop a conversion between float32 and bfloat16; one that makes an output of the graph stays, to float32."""
        name, to = node.output[0], _to(node)
        kinds = {to, self._types[node.input[0]]}
        if kinds != {FLOAT, BFLOAT16} or len(node.input) != 1 or node.input[0] in self._sources:
            return False
        source = self._sources.get(node.input[0], node.input[0])
        self._types[name] = to
        if name in self._outputs:
            node.input[:] = [source]
            self._nodes.append(node)
        else:
            self._sources[name] = source
        return True

    def _round(self, name: str) -> str:
        """A value rounded to bfloat16 and widened again."""
        low, wide = f"{name}/rounded", f"{name}/widened"
        for source, made, to in ((name, low, BFLOAT16), (low, wide, FLOAT)):
            if made not in self._rounded:
                cast = messages.make_node("Cast", [source], outputs=[made], name=made)
                cast.attribute.append(messages.make_attribute("to", to))
                self._nodes.append(cast)
                self._rounded.add(made)
        return wide


class _Rewriter16(Rewriter):
    bits = 16

    def __init__(self, graph: GraphProto, products: Collection[str]) -> None:
        super().__init__(graph)
        self.replaced: set[str] = set()
        self._products = products

    def _product(self, node: NodeProto) -> Product | None:
        if node.output[0] not in self._products or node.op_type != "MatMul" or node.domain:
            return None
        weight = self._array(node.input[1])
        if weight.dtype != np.float32 or weight.ndim != 2:
            return None
        self.replaced.add(node.output[0])
        width = weight.shape[1]
        return Product(node, node.input[0], width, {"panels": pack_bf16(weight)}, {"width": width})


def _to(node: NodeProto) -> int:
    """The type that a conversion makes, or 0."""
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == "to"), messages.UNDEFINED)


def _to_float32(constant: TensorProto) -> bool:
    """Make a constant of bfloat16 one of float32, in place; False if its values are not there."""
    if constant.data_type != BFLOAT16:
        return True
    if len(constant.raw_data) != 2 * int(np.prod(constant.dims, dtype=object)):
        return False
    values = np.frombuffer(constant.raw_data, "<u2").astype(np.uint32) << 16
    constant.data_type, constant.raw_data = FLOAT, values.tobytes()
    return True
