"""Puts the operators of layers of 8 or 16 bits (`layers.h`) into a graph that `exported.py` has matched.

A layer's operator computes a product and what follows it. With BITS for 8 or 16:

        MatMul, Add                                    →  LinearBITS   with slope 1
        MatMul, Add, LeakyRelu (or Relu)               →  LinearBITS
        MatMul, Add, Add(best), LeakyRelu              →  EdgeBITS     an EdgeConv after its GatherMax
        MatMul, Add, LeakyRelu, Max and Mean, Concat   →  PoolBITS     DGCNN's embedding
        MatMul, Max                                    →  MaxBITS
        MatMul                                         →  ProductBITS
        Mean, Sub and so on to Nearest                 →  Nearest16 in EdgeConvs after the first, on a CPU with VNNI

What follows a product is rounded as the nodes would round it. `eight_bits.py` and `sixteen_bits.py` say what a product
is.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.runtime.backends import onnx_messages as messages
from crosspoint.runtime.backends.kernels.exported import DOMAIN
from crosspoint.runtime.backends.onnx_messages import GraphProto, NodeProto

PANEL, STEP = 16, 4  # columns of a panel, and bytes of a column in a line: see products.h


@dataclass(frozen=True)
class Product:
    """A product of 8 or 16 bits.

    Attributes:
        node: The MatMul.
        rows: Name of the first factor, as the operator reads it.
        width: Columns of the second factor.
        constants: What the operator reads after the rows: packed weights and, of 8 bits, scales.
        attributes: What all operators of these bits need to know.
    """

    node: NodeProto
    rows: str
    width: int
    constants: dict[str, NDArray[Any]]
    attributes: dict[str, int]


def pack(weight: NDArray[Any], begin: NDArray[Any] | None = None, *, multiple: int = 1) -> NDArray[np.int8]:
    """Weights `(C, D)` as panels of 16 columns, with where their sums begin: `(panels, 1 + lines, 64)`.

    Args:
        weight: Of 1 or 2 bytes each.
        begin: Where the sums of each column begin, 4 bytes each; None: at 0.
        multiple: The number of lines is a multiple of it.
    """
    channels, width = weight.shape
    step = STEP // weight.itemsize  # channels of a line
    lines, panels = -(-channels // (step * multiple)) * multiple, 2 * -(-width // (2 * PANEL))
    padded = np.zeros((lines * step, panels * PANEL), weight.dtype)
    padded[:channels, :width] = weight
    # (lines, step, panels, PANEL) to (panels, lines, PANEL, step)
    blocks = np.ascontiguousarray(padded.reshape(lines, step, panels, PANEL).transpose(2, 0, 3, 1))
    packed = np.zeros((panels, 1 + lines, PANEL * STEP), np.int8)
    packed[:, 1:] = blocks.view(np.int8).reshape(panels, lines, PANEL * STEP)
    if begin is not None:
        starts = np.zeros(panels * PANEL, begin.dtype)
        starts[:width] = begin
        packed[:, 0] = starts.view(np.int8).reshape(panels, PANEL * STEP)
    return packed


class Rewriter(ABC):
    """Replaces, in place, the products of a graph and what follows each.

    Args:
        graph: A graph with the operators of `exported.py`.
    """

    bits: int

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

    def run(self, *, search: bool) -> None:
        """Replace all products.

        Args:
            search: In a graph with such products, find neighbours by way of 16 bits.
        """
        for node in self._graph.node:
            product = self._product(node)
            if product is not None:
                self._replace(product)
        for node in self._graph.node:
            if search and self._new and node.op_type == "Nearest":
                self._search(node)
        nodes = self._finished(
            [self._new.get(node.output[0], node) for node in self._graph.node if node.output[0] not in self._dropped]
        )
        used = {name for node in nodes for name in node.input}
        constants = [constant for name, constant in self._constants.items() if name in used]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(nodes)
        self._graph.initializer.extend(constants)

    @abstractmethod
    def _product(self, node: NodeProto) -> Product | None:
        """The product of these bits that a node is, or None."""

    def _finished(self, nodes: list[NodeProto]) -> list[NodeProto]:
        """The nodes after the replacement, in the order of the graph."""
        return nodes

    def _replace(self, product: Product) -> None:
        """Choose the operator by what follows the product, and note what it replaces."""
        name, width = product.node.output[0], product.attributes
        inputs = [product.rows, *(self._add(f"{name}/{kind}", value) for kind, value in product.constants.items())]
        maximum = self._only_reader(name, "Max")
        if maximum is not None and maximum.domain:
            self._put("Max", inputs, [product.node], maximum, **width, axis=_integer(maximum, "axis"))
            return
        biased = self._only_reader(name, "Add")
        bias = self._other(biased, name)
        if biased is None or bias not in self._constants or self._array(bias).shape != (product.width,):
            self._put("Product", inputs, [], product.node, **width)
            return
        inputs.append(bias)
        chain = [product.node, biased]
        total = self._only_reader(biased.output[0], "Add")
        active = None if total is None else self._only_reader(total.output[0], "LeakyRelu")
        best = self._other(total, biased.output[0])
        if total is not None and active is not None and best and self._makers[best].op_type == "GatherMax":
            self._put("Edge", [*inputs, best], [*chain, total], active, **width, slope=_slope(active))
            return
        active = self._only_reader(biased.output[0], "LeakyRelu") or self._only_reader(biased.output[0], "Relu")
        if active is None:
            self._put("Linear", inputs, chain[:1], biased, **width, slope=1.0)
            return
        chain.append(active)
        pooled = self._pooled(active.output[0])
        if pooled is not None:
            self._put("Pool", inputs, [*chain, *pooled[:-1]], pooled[-1], **width, slope=_slope(active))
        else:
            self._put("Linear", inputs, chain[:-1], active, **width, slope=_slope(active))

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
            self._put("Nearest", [x], chain, nearest, bits=16, k=_integer(nearest, "k"))

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
        self,
        kind: str,
        inputs: list[str],
        dropped: list[NodeProto],
        last: NodeProto,
        *,
        bits: int | None = None,
        **attributes: float,
    ) -> None:
        """Compute the output of the last node with an operator, and drop the nodes before it."""
        kind = f"{kind}{bits or self.bits}"
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


def _integer(node: NodeProto, name: str) -> int:
    return next(int(attribute.i) for attribute in node.attribute if attribute.name == name)


def _slope(node: NodeProto) -> float:
    """What an activation multiplies negative values by."""
    return next((float(attribute.f) for attribute in node.attribute if attribute.name == "alpha"), 0.0)
