"""Precision as a pass over a finished float32 graph, with explicit casts: what a strongly typed engine builder wants.

Distances and the choice of neighbours stay an island of float32, which `Wiring.island` finds from each TopK backwards,
whatever the operators in between are called. Everything else that computes with float32, products, sums, activations
and pooling, follows the asked precision; inputs and outputs stay float32.
"""

from collections.abc import Collection, Iterator

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from crosspoint.core.errors import CheckFailed
from crosspoint.export.onnx.graph_view import FLOAT, LOW, NAMES, Wiring

ROUNDED = {"fp16": torch.float16, "bf16": torch.bfloat16}
EXACT = (  # operators that make no new values, so that nothing is rounded
    *("Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Max", "MaxPool", "Min"),
    *("ReduceMax", "ReduceMin", "Relu", "Reshape", "Slice", "Split", "Squeeze", "Tile", "TopK", "Transpose"),
    *("Unsqueeze",),
)


def lower(model: onnx.ModelProto, precision: str, *, exact_choices: int = 0) -> onnx.ModelProto:
    """The same network with its layers in fp16 or bf16.

    Args:
        model: A float32 model; it is not changed.
        precision: `"fp16"` or `"bf16"`.
        exact_choices: Everything before the first so many choices of neighbours stays float32, the layers too.

    Raises:
        CheckFailed: A weight is too large for the precision.
    """
    wiring = Wiring(model)
    exact = wiring.island().nodes | wiring.before_choices(exact_choices)
    return _Lowering(model, wiring, precision, exact).run()


class _Lowering:
    """The state of `lower`: nodes written so far, the type each value has now, and casts that can be shared."""

    def __init__(self, model: onnx.ModelProto, wiring: Wiring, precision: str, exact: set[int]) -> None:
        self.model, self.wiring, self.precision, self.exact = model, wiring, precision, exact
        self.nodes: list[NodeProto] = []
        self.low: set[str] = set()  # values that are no longer float32
        self.converted: dict[tuple[str, bool], str] = {}
        self.constants: dict[str, TensorProto] = {}

    def run(self) -> onnx.ModelProto:
        outputs = {value.name for value in self.model.graph.output}
        for i, node in enumerate(self.wiring.nodes):
            floats = [name for name in node.input if self.wiring.is_float(name)]
            made = [name for name in node.output if self.wiring.is_float(name)]
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
        """Note that a node's output is low; an output of the graph is cast back under its own name."""
        if not is_output:
            self.low.add(name)
            return
        inner = f"{name}/{self.precision}"
        node.output[position] = inner
        if node.name == name:
            node.name = inner
        self.nodes.append(helper.make_node("Cast", [inner], [name], name, to=FLOAT))

    def _as(self, name: str, low: bool) -> str:
        """A value as float32 or in the low precision; others as they are."""
        if not self.wiring.is_float(name):
            if name in self.wiring.constants:
                self.constants[name] = self.wiring.constants[name]
            return name
        if name in self.wiring.constants:
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
            self.constants[name] = self.wiring.constants[name]
            return name
        new = f"{name}/{self.precision}"
        if new not in self.constants:
            value = numpy_helper.to_array(self.wiring.constants[name])
            content = _rounded(name, value, self.precision)
            self.constants[new] = helper.make_tensor(new, LOW[self.precision], value.shape, content, raw=True)
        return new


def _rounded(name: str, value: NDArray[np.float32], precision: str) -> bytes:
    """The bytes of an array in a low precision, rounded to nearest, ties to even."""
    rounded = torch.from_numpy(value.copy()).to(ROUNDED[precision])
    if not rounded.isfinite().all():
        raise CheckFailed(
            f"{name} holds {np.abs(value).max():.3g}, more than {precision} can; export with --precision bf16 or fp32"
        )
    return rounded.view(torch.int16).numpy().tobytes()


def emulate(model: onnx.ModelProto) -> onnx.ModelProto:
    """A float32 model that rounds every value which a lowered model would hold in fp16 or bf16.

    This is what a GPU computes that accumulates in float32 and stores in the low precision. ONNX Runtime's CPU provider
    has no bf16 arithmetic, and leaves roundings out of fp16 graphs, since it computes whole chains in float32.
    """
    wiring = Wiring(model)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:], result.graph.initializer[:], result.graph.value_info[:]
    result.graph.node.extend(_emulated(wiring))
    for name, constant in wiring.constants.items():
        value = constant
        if constant.data_type in LOW.values():
            value = numpy_helper.from_array(numpy_helper.to_array(constant).astype(np.float32), name)
        result.graph.initializer.append(value)
    return result


def _emulated(wiring: Wiring) -> Iterator[NodeProto]:
    for node in wiring.nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        low = [name for name in node.output if wiring.types.get(name) in LOW.values()]
        if not low or node.op_type in EXACT:
            yield copy
            continue
        if node.op_type == "Cast":  # to the low precision and back
            yield helper.make_node(
                "Cast", [*node.input], [f"{low[0]}/rounded"], f"{node.name}/round", to=wiring.types[low[0]]
            )
            yield helper.make_node("Cast", [f"{low[0]}/rounded"], [low[0]], node.name, to=FLOAT)
            continue
        copy.output[:] = [f"{name}/exact" if name in low else name for name in node.output]
        yield copy
        for name in low:
            kind = wiring.types[name]
            yield helper.make_node("Cast", [f"{name}/exact"], [f"{name}/rounded"], f"{name}/round", to=kind)
            yield helper.make_node("Cast", [f"{name}/rounded"], [name], f"{name}/widen", to=FLOAT)


def product_precisions(model: onnx.ModelProto) -> dict[str, str]:
    """Of every layer by name, the precision that its product is computed in, read from the graph's own types.

    A product is int8 if both factors come from DequantizeLinear of int8 values.
    """
    wiring = Wiring(model)
    found = {}
    for node in wiring.products():
        kinds = {_stored_type(wiring, name) for name in node.input[:2]}
        kind = kinds.pop() if len(kinds) == 1 else wiring.types[node.input[0]]
        found[node.name] = NAMES.get(kind, "unknown")
    return found


def _stored_type(wiring: Wiring, value: str) -> int:
    maker = wiring.maker(value)
    if maker is not None and wiring.nodes[maker].op_type == "DequantizeLinear":
        return wiring.types[wiring.nodes[maker].input[0]]
    return wiring.types[value]


def require_precision(model: onnx.ModelProto, precision: str, *, kept: Collection[str]) -> None:
    """Raise CheckFailed unless the layers, but for those kept in float32, compute in a precision.

    Args:
        model: As it will be shipped.
        precision: What was asked for.
        kept: Names of layers that were left in float32 on purpose.
    """
    found = product_precisions(model)
    wrong = {name: kind for name, kind in found.items() if kind != ("fp32" if name in kept else precision)}
    if wrong or precision not in found.values():
        name, kind = next(iter(wrong.items()), ("every layer", "fp32"))
        raise CheckFailed(
            f"{precision} was asked for, and {name} of the ONNX model computes in {kind}; nothing was written"
        )
