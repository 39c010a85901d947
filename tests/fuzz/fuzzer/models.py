"""Targets: ONNX files, opened and run on the CPU with the package's operators and without."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fuzzer import made
from fuzzer.cases import Files, Target
from fuzzer.made import CLOUDS


def _encoders() -> list[Files]:
    return [{"model.onnx": made.small_onnx()}, {"model.onnx": made.small_onnx(16)}]


def _all() -> list[Files]:
    return [*_encoders(), {"model.onnx": made.small_segmenter()}]


def _run(root: Path, operators: bool, threads: int) -> Any:
    from crosspoint.runtime.backends.onnx import OnnxEncoder

    encoder = OnnxEncoder(root / "model.onnx", threads=threads, operators=operators)
    with encoder:
        clouds = CLOUDS[:3]
        if encoder.specification.categories is None:
            result = encoder.embed(clouds)
            assert result.shape == (3, encoder.specification.dim)
        else:
            category = np.zeros((3, encoder.specification.categories), np.float32)
            category[:, 0] = 1
            result = encoder.segment(clouds, category)
            assert result.shape == (3, 16, encoder.specification.dim)
        return result


def _both(root: Path) -> None:
    """With our operators and without: the same values, or a refusal of both."""
    from crosspoint.core.errors import CrosspointError

    outcomes: list[Any] = []
    for operators in (True, False):
        try:
            outcomes.append(_run(root, operators, 1))
        except CrosspointError as error:
            outcomes.append(error)
    ours, standard = outcomes
    if isinstance(standard, CrosspointError):
        assert isinstance(ours, CrosspointError), f"standard operators refuse: {standard}"
        raise standard
    assert not isinstance(ours, CrosspointError), f"only ours refuse: {ours}"
    np.testing.assert_allclose(ours, standard, rtol=1e-3, atol=1e-4)


def _attacks() -> dict[str, Files]:
    """Each is one change of the small model that once did harm."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def model() -> Any:
        return onnx.load_from_string(_encoders()[0]["model.onnx"])

    def many_dimensions() -> Any:
        """The points pass through 24 dimensions ahead of the nodes that are rewritten."""
        changed = model()
        wide, back = np.array([0] * 3 + [1] * 21, np.int64), np.array([0, 0, 3], np.int64)
        changed.graph.initializer.extend([numpy_helper.from_array(wide, "wide"), numpy_helper.from_array(back, "back")])
        for node in changed.graph.node:
            node.input[:] = ["narrow" if name == "points" else name for name in node.input]
        changed.graph.node.insert(0, helper.make_node("Reshape", ["points", "wide"], ["wider"]))
        changed.graph.node.insert(1, helper.make_node("Reshape", ["wider", "back"], ["narrow"]))
        return changed

    def ours(kind: str, inputs: list[str], dims: list[int], **attributes: int) -> Any:
        """One of our operators on its own, on a constant."""
        changed = model()
        changed.graph.initializer.append(numpy_helper.from_array(np.zeros(dims, np.float32), "x"))
        changed.graph.initializer.append(numpy_helper.from_array(np.full((1, 4, 2), 10**9, np.int64), "far"))
        changed.graph.node.append(helper.make_node(kind, inputs, ["unused"], domain="crosspoint", **attributes))
        changed.graph.output.append(helper.make_tensor_value_info("unused", TensorProto.FLOAT, None))
        changed.opset_import.append(helper.make_opsetid("crosspoint", 1))
        return changed

    def topk(k: int) -> Any:
        changed = model()
        constant = next(
            c
            for c in changed.graph.initializer
            if c.name == next(n for n in changed.graph.node if n.op_type == "TopK").input[1]
        )
        constant.CopyFrom(numpy_helper.from_array(np.array([k], np.int64), constant.name))
        return changed

    def gathered(axis: int) -> Any:
        changed = model()
        node = next(node for node in changed.graph.node if node.op_type == "ReduceMax")
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("axes", [axis]))
        return changed

    attacks = {
        "24 dimensions": many_dimensions(),
        **{f"k = {k}": topk(k) for k in (0, -1, 17, 2**31, 2**62)},
        **{f"an axis of {axis}": gathered(axis) for axis in (0, 7, -9, 2**40)},
        "an index far away": ours("GatherMax", ["x", "far"], [1, 4, 3]),
        "a mean of 9 dimensions": ours("Mean", ["x"], [1] * 9, axis=4, keep=0),
        "a maximum of nothing": ours("Max", ["x"], [1, 0, 3], axis=1, keep=0),
        "24 dimensions of ours": ours("Max", ["x"], [1] * 24, axis=1, keep=1),
        "k of 0": ours("Nearest", ["x", "x"], [1, 4, 4], k=0),
        "k of 2^40": ours("Nearest", ["x", "x"], [1, 4, 4], k=2**40),
    }
    files: dict[str, Files] = {name: {"model.onnx": changed.SerializeToString()} for name, changed in attacks.items()}
    return files | {place: {"model.onnx": place} for place in ("folder", "pipe", "sparse", "link /dev/zero")}


MODELS = (
    Target("onnx", _all, partial(_run, operators=True, threads=2), _attacks, program=True),
    Target("onnx-standard", _all, partial(_run, operators=False, threads=2), _attacks, program=True),
    Target("onnx-both", _all, _both, _attacks, program=True),
)
