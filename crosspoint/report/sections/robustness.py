"""Robustness: accuracy over the severity of each corruption."""

import numpy as np
from markupsafe import Markup

from crosspoint.eval.robustness import CORRUPTIONS
from crosspoint.report.charts import Curve, line_kind, share_chart
from crosspoint.report.html import render
from crosspoint.report.read import Found, Pieces
from crosspoint.report.results import Corrupted, Model, Paired, Robustness, Severity
from crosspoint.report.words import backend_name, file_name

Curves = dict[str, dict[str, tuple[Severity, ...]]]
"""Rows of severities, by corruption and by what the model is called."""


def robustness(pieces: Pieces) -> Markup:
    """A chart of each corruption with a line for each model, the numbers, and the paired comparisons."""
    return pieces.each(Robustness, _robustness)


def _robustness(found: Found[Robustness]) -> Markup:
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


def _curves(found: tuple[Corrupted, ...]) -> Curves:
    """A model that is the reference as well has two equal curves, of which one is kept."""
    names = _names([curve.model for curve in found])
    curves: Curves = {}
    for curve in found:
        curves.setdefault(curve.corruption, {}).setdefault(names[curve.model], curve.rows)
    return curves


def _names(models: list[Model]) -> dict[Model, str]:
    """What models are called: the end of their paths, or the whole where that is another's end too."""
    ends = [file_name(path) for path in {model.path for model in models}]
    names = {}
    for model in models:
        shown = file_name(model.path) if ends.count(file_name(model.path)) == 1 else model.path
        names[model] = f"{shown} ({backend_name(str(model.backend))}, {model.precision})"
    return names


def _chart(name: str, own: dict[str, tuple[Severity, ...]], models: list[str]) -> Markup:
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


def _severities(name: str, own: dict[str, tuple[Severity, ...]]) -> list[float]:
    """Those that were measured, from harmless to severe."""
    found = dict.fromkeys(row.severity for rows in own.values() for row in rows)
    known = CORRUPTIONS[name].severities if name in CORRUPTIONS else ()
    return sorted(found, key=lambda severity: known.index(severity) if severity in known else len(known))


def _numbers(
    name: str, own: dict[str, tuple[Severity, ...]]
) -> tuple[str, list[str], list[tuple[float, list[Severity | None]]]]:
    """A table: its title, its models, and for each severity what was measured of each of them."""
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
