"""Lowers the precision of a finished float32 graph with explicit casts, as a strongly typed engine builder needs.

Distances and neighbour searches stay in float32; `GraphView.island` finds these nodes from each TopK backwards,
whatever operators lie between. All other float32 computations (products, sums, activations, pooling) get the lower
precision. Inputs and outputs stay float32.
"""

from collections.abc import Collection, Iterator

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from crosspoint.core.errors import CheckFailed
from crosspoint.export.onnx.graph_view import FLOAT, LOW, NAMES, GraphView

ROUNDED = {"fp16": torch.float16, "bf16": torch.bfloat16}
EXACT = (  # operators that compute no new values, so that nothing is rounded
    *("Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Max", "MaxPool", "Min"),
    *("ReduceMax", "ReduceMin", "Relu", "Reshape", "Slice", "Split", "Squeeze", "Tile", "TopK", "Transpose"),
    *("Unsqueeze",),
)


def lower(model: onnx.ModelProto, precision: str, *, exact_choices: int = 0) -> onnx.ModelProto:
    """The network with its layers in fp16 or bf16.

    Args:
        model: A float32 model; it is not changed.
        precision: `"fp16"` or `"bf16"`.
        exact_choices: Keep everything before the first `exact_choices` neighbour searches in float32.

    Raises:
        CheckFailed: A weight is too large for the precision.
    """
    view = GraphView(model)
    exact = view.island().nodes | view.before_choices(exact_choices)
    return _Lowering(model, view, precision, exact).run()


class _Lowering:
    """State of `lower`: the nodes written so far, the current type of each value, and casts that can be shared."""

    def __init__(self, model: onnx.ModelProto, view: GraphView, precision: str, exact: set[int]) -> None:
        self.model, self.view, self.precision, self.exact = model, view, precision, exact
        self.nodes: list[NodeProto] = []
        self.low: set[str] = set()  # values that are no longer float32
        self.converted: dict[tuple[str, bool], str] = {}
        self.constants: dict[str, TensorProto] = {}

    def run(self) -> onnx.ModelProto:
        outputs = {value.name for value in self.model.graph.output}
        for i, node in enumerate(self.view.nodes):
            floats = [name for name in node.input if self.view.is_float(name)]
            made = [name for name in node.output if self.view.is_float(name)]
            low = bool(floats and made) and i not in self.exact
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.input[:] = [self._as(name, low) for name in node.input]
            self.nodes.append(copy)
            for position, name in enumerate(node.output):
                if low and name in made:
                    self._give(copy, position, name, name in outputs)
        result = onnx.ModelProto()
        result.CopyFrom(self.model)
        del result.graph.node[:], result.graph.initializer[:], result.graph.value_info[:]
        result.graph.node.extend(self.nodes)
        result.graph.initializer.extend(self.constants.values())
        return result

    def _give(self, node: NodeProto, position: int, name: str, is_output: bool) -> None:
        """Mark a node's output as lowered; an output of the graph is cast back under its own name."""
        if not is_output:
            self.low.add(name)
            return
        inner = f"{name}/{self.precision}"
        node.output[position] = inner
        if node.name == name:
            node.name = inner
        self.nodes.append(helper.make_node("Cast", [inner], [name], name, to=FLOAT))

    def _as(self, name: str, low: bool) -> str:
        """A value as float32 or in the low precision; values of other types stay as they are."""
        if not self.view.is_float(name):
            if name in self.view.constants:
                self.constants[name] = self.view.constants[name]
            return name
        if name in self.view.constants:
            return self._constant(name, low)
        if (name in self.low) == low:
            return name
        if (name, low) not in self.converted:
            kind = self.precision if low else "fp32"
            to = LOW[self.precision] if low else FLOAT
            self.converted[name, low] = f"{name}/{kind}"
            self.nodes.append(helper.make_node("Cast", [name], [f"{name}/{kind}"], f"{name}/{kind}", to=to))
        return self.converted[name, low]

    def _constant(self, name: str, low: bool) -> str:
        if not low:
            self.constants[name] = self.view.constants[name]
            return name
        new = f"{name}/{self.precision}"
        if new not in self.constants:
            value = numpy_helper.to_array(self.view.constants[name])
            content = _rounded(name, value, self.precision)
            self.constants[new] = helper.make_tensor(new, LOW[self.precision], value.shape, content, raw=True)
        return new


