"""Finds the layers of an ONNX graph, the types of its values, and the nodes that decide on neighbours."""

from dataclasses import dataclass, field

import onnx
from onnx import NodeProto, TensorProto

FLOAT = TensorProto.FLOAT
LOW = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
NAMES: dict[int, str] = {FLOAT: "fp32", TensorProto.INT8: "int8", **{kind: name for name, kind in LOW.items()}}
FLOATING = (FLOAT, *LOW.values())

PRODUCTS = ("MatMul", "Gemm", "Conv")
ACTIVATIONS = ("LeakyRelu", "Relu", "PRelu", "Elu", "Gelu", "Sigmoid", "Tanh")
MEANS = ("ReduceMean", "ReduceSum", "Mul", "Div", "Reshape", "Unsqueeze", "Squeeze", "Transpose")
STORED = ("QuantizeLinear", "DequantizeLinear", "Cast")  # nodes between a stored weight and its product


@dataclass
class Island:
    """The nodes that decide on neighbours.

    Attributes:
        nodes: Their positions in the graph.
        uncentred: Nodes or inputs whose values reach a TopK without subtraction of a mean.
    """

    nodes: set[int] = field(default_factory=set)
    uncentred: set[str] = field(default_factory=set)


class GraphView:
    """The maker and the type of each value in a graph.

    Args:
        model: The graph.
        strict: Whether contradictory types or shapes raise an error (`onnx.shape_inference.InferenceError`).
    """

    def __init__(self, model: onnx.ModelProto, strict: bool = True) -> None:
        graph = onnx.shape_inference.infer_shapes(model, strict_mode=strict).graph
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.constants = {constant.name: constant for constant in model.graph.initializer}
        self.types: dict[str, int] = {
            value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)
        } | {name: constant.data_type for name, constant in self.constants.items()}
        self.shapes = {
            value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*graph.input, *graph.value_info, *graph.output)
        } | {name: list(constant.dims) for name, constant in self.constants.items()}
        self._makers = {name: i for i, node in enumerate(self.nodes) for name in node.output if name}

    def maker(self, value: str) -> int | None:
        """Position of the node that computes a value; None for inputs and constants."""
        return self._makers.get(value)

    def is_float(self, value: str) -> bool:
        """Whether a value is float32."""
        return self.types.get(value) == FLOAT

    def products(self) -> list[NodeProto]:
        """The nodes that multiply by weights, in order: the layers of the network."""
        return [node for node in self.nodes if node.op_type in PRODUCTS and self.weight(node) is not None]

    def weight(self, product: NodeProto) -> str | None:
        """Name of the weight of a product, also behind a Q/DQ pair; None if it does not multiply by a constant."""
        name = product.input[1]
        while (maker := self.maker(name)) is not None and self.nodes[maker].op_type in STORED:
            name = self.nodes[maker].input[0]
        return name if name in self.constants else None

    def island(self) -> Island:
        """Find the nodes from the scores of every TopK back to the centred features."""
        island = Island()
        pending = [node.input[0] for node in self.nodes if node.op_type == "TopK"]
        island.nodes |= {i for i, node in enumerate(self.nodes) if node.op_type == "TopK"}
        while pending:
            value = pending.pop()
            maker = self.maker(value)
            if maker is None:
                if value not in self.constants:
                    island.uncentred.add(value)
                continue
            if maker in island.nodes:
                continue
            node = self.nodes[maker]
            if node.op_type in ACTIVATIONS or (node.op_type in PRODUCTS and self.weight(node) is not None):
                island.uncentred.add(node.name)
                continue
            island.nodes.add(maker)
            mean = self._centring(node)
            if mean is not None:
                island.nodes |= mean
            else:
                pending += [name for name in node.input if self.types.get(name) in FLOATING]
        return island

    def before_choices(self, count: int) -> set[int]:
        """Positions of all nodes before the last of the first `count` neighbour searches."""
        choices = [i for i, node in enumerate(self.nodes) if node.op_type == "TopK"][:count]
        found: set[int] = set()
        pending = list(choices)
        while pending:
            position = pending.pop()
            if position not in found:
                found.add(position)
                makers = (self.maker(name) for name in self.nodes[position].input)
                pending += [maker for maker in makers if maker is not None]
        return found

    def _centring(self, node: NodeProto) -> set[int] | None:
        """If a node computes `x − mean(x)`, the nodes of the mean; else None."""
        if node.op_type != "Sub":
            return None
        x, value = node.input
        found: set[int] = set()
        reduced = False
        while value != x:
            maker = self.maker(value)
            if maker is None or self.nodes[maker].op_type not in MEANS:
                return None
            reduced |= self.nodes[maker].op_type in ("ReduceMean", "ReduceSum")
            found.add(maker)
            value = self.nodes[maker].input[0]
        return found if reduced else None
