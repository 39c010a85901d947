"""The report's section about robustness: accuracy over the severity of each corruption."""

from typing import Any

import numpy as np

from crosspoint.eval.robustness import CORRUPTIONS
from crosspoint.report.charts import Curve, line_kind, share_chart
from crosspoint.report.html import Html, join, table, tag
from crosspoint.report.read import Pieces
from crosspoint.report.words import BACKENDS, file_name, paired_table, percent, span

Row = dict[str, Any]
Curves = dict[str, dict[str, list[Row]]]
"""Rows of severities, by corruption and by what the model is called."""


def robustness_section(pieces: Pieces) -> Html:
    """A chart of each corruption with a line for each model, the numbers, and the paired comparisons."""
    return pieces.each(pieces.of("robustness"), lambda result: _robustness(result.values))


def _robustness(values: dict[str, Any]) -> Html:
    data, curves = values["data"], _curves(values["curves"])
    models = list(dict.fromkeys(model for own in curves.values() for model in own))
    note = (
        f"A linear SVM on features of {data['train']} intact clouds; {data['test']} clouds to test "
        f"({data['test_from']}), {data['points']} points each, get worse from left to right. Bands are 95 % intervals "
        "for the number of clouds. The paper has no such measurement."
    )
    charts = [_chart(name, own, models) for name, own in curves.items()]
    return join(
        [
            tag("p", note, class_="quiet"),
            _legend(models),
            tag("div", *charts, class_="charts"),
            *(tag("p", remark, class_="quiet") for remark in values["remarks"]),
            _numbers(curves),
            *_paired(values, curves, models),
        ]
    )


def _curves(found: list[dict[str, Any]]) -> Curves:
    """A model that is the reference as well has two equal curves, of which one is kept."""
    names = _names([curve["model"] for curve in found])
    curves: Curves = {}
    for curve in found:
        curves.setdefault(curve["corruption"], {}).setdefault(names[_key(curve["model"])], curve["rows"])
    return curves


def _key(model: dict[str, str]) -> tuple[str, str, str]:
    return model["path"], model["backend"], model["precision"]


def _names(models: list[dict[str, str]]) -> dict[tuple[str, str, str], str]:
    """What models are called: the end of their paths, or the whole where that is another's end too."""
    paths = {model["path"] for model in models}
    ends = [file_name(path) for path in paths]
    names = {}
    for path, backend, precision in map(_key, models):
        shown = file_name(path) if ends.count(file_name(path)) == 1 else path
        names[path, backend, precision] = f"{shown} ({BACKENDS.get(backend, backend)}, {precision})"
    return names


def _legend(models: list[str]) -> Html:
    """A short line in its model's colour for each."""
    keys = [
        tag("span", tag("svg", tag("line", x1=0, y1=6, x2=24, y2=6, class_=line_kind(i)), viewBox="0 0 24 12"), name)
        for i, name in enumerate(models)
    ]
    return tag("p", *keys, class_="keys")


def _chart(name: str, own: dict[str, list[Row]], models: list[str]) -> Html:
    severities, drawn = _severities(name, own), []
    for model, rows in own.items():
        if rows:
            low, high = np.array([row["interval"] for row in rows], np.float64).T
            places = np.array([severities.index(float(row["severity"])) for row in rows], np.float64)
            accuracy = np.array([row["accuracy"] for row in rows], np.float64)
            drawn.append(Curve(places, accuracy, low, high, line_kind(models.index(model))))
    return share_chart(_title(name), [f"{severity:g}" for severity in severities], drawn)


def _title(name: str) -> str:
    """What a corruption does, with the unit of its severity."""
    title = CORRUPTIONS[name].title if name in CORRUPTIONS else name
    return title[:1].upper() + title[1:]


def _severities(name: str, own: dict[str, list[Row]]) -> list[float]:
    """Those that were measured, from harmless to severe."""
    found = dict.fromkeys(float(row["severity"]) for rows in own.values() for row in rows)
    known = CORRUPTIONS[name].severities if name in CORRUPTIONS else ()
    return sorted(found, key=lambda severity: known.index(severity) if severity in known else len(known))


def _numbers(curves: Curves) -> Html:
    """Of each corruption a table with a row for each severity and a column for each model."""
    parts = []
    for name, own in curves.items():
        found = {(model, float(row["severity"])): row for model, rows in own.items() for row in rows}
        rows = [
            [f"{severity:g}", *(_cell(found.get((model, severity))) for model in own)]
            for severity in _severities(name, own)
        ]
        columns = ("severity", *(tag("span", model, class_="file") for model in own))
        parts += [tag("p", _title(name)), table(columns, rows)]
    return tag("details", tag("summary", "The numbers of the curves"), *parts)


def _cell(row: Row | None) -> object:
    if row is None:
        return "–"
    return join([percent(row["accuracy"]), tag("span", span(row["interval"]), class_="sub")])


def _paired(values: dict[str, Any], curves: Curves, models: list[str]) -> list[Html]:
    """The comparisons of each model with the reference."""
    parts: list[Html] = []
    for model in models:
        named = [
            (f"{name} {row['severity']:g}", row["against"])
            for name, own in curves.items()
            for row in own.get(model, ())
            if "against" in row
        ]
        if named:
            parts += [tag("p", tag("b", model)), paired_table(values["against"]["model"], named)]
    return [tag("details", tag("summary", "Paired comparisons"), *parts)] if parts else []
