"""The report's section about robustness: accuracy over the severity of each corruption."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from crosspoint.eval.report_charts import Curve, line_kind, share_chart
from crosspoint.eval.report_html import Html, join, table, tag
from crosspoint.eval.report_read import Pieces
from crosspoint.eval.report_words import BACKENDS, file_name, paired_table, percent, span
from crosspoint.eval.robustness import CORRUPTIONS


def robustness_section(pieces: Pieces) -> Html:
    """A chart of each corruption with a line for each model, the numbers, and the paired comparisons."""
    return pieces.each(pieces.of("robustness"), lambda result: _robustness(result.values))


def _robustness(values: dict[str, Any]) -> Html:
    data, curves = values["data"], values["curves"]
    models = list(dict.fromkeys(_name(curve) for curve in curves))
    note = (
        f"A linear SVM on features of {data['train']} intact clouds; {data['test']} clouds to test "
        f"({data['test_from']}), {data['points']} points each, get worse from left to right. Bands are 95 % intervals "
        "for the number of clouds. The paper has no such measurement."
    )
    names = list(dict.fromkeys(curve["corruption"] for curve in curves))
    charts = [_chart(name, curves, models) for name in names]
    return join(
        [
            tag("p", note, class_="quiet"),
            _legend(models),
            tag("div", *charts, class_="charts"),
            *(tag("p", remark, class_="quiet") for remark in values["remarks"]),
            _numbers(names, curves, models),
            *_paired(values, models),
        ]
    )


def _name(curve: dict[str, Any]) -> str:
    model = curve["model"]
    return f"{file_name(model['path'])} ({BACKENDS.get(model['backend'], model['backend'])}, {model['precision']})"


def _legend(models: list[str]) -> Html:
    """A short line in its model's colour for each."""
    keys = [
        tag("span", tag("svg", tag("line", x1=0, y1=6, x2=24, y2=6, class_=line_kind(i)), viewBox="0 0 24 12"), name)
        for i, name in enumerate(models)
    ]
    return tag("p", *keys, class_="keys")


def _chart(name: str, curves: list[dict[str, Any]], models: list[str]) -> Html:
    own = [curve for curve in curves if curve["corruption"] == name]
    severities = _severities(name, own)
    drawn = []
    for curve in own:
        rows = curve["rows"]
        if rows:
            low, high = np.array([row["interval"] for row in rows], np.float64).T
            places = np.array([severities.index(float(row["severity"])) for row in rows], np.float64)
            accuracy = np.array([row["accuracy"] for row in rows], np.float64)
            drawn.append(Curve(places, accuracy, low, high, line_kind(models.index(_name(curve)))))
    return share_chart(_title(name), [f"{severity:g}" for severity in severities], drawn)


def _title(name: str) -> str:
    """What a corruption does, with the unit of its severity."""
    title = CORRUPTIONS[name].title if name in CORRUPTIONS else name
    return title[:1].upper() + title[1:]


def _severities(name: str, curves: list[dict[str, Any]]) -> list[float]:
    """Those that were measured, from harmless to severe."""
    found = list(dict.fromkeys(float(row["severity"]) for curve in curves for row in curve["rows"]))
    known = CORRUPTIONS[name].severities if name in CORRUPTIONS else ()
    return sorted(found, key=lambda severity: known.index(severity) if severity in known else len(known))


def _numbers(names: Sequence[str], curves: list[dict[str, Any]], models: list[str]) -> Html:
    """Of each corruption a table with a row for each severity and a column for each model."""
    parts = []
    for name in names:
        own = [curve for curve in curves if curve["corruption"] == name]
        found = {(_name(curve), float(row["severity"])): row for curve in own for row in curve["rows"]}
        shown = [model for model in models if any(key[0] == model for key in found)]
        rows = [
            [f"{severity:g}", *(_cell(found.get((model, severity))) for model in shown)]
            for severity in _severities(name, own)
        ]
        parts += [
            tag("p", _title(name)),
            table(("severity", *(tag("span", model, class_="file") for model in shown)), rows),
        ]
    return tag("details", tag("summary", "The numbers of the curves"), *parts)


def _cell(row: dict[str, Any] | None) -> object:
    if row is None:
        return "–"
    return join([percent(row["accuracy"]), tag("span", span(row["interval"]), class_="sub")])


def _paired(values: dict[str, Any], models: list[str]) -> list[Html]:
    """The comparisons of each model with the reference."""
    parts: list[Html] = []
    for model in models:
        named = [
            (f"{curve['corruption']} {row['severity']:g}", row["against"])
            for curve in values["curves"]
            for row in curve["rows"]
            if _name(curve) == model and "against" in row
        ]
        if named:
            parts += [tag("p", tag("b", model)), paired_table(values["against"]["model"], named)]
    return [tag("details", tag("summary", "Paired comparisons"), *parts)] if parts else []
