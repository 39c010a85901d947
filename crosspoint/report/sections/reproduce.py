"""The report's section about the paper's tables and figures: its numbers beside ours."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crosspoint.report.charts import shrunk
from crosspoint.report.html import Html, badge, bar, join, table, tag
from crosspoint.report.read import Pieces, Result
from crosspoint.report.words import RULES, file_name, span


def reproduce_section(pieces: Pieces) -> Html:
    """Each table or figure that was reproduced: the paper's column, ours by both rules, and what has to be known."""
    shown = pieces.each(_distinct(pieces.of("reproduce")), lambda result: _target(result.values, result), named=False)
    note = "Per cent. What stands behind ± is a sample standard deviation, over what is written below it."
    return join([tag("p", note, class_="quiet"), shown]) if shown else Html()


def _distinct(results: list[Result]) -> list[Result]:
    """Tables before figures; of equal results, which --json and --out both write, the one beside its picture."""
    kept: list[Result] = []
    for result in sorted(results, key=lambda result: not _picture(result).is_file()):
        if all(result.values != other.values for other in kept):
            kept.append(result)
    return sorted(kept, key=lambda result: str(result.values.get("target")).replace("table", ""))


def _picture(result: Result) -> Path:
    return result.path.with_suffix(".png")


def _target(values: dict[str, Any], result: Result) -> Html:
    rows = [_row(row) for row in values["rows"]]
    drawn = shrunk(_picture(result), values["title"]) if values["target"] == "figure4" else None
    return join(
        [
            tag("h3", values["title"]),
            tag("p", _badge(values["data"])),
            table(("method", "paper", *RULES), rows),
            *filter(None, [drawn]),
            tag("ul", *(tag("li", note) for note in values["notes"]), class_="quiet"),
            _details(values),
        ]
    )


def _badge(data: Sequence[dict[str, Any]]) -> Html:
    if all(known["published"] for known in data):
        return badge("by counts and names the published data", "good")
    return badge("not the published set, so these numbers are not the paper's", "warn")


def _row(row: dict[str, Any]) -> list[object]:
    name = join([row["method"], tag("span", row["setting"], class_="sub whole")])
    return [name, _paper(row["paper"]), *(_cell(row[rule]) for rule in RULES)]


def _paper(number: dict[str, Any] | None) -> object:
    return "–" if number is None else bar(number["value"] / 100, _value(number["value"], number["spread"]), "paper")


def _cell(measured: dict[str, Any] | None) -> object:
    """A mean as a bar, what its ± is over, and the 95 % interval where there is one."""
    if measured is None:
        return "–"
    below = []
    if measured["std"] is not None:
        below.append(f"± over {measured['over']}")
    if measured["interval"] is not None:
        below.append(f"95 %: {span(measured['interval'], 1.0)}")
    drawn = bar(measured["mean"] / 100, _value(measured["mean"], measured["std"]))
    return join([drawn, *(tag("span", line, class_="sub") for line in below)])


def _value(value: float, spread: float | None) -> str:
    return f"{value:.1f}" if spread is None else f"{value:.1f} ± {spread:.1f}"


def _details(values: dict[str, Any]) -> Html:
    """What the rules mean, and which models were measured."""
    rules = [tag("li", tag("b", rule), f": {meaning}") for rule, meaning in values["rules"].items()]
    rules.insert(0, tag("li", tag("b", "paper"), f": {values['source']}"))
    models = [
        (
            role,
            tag(
                "div", file_name(model["path"]), tag("span", tag("code", model["sha256"]), class_="sub"), class_="file"
            ),
        )
        for role, own in values["models"].items()
        for model in own
    ]
    summary = tag("summary", "The rules, and the models that were measured")
    return tag("details", summary, tag("ul", *rules), table(("as", "model, SHA-256"), models))
