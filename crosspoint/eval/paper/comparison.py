"""Formats the paper's numbers beside ours, as rows of text and as a Markdown page."""

from crosspoint.core import outputs
from crosspoint.eval.paper.results import Cell, ReproduceResult

COMPARISON = ("method", "setting", "paper", "official", "clean", "± over")


def comparison_rows(result: ReproduceResult) -> list[tuple[str, ...]]:
    """The cells of every row, in the order of `COMPARISON`."""
    rows: list[tuple[str, ...]] = []
    for row in result.rows:
        repeated = [cell for cell in (row.official, row.clean) if cell is not None and cell.summary.std is not None]
        over = "; ".join(dict.fromkeys(cell.over for cell in repeated))
        paper = "–" if row.paper is None else _value(row.paper.value, row.paper.spread)
        rows.append((row.method, row.setting, paper, _measured(row.official), _measured(row.clean), over or "–"))
    return rows


def _measured(cell: Cell | None) -> str:
    """A mean ± its deviation; for a single run, with its 95 % interval."""
    if cell is None:
        return "–"
    if cell.summary.std is not None or cell.interval is None:
        with_n = "" if cell.std_n is None else f" ({cell.std_n:.2f} with n)"
        return _value(cell.summary.mean, cell.summary.std) + with_n
    return f"{cell.summary.mean:.2f} (95 %: {cell.interval[0]:.2f} … {cell.interval[1]:.2f})"


def _value(value: float, spread: float | None) -> str:
    return f"{value:.2f}" if spread is None else f"{value:.2f} ± {spread:.2f}"


def markdown(result: ReproduceResult) -> str:
    """A comparison as a Markdown page with its picture, its notes, its data and its models."""
    lines = [f"# {result.title}", "", f"{outputs.COMPARISON}{result.source}.", ""]
    lines += ["| " + " | ".join(COMPARISON) + " |", "| " + " | ".join("---" for _ in COMPARISON) + " |"]
    lines += ["| " + " | ".join(row) + " |" for row in comparison_rows(result)]
    lines += ["", f"![]({result.target}.png)", ""]
    lines += [f"- **{rule}**: {meaning}" for rule, meaning in result.rules.items()]
    lines += ["", "## To know", "", *(f"- {note}" for note in result.notes), "", "## Models", ""]
    for role, models in result.models.items():
        lines += [f"- {role}: `{model.about.path}`, SHA-256 {model.about.sha256}" for model in models]
    lines += ["", "## Data", ""]
    lines += [f"- {known.name}: {known.content}. Source: {known.source}" for known in result.needs.sets]
    return "\n".join([*lines, f"- Then: {result.needs.then}", ""])
