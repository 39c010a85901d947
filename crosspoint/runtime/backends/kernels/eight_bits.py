"""Puts the operators of 8-bit layers (`linear8.h`) into an int8 graph that `exported.py` has matched.

A product of 8 bits is `MatMul(DequantizeLinear(QuantizeLinear(x)), DequantizeLinear(W))`. Its operator also does what
follows:

        MatMul, Add                                    →  Linear8   with slope 1
        MatMul, Add, LeakyRelu (or Relu)               →  Linear8
        MatMul, Add, Add(best), LeakyRelu              →  Edge8     an EdgeConv after its GatherMax
        MatMul, Add, LeakyRelu, Max and Mean, Concat   →  Pool8     DGCNN's embedding
        MatMul, Max                                    →  Max8
        MatMul                                         →  Product8
        Concat, QuantizeLinear                         →  QuantizeLinear of each, Concat: fewer bytes
        Mean, Sub and so on to Nearest                 →  Nearest16 in EdgeConvs after the first, on a CPU with VNNI

Sums are exact, and what follows is rounded as the nodes would round it, so that numbers stay the same.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.runtime.backends import onnx_messages as messages
from crosspoint.runtime.backends.kernels.exported import DOMAIN
from crosspoint.runtime.backends.onnx_messages import GraphProto, NodeProto

PANEL, STEP, LINES = 16, 4, 16  # columns of a panel, channels of a line, and a multiple of lines: see products8.h
PAIR = 2 * PANEL
FAIR = 64  # larger weights overflow where there is no VNNI, here as in ONNX Runtime


@dataclass(frozen=True)
class _Product:
    """A product of 8 bits.

    Attributes:
        node: The MatMul.
        codes: Name of the int8 input.
        panels: Packed weights.
        scale: Scale of each column of the product.
    """

    node: NodeProto
    codes: str
    panels: NDArray[np.int8]
    scale: NDArray[np.float32]


def put_layers(graph: GraphProto, *, search: bool = False) -> None:
    """Replace, in place, every product of 8 bits and what follows it.

    Args:
        graph: A graph with the operators of `exported.py`.
        search: In a graph with such products, find neighbours by way of 16 bits.
    """
    _Rewriter(graph).run(search)


def pack(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """Weights `(C, D)` as panels of 16 columns, with where their sums begin: `(panels, 1 + lines, 64)`.

    Args:
        weight: The integers, between −64 and 64.
    """
    channels, width = weight.shape
    lines, panels = -(-channels // (STEP * LINES)) * LINES, 2 * -(-width // PAIR)
    padded = np.zeros((lines * STEP, panels * PANEL), np.int8)
    padded[:channels, :width] = weight
    # (lines, STEP, panels, PANEL) to (panels, lines, PANEL, STEP)
    blocks = padded.reshape(lines, STEP, panels, PANEL).transpose(2, 0, 3, 1)
    begin = (-128 * padded.sum(axis=0, dtype=np.int32)).astype(np.int32).reshape(panels, 1, PANEL)
    return np.concatenate([begin.view(np.int8), blocks.reshape(panels, lines, PANEL * STEP)], axis=1)


class _Rewriter:
    def __init__(self, graph: GraphProto) -> None:
        self._graph = graph
        self._constants = {constant.name: constant for constant in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._outputs = {value.name for value in graph.output}
        self._new: dict[str, NodeProto] = {}  # by the first output of the node that each replaces
        self._dropped: set[str] = set()

    def run(self, search: bool) -> None:
        for node in self._graph.node:
            product = self._product(node)
            if product is not None:
                self._replace(product)
        for node in self._graph.node:
            if search and self._new and node.op_type == "Nearest":
                self._search(node)
        kept = [self._new.get(node.output[0], node) for node in self._graph.node if node.output[0] not in self._dropped]
        nodes = [new for node in _needed(kept, self._outputs) for new in self._quantised_early(node)]
        nodes = [node for node in nodes if node.output[0] not in self._dropped]
        used = {name for node in nodes for name in node.input}
        constants = [constant for name, constant in self._constants.items() if name in used]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(nodes)
        self._graph.initializer.extend(constants)

    def _product(self, node: NodeProto) -> _Product | None:
        """The product of 8 bits that a node is, or None."""
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
        return _Product(node, x.input[0], pack(integers), columns)

    def _replace(self, product: _Product) -> None:
        """Choose the operator by what follows the product, and note what it replaces."""
        name = product.node.output[0]
        inputs = [product.codes, self._add(f"{name}/panels", product.panels), self._add(f"{name}/scale", product.scale)]
        maximum = self._only_reader(name, "Max")
        if maximum is not None and maximum.domain:
            self._put("Max8", inputs, [product.node], maximum, axis=_integer(maximum, "axis"))
            return
        biased = self._only_reader(name, "Add")
        bias = self._other(biased, name)
        if biased is None or bias not in self._constants or self._array(bias).shape != product.scale.shape:
            self._put("Product8", inputs, [], product.node)
            return
        inputs.append(bias)
        chain = [product.node, biased]
        total = self._only_reader(biased.output[0], "Add")
        active = None if total is None else self._only_reader(total.output[0], "LeakyRelu")
        best = self._other(total, biased.output[0])
        if total is not None and active is not None and best and self._makers[best].op_type == "GatherMax":
            self._put("Edge8", [*inputs, best], [*chain, total], active, slope=_slope(active))
            return
        active = self._only_reader(biased.output[0], "LeakyRelu") or self._only_reader(biased.output[0], "Relu")
        if active is None:
            self._put("Linear8", inputs, chain[:1], biased, slope=1.0)
            return
        chain.append(active)
        pooled = self._pooled(active.output[0])
        if pooled is not None:
            self._put("Pool8", inputs, [*chain, *pooled[:-1]], pooled[-1], slope=_slope(active))
        else:
            self._put("Linear8", inputs, chain[:-1], active, slope=_slope(active))

    def _search(self, nearest: NodeProto) -> None:
        """Search on the points, without their products; coordinates stay, since their products are cheap."""
        products, halves = (self._makers[name] for name in nearest.input)
        centred, others = (self._makers[name] for name in products.input)
        squared = self._makers[halves.input[0]]
        x, mean = centred.input
        chain = [self._makers[mean], centred, self._makers[squared.input[0]], squared, halves, others, products]
        within = {id(node) for node in [*chain, nearest]}
        alone = all(id(reader) in within for node in chain for reader in self._readers[node.output[0]])
        alone = alone and not any(node.output[0] in self._outputs for node in chain)
        if alone and x not in {value.name for value in self._graph.input}:
            self._put("Nearest16", [x], chain, nearest, k=_integer(nearest, "k"))

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

    def _pooled(self, x: str) -> list[NodeProto] | None:
        """Maximum, mean and concatenation of a value, if nothing else reads it."""
        readers = self._readers.get(x, [])
        pools = [node for kind in ("Max", "Mean") for node in readers if node.op_type == kind and node.domain]
        if len(readers) != 2 or len(pools) != 2 or x in self._outputs:
            return None
        joined = self._only_reader(pools[0].output[0], "Concat")
        ours = joined is not None and [*joined.input] == [node.output[0] for node in pools]
        flat = all(_integer(node, "axis") == 1 and not _integer(node, "keep") for node in pools)
        return [*pools, joined] if joined is not None and ours and flat else None

    def _put(
        self, kind: str, inputs: list[str], dropped: list[NodeProto], last: NodeProto, **attributes: float
    ) -> None:
        """Compute the output of the last node with an operator, and drop the nodes before it."""
        new = messages.make_node(kind, inputs, outputs=[last.output[0]], name=last.name, domain=DOMAIN)
        new.attribute.extend(messages.make_attribute(*pair) for pair in attributes.items())
        self._new[last.output[0]] = new
        self._dropped |= {node.output[0] for node in dropped}

    def _only_reader(self, name: str, kind: str) -> NodeProto | None:
        """The node that reads a value, if it is the only one and of this kind, and the value is no output."""
        readers = self._readers.get(name, [])
        if len(readers) != 1 or name in self._outputs or readers[0].op_type != kind:
            return None
        return readers[0]

    def _other(self, node: NodeProto | None, name: str) -> str:
        """The other of a node's two inputs."""
        return "" if node is None else next((other for other in node.input if other != name), "")

    def _array(self, name: str) -> NDArray[Any]:
        return messages.array_of(self._constants[name])

    def _add(self, name: str, value: NDArray[Any]) -> str:
        self._constants[name] = messages.make_tensor(value, name)
        return name


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


def _integer(node: NodeProto, name: str) -> int:
    return next(int(attribute.i) for attribute in node.attribute if attribute.name == name)


def _slope(node: NodeProto) -> float:
    """What an activation multiplies negative values by."""
    return next((float(attribute.f) for attribute in node.attribute if attribute.name == "alpha"), 0.0)
