"""How the report writes numbers, models and the paired comparison of two models."""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from crosspoint.report.html import Html, bar, join, table, tag

RULES = ("official", "clean")
BACKENDS = {
    "pytorch": "PyTorch",
    "onnxruntime": "ONNX Runtime",
    "tensorrt": "TensorRT",
    "tensorrt-rtx": "TensorRT-RTX",
}


def percent(value: float | None) -> str:
    """A fraction as a percentage with one decimal."""
    return "–" if value is None else f"{float(value):.1%}"


def points(difference: float, decimals: int = 1) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return f"{100 * difference:+.{decimals}f}".replace("-", "−")


def span(interval: Sequence[float] | None, scale: float = 100.0, decimals: int = 1) -> str:
    """An interval of fractions in per cent, or of other values with a scale of their own."""
    if interval is None:
        return "–"
    low, high = interval
    return f"{scale * low:.{decimals}f} … {scale * high:.{decimals}f}".replace("-", "−")


def scored(share: float, interval: Sequence[float] | None, remark: str = "") -> Html:
    """A share as a bar with its 95 % interval and a remark below."""
    below = [] if interval is None else [tag("span", span(interval), class_="sub")]
    below += [tag("span", remark, class_="sub")] if remark else []
    return join([bar(share, percent(share)), *below])


def where(model: dict[str, Any]) -> str:
    """What ran a model, and where."""
    backend = str(model["backend"])
    return f"{BACKENDS.get(backend, backend)} on {model['device']}"


def file_name(path: str) -> str:
    """The end of a path that tells it from others: the file's name with its folder's."""
    return "/".join(PurePath(path).parts[-2:])


def paired_table(reference: dict[str, Any], rows: Sequence[tuple[str, dict[str, Any]]]) -> Html:
    """Comparisons, made by `crosspoint.eval.metrics.statistics.paired`, with a model that met the same objects."""
    columns = ("measured", "reference", "model", "difference", "95 % interval", "equal", "McNemar's p")
    cells = [
        (
            name,
            f"{row['reference_accuracy']:.2%}",
            f"{row['candidate_accuracy']:.2%}",
            points(row["difference"], 2),
            span(row["interval"], decimals=2),
            f"{row['equal_predictions']:.2%}",
            f"{row['mcnemar_p']:.2g}",
        )
        for name, row in rows
    ]
    lead = (
        f"Against {described(reference)}, on the same objects. The difference is in percentage points, model minus "
        "reference; equal is the share of predictions that agree."
    )
    return join([tag("p", lead), table(columns, cells)])


def described(model: dict[str, Any]) -> str:
    """A model by its file and, where that is known, what ran it."""
    ran = f" ({where(model)})" if "backend" in model else ""
    return file_name(str(model["path"])) + ran
