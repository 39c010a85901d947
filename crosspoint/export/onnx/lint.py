"""Checks a graph before every build for what an engine builder refuses, rounds or slows down."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import NodeProto, TensorProto, numpy_helper

from crosspoint.core.errors import CheckFailed
from crosspoint.export.onnx.graph_view import FLOAT, FLOATING, GraphView

OPSETS = range(17, 21)
LARGEST_K, TOPK_AXES = 3840, 4  # TensorRT's limits: k, and the number of last axes that TopK can use
REFUSED = ("Compress", "NonZero", "Unique")
SCATTERS = ("Scatter", "ScatterElements", "ScatterND")
ARITHMETIC = ("Add", "Div", "Mod", "Mul", "Sub", "Pow")
INT32 = range(-(2**31), 2**31)


@dataclass(frozen=True)
class LintFinding:
    """A violation of a rule.

    Attributes:
        rule: Name of the rule, a key of `RULES`.
        node: Name of the node, constant or value.
        message: What is wrong.
    """

    rule: str
    node: str
    message: str


@dataclass(frozen=True)
class Subject:
    """The model under examination, and the smallest number of points it will get."""

    model: onnx.ModelProto
    view: GraphView
    smallest: int


def lint(model: onnx.ModelProto, smallest: int) -> list[LintFinding]:
    """All violations, in the order of `RULES`.

    Args:
        model: In any precision.
        smallest: Smallest number of points of a cloud.
    """
    subject = Subject(model, GraphView(model, strict=False), smallest)
    found = [LintFinding(rule, node, message) for rule, check in RULES.items() for node, message in check(subject)]
    try:
        GraphView(model)
    except onnx.shape_inference.InferenceError as error:
        reason = " ".join(str(error).split())[:200]
        found.append(LintFinding("types", model.graph.name, f"contradicts itself: {reason}"))
    return found


def require_clean(model: onnx.ModelProto, smallest: int) -> list[str]:
    """Raise CheckFailed with rule and node if there is a violation; returns the names of the rules."""
    findings = lint(model, smallest)
    if findings:
        first = findings[0]
        others = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        raise CheckFailed(
            f"the ONNX graph breaks the rule {first.rule}: {first.node} {first.message}{others}; nothing was written"
        )
    return list(RULES)


Report = Iterator[tuple[str, str]]


def _types(subject: Subject) -> Report:
    for node in subject.view.nodes:
        for name in node.output:
            if name and name not in subject.view.types:
                yield node.name, f"({node.op_type}) gives {name}, whose type cannot be inferred"
                return  # nor can those of what follows


def _opset(subject: Subject) -> Report:
    for entry in subject.model.opset_import:
        if entry.domain not in ("", "ai.onnx"):
            yield subject.model.graph.name, f"uses operators of {entry.domain}, which engine builders do not know"
        elif entry.version not in OPSETS:
            yield subject.model.graph.name, f"is of opset {entry.version}, not {OPSETS[0]} to {OPSETS[-1]}"


def _refused_operator(subject: Subject) -> Report:
    for node in subject.view.nodes:
        reduction = str(_attribute(node, "reduction", "none"))
        if node.op_type in REFUSED:
            yield node.name, f"is a {node.op_type}, whose output has no known size"
        elif node.op_type in SCATTERS and reduction != "none":
            yield node.name, f"is a {node.op_type} with the reduction {reduction}"


def _topk_k(subject: Subject) -> Report:
    for node in _choices(subject):
        k = _k(subject, node)
        if k is None:
            yield node.name, "takes a k that is computed, not a constant"
        elif not 1 <= k <= LARGEST_K:
            yield node.name, f"takes k = {k}, not 1 to {LARGEST_K}"


def _topk_points(subject: Subject) -> Report:
    for node in _choices(subject):
        k, shape = _k(subject, node), subject.view.shapes.get(node.input[0]) or [subject.smallest]
        size = shape[_axis(node, len(shape))]
        available = size if isinstance(size, int) and size > 0 else subject.smallest
        if k is not None and k > available:
            yield node.name, f"takes the {k} best of {available} at the smallest number of points, {subject.smallest}"


def _topk_axis(subject: Subject) -> Report:
    for node in _choices(subject):
        rank = len(subject.view.shapes.get(node.input[0], []))
        if rank and _axis(node, rank) < rank - TOPK_AXES:
            yield node.name, f"selects along axis {_axis(node, rank)} of {rank}, not one of the last {TOPK_AXES}"


def _int64(subject: Subject) -> Report:
    view = subject.view
    for value in (*subject.model.graph.input, *subject.model.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.INT64:
            yield value.name, "is an int64 input or output, which needs a conversion in every caller"
    for name, constant in view.constants.items():
        if constant.data_type == TensorProto.INT64 and constant.data_location != TensorProto.EXTERNAL:
            numbers = numpy_helper.to_array(constant)
            if numbers.size and not (int(numbers.min()) in INT32 and int(numbers.max()) in INT32):
                yield name, "holds int64 numbers beyond int32, which an engine clamps"
    for node in view.nodes:
        whole = [name for name in node.output if view.types.get(name) == TensorProto.INT64]
        if node.op_type in ARITHMETIC and whole and len(view.shapes.get(whole[0], [])) > 1:
            yield node.name, f"is a {node.op_type} of int64 tensors, which a GPU does several times slower than int32"


def _external_data(subject: Subject) -> Report:
    for name, constant in subject.view.constants.items():
        if constant.data_location == TensorProto.EXTERNAL:
            location = next((entry.value for entry in constant.external_data if entry.key == "location"), "?")
            yield name, f"lies outside the bundle's one file, in {location}"


def _distances_fp32(subject: Subject) -> Report:
    view = subject.view
    for i in sorted(view.island().nodes):
        node = view.nodes[i]
        wrong = [name for name in (*node.input, *node.output) if view.types.get(name) in FLOATING[1:]]
        if wrong and node.op_type != "Cast":
            yield node.name, f"has a part in the distances and computes with {wrong[0]}, which is not float32"
        elif node.op_type == "Cast" and view.types.get(node.output[0]) == FLOAT and wrong:
            yield node.name, "widens scores that were already rounded"


def _distances_centred(subject: Subject) -> Report:
    for name in sorted(subject.view.island().uncentred):
        yield name, "gives features whose distances are taken without subtracting each cloud's mean"


def _choices(subject: Subject) -> list[NodeProto]:
    return [node for node in subject.view.nodes if node.op_type == "TopK"]


def _k(subject: Subject, node: NodeProto) -> int | None:
    constant = subject.view.constants.get(node.input[1])
    return None if constant is None else int(numpy_helper.to_array(constant).item())


def _axis(node: NodeProto, rank: int) -> int:
    axis = int(_attribute(node, "axis", -1))
    return axis + rank if axis < 0 else min(axis, rank - 1)


def _attribute(node: NodeProto, name: str, default: str | int) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            value = onnx.helper.get_attribute_value(attribute)
            return value.decode() if isinstance(value, bytes) else value
    return default


RULES: dict[str, Callable[[Subject], Report]] = {
    "types": _types,
    "opset": _opset,
    "refused-operator": _refused_operator,
    "topk-k": _topk_k,
    "topk-points": _topk_points,
    "topk-axis": _topk_axis,
    "int64": _int64,
    "external-data": _external_data,
    "distances-fp32": _distances_fp32,
    "distances-centred": _distances_centred,
}