def _rounded(name: str, value: NDArray[np.float32], precision: str) -> bytes:
    """The bytes of an array in a low precision, rounded to nearest, ties to even."""
    rounded = torch.from_numpy(value.copy()).to(ROUNDED[precision])
    if not rounded.isfinite().all():
        raise CheckFailed(
            f"{name} holds {np.abs(value).max():.3g}, too large for {precision}; export with --precision bf16 or fp32"
        )
    return rounded.view(torch.int16).numpy().tobytes()


def emulate(model: onnx.ModelProto) -> onnx.ModelProto:
    """A float32 model that rounds every value which a lowered model would store in fp16 or bf16.

    A GPU that accumulates in float32 and stores in the low precision computes the same. ONNX Runtime on the CPU has no
    bf16 arithmetic, and skips roundings in fp16 graphs, because it computes chains of nodes in float32.
    """
    view = GraphView(model)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:], result.graph.initializer[:], result.graph.value_info[:]
    result.graph.node.extend(_emulated(view))
    for name, constant in view.constants.items():
        value = constant
        if constant.data_type in LOW.values():
            value = numpy_helper.from_array(numpy_helper.to_array(constant).astype(np.float32), name)
        result.graph.initializer.append(value)
    return result


def _emulated(view: GraphView) -> Iterator[NodeProto]:
    for node in view.nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        low = [name for name in node.output if view.types.get(name) in LOW.values()]
        if not low or node.op_type in EXACT:
            yield copy
            continue
        if node.op_type == "Cast":  # to the low precision and back
            yield helper.make_node(
                "Cast", [*node.input], [f"{low[0]}/rounded"], f"{node.name}/round", to=view.types[low[0]]
            )
            yield helper.make_node("Cast", [f"{low[0]}/rounded"], [low[0]], node.name, to=FLOAT)
            continue
        copy.output[:] = [f"{name}/exact" if name in low else name for name in node.output]
        yield copy
        for name in low:
            kind = view.types[name]
            yield helper.make_node("Cast", [f"{name}/exact"], [f"{name}/rounded"], f"{name}/round", to=kind)
            yield helper.make_node("Cast", [f"{name}/rounded"], [name], f"{name}/widen", to=FLOAT)


def product_precisions(model: onnx.ModelProto) -> dict[str, str]:
    """Precision of the product of every layer, by name, read from the types in the graph.

    A product is int8 if both factors come from a DequantizeLinear of int8 values.
    """
    view = GraphView(model)
    found = {}
    for node in view.products():
        kinds = {_stored_type(view, name) for name in node.input[:2]}
        kind = kinds.pop() if len(kinds) == 1 else view.types[node.input[0]]
        found[node.name] = NAMES.get(kind, "unknown")
    return found


def _stored_type(view: GraphView, value: str) -> int:
    maker = view.maker(value)
    if maker is not None and view.nodes[maker].op_type == "DequantizeLinear":
        return view.types[view.nodes[maker].input[0]]
    return view.types[value]


def require_precision(model: onnx.ModelProto, precision: str, *, kept: Collection[str]) -> None:
    """Raise CheckFailed if a layer, other than those in `kept`, does not compute in the precision.

    Args:
        model: The model to export.
        precision: The precision that was asked for.
        kept: Names of the layers that stay in float32.
    """
    found = product_precisions(model)
    wrong = {name: kind for name, kind in found.items() if kind != ("fp32" if name in kept else precision)}
    if wrong or precision not in found.values():
        name, kind = next(iter(wrong.items()), ("every layer", "fp32"))
        raise CheckFailed(
            f"{precision} was asked for, and {name} of the ONNX model computes in {kind}; nothing was written"
        )
