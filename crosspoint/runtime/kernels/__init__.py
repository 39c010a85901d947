"""The package's own CPU operators (`edges.c`), put into a graph when ONNX Runtime opens it.

The exported file keeps to standard ONNX, which every runtime reads. On the CPU, where ONNX Runtime's TopK is a heap and
its gather writes every edge, the session gets the same graph with these replaced:

    Sub, TopK                       →  Nearest      the same neighbours in the same order, ties included
    Unsqueeze, GatherND, ReduceMax  →  GatherMax    the same numbers
    ReduceMax, ReduceMean           →  Max, Mean    over an axis before the last; means differ in their last digit

The library is compiled when the package's wheel is built; a package without it runs the standard graph.
"""

import importlib
from collections import Counter
from typing import Any

from crosspoint.runtime.kernels.compile import FOLDER, SUFFIX

DOMAIN = "crosspoint"
LIBRARY = FOLDER / f"edges{SUFFIX}"


def available() -> bool:
    """Whether this installation has the compiled operators, and `onnx` to put them into a graph."""
    try:
        importlib.import_module("onnx")
    except ImportError:
        return False
    return LIBRARY.is_file()


def with_kernels(content: bytes) -> bytes | None:
    """The graph in an ONNX file's bytes with the operators in it, serialized; None if there is no place for one.

    Raises:
        Exception: Of `onnx`, for a damaged file.
    """
    import onnx

    model = onnx.load_model_from_string(content)
    graph = _Graph(onnx.shape_inference.infer_shapes(model))
    nodes = graph.rewritten()
    if len(nodes) == len(model.graph.node) and all(node.domain != DOMAIN for node in nodes):
        return None
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    kept = [constant for constant in model.graph.initializer if constant.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    serialized: bytes = model.SerializeToString()
    return serialized


class _Graph:
    """A graph with what is needed to find the places: makers, number of uses, types and ranks."""

    def __init__(self, model: Any) -> None:
        import onnx

        self._onnx, self._nodes = onnx, list(model.graph.node)
        self._maker = {name: node for node in self._nodes for name in node.output}
        self._uses = Counter(name for node in self._nodes for name in node.input)
        self._uses.update(value.name for value in model.graph.output)
        self._constants = {constant.name: constant for constant in model.graph.initializer}
        values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
        self._types = {value.name: value.type.tensor_type for value in values}

    def rewritten(self) -> list[Any]:
        """The nodes in their order, replaced where possible."""
        replaced: dict[str, Any] = {}
        dropped: set[str] = set()
        for node in self._nodes:
            for find in (self._nearest, self._gather_max, self._reduction):
                new, without = find(node)
                if new is not None and node.output[0] not in replaced:
                    replaced[node.output[0]] = new
                    dropped |= without
        nodes = (replaced.get(node.output[0], node) for node in self._nodes if node.output[0] not in dropped)
        return list(nodes)

    def _nearest(self, node: Any) -> tuple[Any, set[str]]:
        if node.op_type != "TopK" or self._uses[node.output[0]] or self._attribute(node, "largest", 1) != 1:
            return None, set()
        scores, count = self._maker.get(node.input[0]), self._constants.get(node.input[1])
        if scores is None or scores.op_type != "Sub" or self._uses[scores.output[0]] > 1 or count is None:
            return None, set()
        shapes = [self._dims(name) for name in scores.input]
        last = self._attribute(node, "axis", -1) in (-1, 2)
        if not (last and self._is_float(scores.output[0]) and [len(s) for s in shapes] == [3, 3] and shapes[1][1] == 1):
            return None, set()
        (k,) = self._onnx.numpy_helper.to_array(count).tolist()
        return self._operator("Nearest", node, scores.input, node.output[1], k=k), {scores.output[0]}

    def _gather_max(self, node: Any) -> tuple[Any, set[str]]:
        gather = self._maker.get(node.input[0]) if node.op_type == "ReduceMax" else None
        if gather is None or gather.op_type != "GatherND" or self._attribute(gather, "batch_dims", 0) != 1:
            return None, set()
        rows = self._maker.get(gather.input[1])
        if rows is None or rows.op_type != "Unsqueeze" or self._uses[gather.output[0]] > 1:
            return None, set()
        chosen = self._maker.get(rows.input[0])
        edges = len(self._dims(gather.output[0])) == 4 and self._axis(node) == 2 and not self._keeps(node)
        if not (edges and chosen is not None and chosen.op_type == "TopK" and self._is_float(gather.input[0])):
            return None, set()
        unused = {rows.output[0]} if self._uses[rows.output[0]] == 1 else set()
        inputs = [gather.input[0], rows.input[0]]
        return self._operator("GatherMax", node, inputs, node.output[0]), {gather.output[0], *unused}

    def _reduction(self, node: Any) -> tuple[Any, set[str]]:
        if node.op_type not in ("ReduceMax", "ReduceMean") or not self._is_float(node.input[0]):
            return None, set()
        axis, rank = self._axis(node), len(self._dims(node.input[0]))
        if axis is None or not 0 < axis < rank - 1:
            return None, set()
        name = node.op_type.removeprefix("Reduce")
        return self._operator(name, node, node.input, node.output[0], axis=axis, keep=int(self._keeps(node))), set()

    def _operator(self, kind: str, node: Any, inputs: Any, output: str, **attributes: int) -> Any:
        made = self._onnx.helper.make_node(kind, [*inputs], [output], node.name, domain=DOMAIN)
        made.attribute.extend(self._onnx.helper.make_attribute(*pair) for pair in attributes.items())
        return made

    def _attribute(self, node: Any, name: str, default: Any) -> Any:
        found = [entry for entry in node.attribute if entry.name == name]
        return self._onnx.helper.get_attribute_value(found[0]) if found else default

    def _axis(self, node: Any) -> int | None:
        """The one axis of a reduction; None if there are several, or it is not an attribute."""
        axes = self._attribute(node, "axes", [])
        return axes[0] if len(axes) == 1 else None

    def _keeps(self, node: Any) -> bool:
        return bool(self._attribute(node, "keepdims", 1))

    def _is_float(self, name: str) -> bool:
        return name in self._types and self._types[name].elem_type == self._onnx.TensorProto.FLOAT

    def _dims(self, name: str) -> list[int | str]:
        if name not in self._types:
            return []
        return [dim.dim_param or dim.dim_value for dim in self._types[name].shape.dim]
