"""The layers of an ONNX model: parts of its graph are cut out and run by themselves."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from crosspoint.core.errors import InputError, Unsupported, require
from crosspoint.core.reading import read_bytes
from crosspoint.core.system.processes import available_cpus
from crosspoint.parity.layers.layers import INPUTS, LAYERS, Array, Layers
from crosspoint.runtime.backends.onnx import is_unsupported
from crosspoint.runtime.specification import Specification, parse_device

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
INTEGERS = (TensorProto.INT64, TensorProto.INT32, TensorProto.UINT32)


class OnnxLayers(Layers):
    """An ONNX model on the execution provider of its encoder.

    Args:
        path: The `.onnx` file; it is not changed.
        specification: Description of the open encoder.
    """

    def __init__(self, path: Path, specification: Specification) -> None:
        self.specification = specification
        content = read_bytes(path)
        if hashlib.sha256(content).hexdigest() != specification.sha256:
            raise InputError(f"{path} was changed after it was opened; run it again")
        self._model = onnx.load_model_from_string(content)
        graph = onnx.shape_inference.infer_shapes(self._model).graph
        self._types = {
            value.name: value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)
        }
        self._inputs = {value.name for value in self._model.graph.input}
        self._makers = {name: node for node in self._model.graph.node for name in node.output}
        self._sessions: dict[tuple[tuple[str, ...], tuple[str, ...]], Any] = {}
        self.names = self._visible()

    def _visible(self) -> frozenset[str]:
        """Tensors of known layers that can be cut out of the graph, because nothing bypasses their inputs."""
        names = {output.name for output in self._model.graph.output}
        for layer in LAYERS.get(self.specification.architecture, ()):
            graph = {layer.graph} if layer.graph and self._types.get(layer.graph) in INTEGERS else set()
            if self._types.get(layer.name) in FLOATS and self._separable(layer.name, {*layer.inputs} | graph):
                names |= {layer.name} | {name for name in graph if self._separable(name, {layer.inputs[0]})}
        return frozenset(names)

    def _separable(self, name: str, given: set[str]) -> bool:
        return name in self._makers and not (self._between([name], given)[1] - given)

    def compute(self, names: Iterable[str], given: Mapping[str, Array]) -> dict[str, Array]:
        """Each part of the graph is cut out once and kept.

        If a part needs only the number of points, and not the points, it gets zeros.
        """
        key = (tuple(names), tuple(sorted(given)))
        if key not in self._sessions:
            self._sessions[key] = self._open(*key)
        session = self._sessions[key]
        inputs = {}
        for value in session.get_inputs():
            name = value.name.removesuffix(":given")
            inputs[value.name] = given[name] if name in given else _zeros(name, given)
        return dict(zip(key[0], session.run([f"{name}:seen" for name in key[0]], inputs), strict=True))

    def close(self) -> None:
        """Close the sessions."""
        self._sessions.clear()

    def types(self, name: str, source: str) -> set[str]:
        """Element types of the values between `source` and `name`."""
        nodes = self._between([name], {source})[0]
        kinds = {self._types.get(output, 0) for node in nodes for output in node.output}
        return {TensorProto.DataType.Name(kind) for kind in kinds if kind in FLOATS}

    def _between(self, names: Iterable[str], given: set[str]) -> tuple[list[onnx.NodeProto], set[str], set[str]]:
        """The nodes that compute `names` from `given`, their inputs, and the inputs of which only the shape counts."""
        needed, waiting, read, shaped = set(), list(names), set(), set()
        while waiting:
            name = waiting.pop()
            node = self._makers.get(name)
            if name in given or name in self._inputs:
                read.add(name)
            elif node is not None and node.output[0] not in needed:
                needed.add(node.output[0])
                of_input = node.op_type == "Shape" and node.input[0] in self._inputs - given
                shaped |= {*node.input} if of_input else set()
                waiting += [] if of_input else node.input
        return [node for node in self._model.graph.node if node.output[0] in needed], read, shaped - read

    def _open(self, names: tuple[str, ...], given: tuple[str, ...]) -> Any:
        """A session from `<given>:given` to `<name>:seen`, both float32 or int64 whatever lies between."""
        nodes, read, shaped = self._between(names, {*given})
        read |= shaped
        before = [helper.make_node("Cast", [f"{name}:given"], [name], to=self._types[name]) for name in sorted(read)]
        after = [helper.make_node("Cast", [name], [f"{name}:seen"], to=self._plain(name)) for name in names]
        used = {name for node in nodes for name in node.input}
        graph = helper.make_graph(
            [*before, *nodes, *after],
            "piece",
            [helper.make_tensor_value_info(f"{name}:given", self._plain(name), None) for name in sorted(read)],
            [helper.make_tensor_value_info(f"{name}:seen", self._plain(name), None) for name in names],
            [constant for constant in self._model.graph.initializer if constant.name in used],
        )
        piece = helper.make_model(graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version)
        return _session(piece.SerializeToString(), self.specification)

    def _plain(self, name: str) -> int:
        return TensorProto.INT64 if self._types[name] in INTEGERS else TensorProto.FLOAT


def _session(model: bytes, specification: Specification) -> Any:
    """Open a session on the provider of the whole model, and on no other."""
    index = parse_device(specification.device)
    runtime = require("onnxruntime", "cpu" if index is None else "gpu", purpose="running an ONNX model")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = available_cpus()
    options.log_severity_level = 4
    cuda = ("CUDAExecutionProvider", {"device_id": str(index), "use_tf32": "0"})
    provider = ("CPUExecutionProvider", {}) if index is None else cuda
    try:
        session = runtime.InferenceSession(model, options, providers=[provider])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        reason = " ".join(str(error).split())[:300]
        kind = Unsupported if is_unsupported(error) else InputError
        raise kind(f"a layer of {specification.path} cannot be run by itself ({reason})") from error
    if provider[0] not in session.get_providers():
        raise InputError(f"{provider[0]} did not load; see crosspoint doctor, or give --device cpu")
    return session


def _zeros(name: str, given: Mapping[str, Array]) -> Array:
    """Zeros for an input of which only the shape is used; the given tensors are `(B, N, …)`."""
    batch, points = max((array.shape[:2] for array in given.values() if array.ndim == 3), default=(0, 0))
    if name != INPUTS[0] or not batch:
        raise InputError(f"a layer of the ONNX model needs {name} as well; it cannot be run by itself")
    return np.zeros((batch, points, 3), np.float32)
