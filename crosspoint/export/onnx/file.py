"""The bundle's ONNX file: written with its provenance, and read back."""

import json
from pathlib import Path
from typing import Any

import onnx

from crosspoint.export.onnx.graph_view import NAMES, Wiring


def write_onnx(path: Path, model: onnx.ModelProto, *, provenance: dict[str, Any]) -> None:
    """Write a graph as one checked ONNX file; the same graph and provenance give the same bytes.

    Args:
        path: Where to.
        model: The graph.
        provenance: What the file says of itself, in `metadata_props` under the key `crosspoint`.
    """
    onnx.helper.set_model_props(model, {"crosspoint": json.dumps(provenance, sort_keys=True)})
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def read_precision(model: onnx.ModelProto) -> str:
    """Precisions of all tensors that the nodes make and of the weights, e.g. `"fp32"` or `"fp16+fp32"`."""
    types = set(Wiring(model).types.values())
    return "+".join(sorted(NAMES[kind] for kind in types if kind in NAMES))


def shapes(values: Any) -> dict[str, list[int | str]]:
    """Shapes of a graph's inputs or outputs by name; what varies is a word."""
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values
    }
