"""Section: accuracy over the severity of each corruption."""

import numpy as np
from markupsafe import Markup

from crosspoint.eval.curve import CurveModel, SeverityAccuracy, SeverityCurve
from crosspoint.eval.metrics.statistics import Paired
from crosspoint.eval.robustness import CORRUPTIONS, RobustnessResult
from crosspoint.report.charts import Curve, line_kind, share_chart
from crosspoint.report.html import render
from crosspoint.report.read import Found, Pieces
from crosspoint.report.words import backend_name, file_name

Curves = dict[str, dict[str, tuple[SeverityAccuracy, ...]]]
"""Severities, by corruption and by name of the model."""


def robustness(pieces: Pieces) -> Markup:
    """For each corruption a chart with a line per model, then the numbers and the paired comparisons."""
    return pieces.each(RobustnessResult, _robustness)


def _robustness(found: Found[RobustnessResult]) -> Markup:
    result, curves = found.values, _curves(found.values.curves)
    models = list(dict.fromkeys(model for own in curves.values() for model in own))
    return render(
        "robustness",
        result=result,
        legend=[(model, line_kind(number)) for number, model in enumerate(models)],
        charts=[_chart(name, own, models) for name, own in curves.items()],
        numbers=[_numbers(name, own) for name, own in curves.items()],
        compared=[(model, rows) for model in models if (rows := _compared(curves, model))],
    )


def _curves(found: tuple[SeverityCurve, ...]) -> Curves:
    """The curves; of a model that is also the reference, only one of its two equal curves."""
    names = _names([curve.model for curve in found])
    curves: Curves = {}
    for curve in found:
        curves.setdefault(curve.corruption, {}).setdefault(names[curve.model], curve.rows)
    return curves


def _names(models: list[CurveModel]) -> dict[CurveModel, str]:
    """Short names of models: the end of their paths, or the whole path if two ends are equal."""
    ends = [file_name(path) for path in {model.path for model in models}]
    names = {}
    for model in models:
        shown = file_name(model.path) if ends.count(file_name(model.path)) == 1 else model.path
        names[model] = f"{shown} ({backend_name(model.backend)}, {model.precision})"
    return names


def _chart(name: str, own: dict[str, tuple[SeverityAccuracy, ...]], models: list[str]) -> Markup:
    severities, drawn = _severities(name, own), []
    for model, rows in own.items():
        if rows:
            low, high = np.array([row.interval for row in rows], np.float64).T
            places = np.array([severities.index(row.severity) for row in rows], np.float64)
            accuracy = np.array([row.accuracy for row in rows], np.float64)
            drawn.append(Curve(places, accuracy, low, high, line_kind(models.index(model))))
    return share_chart(_title(name), [f"{severity:g}" for severity in severities], curves=drawn)


def _title(name: str) -> str:
    """What a corruption does, with the unit of its severity."""
    title = CORRUPTIONS[name].title if name in CORRUPTIONS else name
    return title[:1].upper() + title[1:]


def _severities(name: str, own: dict[str, tuple[SeverityAccuracy, ...]]) -> list[float]:
    """The measured severities, mildest first."""
    found = dict.fromkeys(row.severity for rows in own.values() for row in rows)
    known = CORRUPTIONS[name].severities if name in CORRUPTIONS else ()
    return sorted(found, key=lambda severity: known.index(severity) if severity in known else len(known))


def _numbers(
    name: str, own: dict[str, tuple[SeverityAccuracy, ...]]
) -> tuple[str, list[str], list[tuple[float, list[SeverityAccuracy | None]]]]:
    """A table: title, models, and for each severity the accuracy of each model."""
    found = {(model, row.severity): row for model, rows in own.items() for row in rows}
    lines = [(severity, [found.get((model, severity)) for model in own]) for severity in _severities(name, own)]
    return _title(name), list(own), lines


def _compared(curves: Curves, model: str) -> list[tuple[str, Paired]]:
    """The comparisons of a model with the reference."""
    return [
        (f"{name} {row.severity:g}", row.against)
        for name, own in curves.items()
        for row in own.get(model, ())
        if row.against is not None
    ]
