"""Formats numbers and names of models for the report."""

from collections.abc import Sequence
from pathlib import PurePath

from crosspoint.eval.features import ModelInfo
from crosspoint.eval.image.fewshot import ImageModel

BACKENDS = {
    "pytorch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "tensorrt": "TensorRT",
    "tensorrt-rtx": "TensorRT-RTX",
}


def percent(value: float | None, decimals: int = 1) -> str:
    """A fraction as a percentage."""
    return "–" if value is None else f"{value:.{decimals}%}"


def points(difference: float, decimals: int = 1) -> str:
    """A difference of fractions in percentage points, with sign."""
    return f"{100 * difference:+.{decimals}f}".replace("-", "−")


def span(interval: Sequence[float] | None, decimals: int = 1, *, scale: float = 100.0) -> str:
    """An interval of fractions in per cent; another `scale` is for other values."""
    if interval is None:
        return "–"
    low, high = interval
    return f"{scale * low:.{decimals}f} … {scale * high:.{decimals}f}".replace("-", "−")


def backend_name(backend: str) -> str:
    """The name of a backend, e.g. `"ONNX Runtime"`."""
    return BACKENDS.get(backend, backend)


def where(model: ModelInfo) -> str:
    """The backend that ran a model, and its device."""
    return f"{backend_name(model.backend)} on {model.device}"


def file_name(path: str) -> str:
    """The last two parts of a path: folder and file."""
    return "/".join(PurePath(path).parts[-2:])


def described(model: ModelInfo | ImageModel) -> str:
    """A model's file and, if known, its backend and device."""
    return file_name(model.path) + (f" ({where(model)})" if isinstance(model, ModelInfo) else "")
