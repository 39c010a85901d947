"""The paper's numbers beside ours, as rows of text and as a Markdown page."""

from typing import Any

from crosspoint.core import outputs

COMPARISON = ("method", "setting", "paper", "official", "clean", "± over")


def comparison_rows(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """The cells of every row, in the order of `COMPARISON`."""
    rows = []
    for row in result["rows"]:
        paper, ours = row["paper"], [row[rule] for rule in ("official", "clean")]
        over = "; ".join(dict.fromkeys(cell["over"] for cell in ours if cell is not None and cell["std"] is not None))
        first = "–" if paper is None else _value(paper["value"], paper["spread"])
        cells = ["–" if cell is None else _measured(cell) for cell in ours]
        rows.append((row["method"], row["setting"], first, *cells, over or "–"))
    return rows


def _measured(cell: dict[str, Any]) -> str:
    """A mean ± its deviation; where nothing was repeated, with its 95 % interval."""
    if cell["std"] is not None or cell["interval"] is None:
        return _value(cell["mean"], cell["std"])
    return f"{cell['mean']:.2f} (95 %: {cell['interval'][0]:.2f} … {cell['interval'][1]:.2f})"


def _value(value: float, spread: float | None) -> str:
    return f"{value:.2f}" if spread is None else f"{value:.2f} ± {spread:.2f}"


def markdown(result: dict[str, Any]) -> str:
    """A comparison as a Markdown page with its picture, its notes, its data and its models."""
    lines = [f"# {result['title']}", "", f"{outputs.COMPARISON}{result['source']}.", ""]
    lines += ["| " + " | ".join(COMPARISON) + " |", "| " + " | ".join("---" for _ in COMPARISON) + " |"]
    lines += ["| " + " | ".join(row) + " |" for row in comparison_rows(result)]
    lines += ["", f"![]({result['target']}.png)", ""]
    lines += [f"- **{rule}**: {meaning}" for rule, meaning in result["rules"].items()]
    lines += ["", "## To know", "", *(f"- {note}" for note in result["notes"]), "", "## Models", ""]
    for role, models in result["models"].items():
        lines += [f"- {role}: `{model['path']}`, SHA-256 {model['sha256']}" for model in models]
    lines += ["", "## Data", ""]
    lines += [f"- {known['name']}: {known['content']}. Source: {known['source']}" for known in result["needs"]["sets"]]
    return "\n".join([*lines, f"- Then: {result['needs']['then']}", ""])
