"""Writes and reads the ONNX file of a bundle; its metadata say where the model comes from."""

import json
from collections.abc import Sequence
from pathlib import Path

import onnx

from crosspoint.core.results import to_json
from crosspoint.export.onnx.graph_view import NAMES, GraphView


def write_onnx(path: Path, model: onnx.ModelProto, *, provenance: object) -> None:
    """Write a checked ONNX file. The same graph and provenance give the same bytes.

    Args:
        path: Output file.
        model: The graph.
        provenance: Description of the model, stored in `metadata_props` under the key `crosspoint`: a dataclass, or
            what `json.dumps` takes.
    """
    onnx.helper.set_model_props(model, {"crosspoint": json.dumps(to_json(provenance), sort_keys=True)})
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def read_precision(model: onnx.ModelProto) -> str:
    """Precisions of all weights and of all tensors that nodes compute, e.g. `"fp32"` or `"fp16+fp32"`."""
    types = set(GraphView(model).types.values())
    return "+".join(sorted(NAMES[kind] for kind in types if kind in NAMES))


def shapes(values: Sequence[onnx.ValueInfoProto]) -> dict[str, tuple[int | str, ...]]:
    """Shapes of a graph's inputs or outputs by name; variable dimensions have a name."""
    return {
        value.name: tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in values
    }
