"""The neighbour graphs that an ONNX model builds, and what the trained network makes of the same graphs."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from crosspoint.export.onnx.build import TOPK
from crosspoint.parity.reference import Reference
from crosspoint.runtime.backends.onnx import OnnxEncoder

Inputs = dict[str, NDArray[np.float32]]
Result = tuple[NDArray[np.float64], list[float]]


class GraphProbe:
    """A copy of an ONNX model that also gives its graphs; a temporary file beside it while the block lasts.

    Args:
        reference: The trained network.
        onnx_file: The model.
    """

    def __init__(self, reference: Reference, onnx_file: Path) -> None:
        self._reference = reference
        self._known: dict[str, Result] = {}
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

    def neighbours(self, inputs: Inputs) -> dict[str, NDArray[np.int64]]:
        """Of every EdgeConv by name, `(B, N, k)`."""
        outputs: Mapping[str, NDArray[Any]] = self._encoder.run(inputs)
        return {name.removesuffix(f"/{TOPK}"): outputs[name].astype(np.int64) for name in self._edges}

    def expected(self, inputs: Inputs) -> tuple[NDArray[np.float64], dict[str, float]]:
        """The network's output `(B, …)` on the model's graphs, and by EdgeConv the least share of right neighbours.

        The batch is run as it is, since ONNX Runtime may choose another of two all but equal neighbours in another
        batch. A cloud with graphs that were seen before is not computed again.
        """
        graphs = self.neighbours(inputs)
        results = []
        for i in range(len(inputs["points"])):
            cloud = {name: array[i : i + 1] for name, array in inputs.items()}
            chosen = [neighbours[i : i + 1] for neighbours in graphs.values()]
            arrays: list[NDArray[Any]] = [*cloud.values(), *chosen]
            key = hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()
            if key not in self._known:
                self._known[key] = self._reference.on_graphs(cloud, chosen)
            results.append(self._known[key])
        worst = np.min([shares for _, shares in results], axis=0).tolist()
        return np.concatenate([output for output, _ in results]), dict(zip(graphs, worst, strict=True))
