"""Finds products of 8 bits in an int8 graph: `MatMul(DequantizeLinear(QuantizeLinear(x)), DequantizeLinear(W))`.

Their sums are exact, so that numbers stay the same. Before a product whose rows are concatenated,

        Concat, QuantizeLinear  →  QuantizeLinear of each, Concat: fewer bytes
"""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from crosspoint.runtime.backends import onnx_messages as messages
from crosspoint.runtime.backends.kernels.layers import Product, Rewriter, pack
from crosspoint.runtime.backends.onnx_messages import GraphProto, NodeProto

LINES = 16  # lines of a panel are a multiple of it: the tiles of AMX
FAIR = 64  # larger weights overflow where there is no VNNI, here as in ONNX Runtime


def put_layers(graph: GraphProto, *, search: bool = False) -> None:
    """Replace, in place, every product of 8 bits and what follows it.

    Args:
        graph: A graph with the operators of `exported.py`.
        search: In a graph with such products, find neighbours by way of 16 bits.
    """
    _Rewriter8(graph).run(search=search)


def pack_codes(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """Weights `(C, D)` between −64 and 64 as panels `(panels, 1 + lines, 64)`, for codes with 128 added."""
    return pack(weight, -128 * weight.sum(axis=0, dtype=np.int32), multiple=LINES)


class _Rewriter8(Rewriter):
    bits = 8

    def _finished(self, nodes: list[NodeProto]) -> list[NodeProto]:
        early = [new for node in _needed(nodes, self._outputs) for new in self._quantised_early(node)]
        return [node for node in early if node.output[0] not in self._dropped]

    def _product(self, node: NodeProto) -> Product | None:
        if node.op_type != "MatMul" or node.domain:
            return None
        x, weight = (self._makers.get(name) for name in node.input)
        if x is None or weight is None or {x.op_type, weight.op_type} != {"DequantizeLinear"}:
            return None
        if weight.input[0] not in self._constants or x.input[0] in self._constants:
            return None
        step, zero = (self._array(name) for name in x.input[1:])
        scale, zeros = (self._array(name) for name in weight.input[1:])
        integers = self._array(weight.input[0])
        kinds = [array.dtype for array in (integers, zero, zeros, step, scale)]
        if kinds != [np.int8, np.int8, np.int8, np.float32, np.float32]:
            return None
        fits = step.ndim == 0 and integers.ndim == 2 and scale.shape == zeros.shape == integers.shape[1:]
        if not fits or zero.any() or zeros.any() or (np.abs(integers.astype(np.int16)) > FAIR).any():
            return None
        columns = step * scale
        # a rounded sum times a scale of 0 or NaN would not be the sum of products
        if not (np.isfinite(columns) & (columns > 0)).all():
            return None
        return Product(node, x.input[0], len(columns), {"panels": pack_codes(integers), "scale": columns}, {})

    def _quantised_early(self, node: NodeProto) -> list[NodeProto]:
        """The nodes in the place of one: of a quantised concatenation, its parts quantised and then concatenated."""
        joined = self._makers.get(node.input[0])
        early = node.op_type == "QuantizeLinear" and joined is not None and joined.op_type == "Concat"
        if not early or joined is None or self._only_reader(joined.output[0], "QuantizeLinear") is None:
            return [node]
        self._dropped.add(joined.output[0])
        parts = [f"{name}/of/{node.output[0]}" for name in joined.input]
        together = messages.make_node("Concat", parts, outputs=node.output, name=joined.name)
        together.attribute.extend(joined.attribute)
        quantised = [
            messages.make_node("QuantizeLinear", [name, *node.input[1:]], outputs=[part], name=part)
            for name, part in zip(joined.input, parts, strict=True)
        ]
        return [*quantised, together]


def _needed(nodes: list[NodeProto], outputs: set[str]) -> list[NodeProto]:
    """The nodes without conversions that nothing reads."""
    reads = Counter(name for node in nodes for name in node.input)
    kept = []
    for node in reversed(nodes):
        unread = not any(reads[name] or name in outputs for name in node.output)
        if unread and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            reads.subtract(node.input)
        else:
            kept.append(node)
    return kept[::-1]
