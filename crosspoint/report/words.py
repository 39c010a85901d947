"""How the report writes numbers and models."""

from collections.abc import Sequence
from pathlib import PurePath

from crosspoint.report.results import Model

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
    """A difference of fractions in percentage points, with its sign."""
    return f"{100 * difference:+.{decimals}f}".replace("-", "−")


def span(interval: Sequence[float] | None, decimals: int = 1, *, scale: float = 100.0) -> str:
    """An interval of fractions in per cent, or of other values with a scale of their own."""
    if interval is None:
        return "–"
    low, high = interval
    return f"{scale * low:.{decimals}f} … {scale * high:.{decimals}f}".replace("-", "−")


def backend_name(backend: str) -> str:
    """What a backend is called, e.g. `"ONNX Runtime"`."""
    return BACKENDS.get(backend, backend)


def where(model: Model) -> str:
    """What ran a model, and on which device."""
    return f"{backend_name(str(model.backend))} on {model.device}"


def file_name(path: str) -> str:
    """The end of a path that tells it from others: the file's name with its folder's."""
    return "/".join(PurePath(path).parts[-2:])


def described(model: Model) -> str:
    """A model by its file and, where that is known, what ran it."""
    return file_name(model.path) + ("" if model.backend is None else f" ({where(model)})")
