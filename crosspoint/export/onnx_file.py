"""The bundle's ONNX file: written with its provenance, and read back."""

import json
from pathlib import Path
from typing import Any

import onnx

from crosspoint.export.deploy import Weights
from crosspoint.export.graph import build

PRECISIONS = {
    onnx.TensorProto.FLOAT: "fp32",
    onnx.TensorProto.FLOAT16: "fp16",
    onnx.TensorProto.BFLOAT16: "bf16",
    onnx.TensorProto.INT8: "int8",
}


def write_onnx(path: Path, weights: Weights, points: int | None, provenance: dict[str, Any]) -> None:
    """Write a deployed network as one checked ONNX file; the same network and provenance give the same bytes.

    Args:
        path: Where to.
        weights: Of the network.
        points: N; None leaves it open.
        provenance: What the file says of itself, in `metadata_props` under the key `crosspoint`.
    """
    model = build(weights, points)
    onnx.helper.set_model_props(model, {"crosspoint": json.dumps(provenance, sort_keys=True)})
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def read_precision(model: onnx.ModelProto) -> str:
    """Precisions of all tensors that the nodes make and of the weights, e.g. `"fp32"` or `"fp16+fp32"`."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.value_info, *graph.output)}
    types |= {constant.data_type for constant in graph.initializer}
    return "+".join(sorted(PRECISIONS[kind] for kind in types if kind in PRECISIONS))


def shapes(values: Any) -> dict[str, list[int | str]]:
    """Shapes of a graph's inputs or outputs by name; what varies is a word."""
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values
    }
