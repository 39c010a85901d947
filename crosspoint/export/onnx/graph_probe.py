"""Reads the neighbour graphs that an ONNX model builds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from crosspoint.export.onnx.build import TOPK
from crosspoint.runtime.backends.onnx import OnnxEncoder


class GraphProbe:
    """A copy of an ONNX model that also outputs its neighbour graphs; a temporary file while the block lasts.

    Args:
        onnx_file: The model.
    """

    def __init__(self, onnx_file: Path) -> None:
        model = onnx.load(onnx_file)
        self._edges = [node.output[1] for node in model.graph.node if node.op_type == "TopK"]
        for name in self._edges:
            value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.INT64, None)
            model.graph.output.append(value)
        self._path = onnx_file.with_suffix(".probe.onnx")
        onnx.save(model, self._path)

    def __enter__(self) -> "GraphProbe":
        self._encoder = OnnxEncoder(self._path)
        return self

    def __exit__(self, *error: object) -> None:
        self._encoder.close()
        self._path.unlink()

    def neighbours(self, inputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.int64]]:
        """The neighbours `(B, N, k)` of every EdgeConv, by name."""
        outputs: Mapping[str, NDArray[Any]] = self._encoder.run(inputs)
        return {name.removesuffix(f"/{TOPK}"): outputs[name].astype(np.int64) for name in self._edges}
