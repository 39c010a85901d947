"""The layers of a model as its backend runs them: by ONNX Runtime's profile, or by TensorRT's inspector."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from crosspoint.core.errors import InputError
from crosspoint.core.reading import reading
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.inputs import FloatArray

CALLS, WARM_UP = 12, 2
TIME = "_kernel_time"  # end of the names in ONNX Runtime's profile


@dataclass(frozen=True)
class LayerRow:
    """A layer after the backend has fused and reordered the graph.

    Attributes:
        name: Name in the ONNX file or, of fused layers, the backend's own.
        operator: Kind of the layer.
        ms: Median time in a call, in milliseconds; None if the backend gives none.
        share: Share of the time of all layers; None without times.
        precision: As the backend states it; empty if it does not.
    """

    name: str
    operator: str
    ms: float | None
    share: float | None
    precision: str


@dataclass(frozen=True)
class LayerTable:
    """The layers of one model on one backend.

    Attributes:
        model: Path of the model.
        engine: Name and version of the backend.
        device: Where it ran.
        source: Where the table comes from, in words.
        rows: The layers, in the order of the network.
    """

    model: str
    engine: str
    device: str
    source: str
    rows: tuple[LayerRow, ...]


def layers_of(encoder: Encoder, inputs: Mapping[str, FloatArray]) -> LayerTable:
    """The table of an open model.

    Args:
        encoder: A model that runs on ONNX Runtime or TensorRT.
        inputs: Inputs of one call.

    Raises:
        InputError: The backend has no table of layers.
    """
    spec = encoder.specification
    if hasattr(encoder, "profile"):
        path = encoder.profile(inputs, calls=CALLS)
        try:
            with reading(path, "a profile of ONNX Runtime"):
                rows = _profiled(json.loads(path.read_text()))
        finally:
            path.unlink(missing_ok=True)
        source = f"ONNX Runtime's profile, median of {CALLS - WARM_UP} calls"
    elif hasattr(encoder, "layer_information"):
        rows, source = _inspected(json.loads(encoder.layer_information())), "TensorRT's engine inspector, without times"
    else:
        raise InputError(f"{spec.path} on {spec.backend} has no table of layers; give an .onnx file or a bundle")
    return LayerTable(spec.path, spec.engine or spec.backend, spec.device, source, rows)


def _profiled(events: Sequence[Mapping[str, Any]]) -> tuple[LayerRow, ...]:
    """Median times of the nodes after the warm-up; every node has one event in each call."""
    times: dict[str, list[float]] = defaultdict(list)
    operators: dict[str, str] = {}
    for event in events:
        if event.get("cat") == "Node" and str(event["name"]).endswith(TIME):
            name = str(event["name"]).removesuffix(TIME)
            times[name].append(event["dur"] / 1e3)  # microseconds
            operators[name] = str(event["args"].get("op_name", ""))
    medians = {name: median(values[WARM_UP:] or values) for name, values in times.items()}
    whole = sum(medians.values()) or 1.0
    return tuple(LayerRow(name, operators[name], each, each / whole, "") for name, each in medians.items())


def _inspected(information: Mapping[str, Any]) -> tuple[LayerRow, ...]:
    """Layers of an engine: their names alone, unless it was built with detailed profiling verbosity."""
    rows = []
    for layer in information.get("Layers", ()):
        details: Mapping[str, Any] = layer if isinstance(layer, dict) else {"Name": layer}
        texts = (str(details.get(key, "")) for key in ("Name", "LayerType", "Precision"))
        name, operator, precision = texts
        rows.append(LayerRow(name, operator, None, None, precision))
    return tuple(rows)
