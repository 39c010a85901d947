"""Results of evaluations as tables on standard output."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crosspoint.core import outputs
from crosspoint.core.console import print_table


def print_svm(result: dict[str, Any]) -> None:
    """Accuracy of each class, then both rules."""

    def percent(value: float | None) -> str:
        return "–" if value is None else f"{value:.1%}"

    rows = [(r["class"], r["objects"], percent(r["official"]), percent(r["clean"])) for r in result["per_class"]]
    print_table("Accuracy by class", ("class", "objects", "official", "clean"), rows)
    official, clean, data = result["official"], result["clean"], result["data"]
    print_table(
        f"Linear SVM, {data['train']} objects to train, {data['test']} to test ({data['test_from']})",
        ("protocol", "accuracy", "95 % interval", "std", "class mean", "C", "rule"),
        (
            ("official", *_accuracy(official), f"{official['C']:g}", official["rule"]),
            ("clean", *_accuracy(clean), ", ".join(f"{run['C']:.3g}" for run in clean["runs"]), clean["rule"]),
        ),
    )
    if "against" in result:
        other = result["against"]
        print_paired(other["model"]["path"], [(rule, other[rule]) for rule in ("official", "clean")])


def print_fewshot(result: dict[str, Any]) -> None:
    """One row for each kind of task."""
    rows = [
        [
            row["ways"],
            row["shots"],
            row["queries_from"],
            f"{row['mean']:.2%}",
            _points(row["std"]),
            _points(row["standard_error"]),
        ]
        for row in result["tasks"]
    ]
    title = f"Few-shot accuracy, {result['runs']} tasks each, {result['queries']} queries per class"
    print_table(title, ("ways", "shots", "queries from", "mean", "std", "standard error"), rows)
    if "against" in result:
        named = [(f"{r['ways']}-way {r['shots']}-shot, {r['queries_from']}", r["against"]) for r in result["tasks"]]
        print_paired(result["against"]["model"]["path"], named)


def print_paired(reference: str, rows: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """The paired comparison of two models, one row for each measurement."""
    columns = ("measured", "reference", "model", "difference", "95 % interval", "equal predictions", "McNemar's p")
    print_table(f"Against {reference}, on the same objects", columns, [(name, *_paired(row)) for name, row in rows])


def _paired(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{row['reference_accuracy']:.2%}",
        f"{row['candidate_accuracy']:.2%}",
        f"{100 * row['difference']:+.2f} points",
        "–" if row["interval"] is None else _interval(row["interval"]),
        f"{row['equal_predictions']:.2%}",
        f"{row['mcnemar_p']:.3g}",
    )


def print_comparison(result: dict[str, Any]) -> None:
    """The paper's numbers beside ours, in per cent, and what has to be known of them."""
    print_table(f"{result['title']}, per cent", COMPARISON, _comparison(result))


def print_robustness(result: dict[str, Any]) -> None:
    """One row for each model and severity of each corruption."""
    rows = [
        (
            curve["corruption"],
            f"{row['severity']:g}",
            f"{Path(curve['model']['path']).name} ({curve['model']['backend']})",
            f"{row['accuracy']:.2%}",
            _interval(row["interval"]),
            *(_paired(row["against"])[2:] if "against" in row else ("–",) * 4),
        )
        for curve in result["curves"]
        for row in curve["rows"]
    ]
    other = ("difference", "its interval", "equal predictions", "McNemar's p")
    columns = ("corruption", "severity", "model", "accuracy", "95 % interval", *other)
    shown = len(columns) if "against" in result else 5
    print_table("Robustness of linear-SVM accuracy", columns[:shown], [row[:shown] for row in rows])


def print_image_fewshot(result: dict[str, Any]) -> None:
    """One row for each method and number of shots."""
    rows = []
    for row in result["rows"]:
        cells = [f"{row[rule]['mean']:.2%}  {_interval(row[rule]['interval'])}" for rule in ("official", "clean")]
        rows.append((row["method"], row["shots"], *cells, f"{row['clean']['C']:g}"))
    title = f"{result['ways']}-way tasks with pictures, {result['tasks']} of each kind, accuracy and 95 % interval"
    print_table(title, ("method", "shots", "official (C = 1)", "clean", "C of clean"), rows)
    named = [
        (f"{row['method']}, {row['shots']}-shot, {rule}", row[rule]["against"])
        for row in result["rows"]
        for rule in ("official", "clean")
        if "against" in row[rule]
    ]
    if named:
        print_paired(result["against"]["model"]["path"], named)


COMPARISON = ("method", "setting", "paper", "official", "clean", "± over")


def _comparison(result: dict[str, Any]) -> list[tuple[str, ...]]:
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
    lines += ["| " + " | ".join(row) + " |" for row in _comparison(result)]
    lines += ["", f"![]({result['target']}.png)", ""]
    lines += [f"- **{rule}**: {meaning}" for rule, meaning in result["rules"].items()]
    lines += ["", "## To know", "", *(f"- {note}" for note in result["notes"]), "", "## Models", ""]
    for role, models in result["models"].items():
        lines += [f"- {role}: `{model['path']}`, SHA-256 {model['sha256']}" for model in models]
    lines += ["", "## Data", ""]
    lines += [f"- {known['name']}: {known['content']}. Source: {known['source']}" for known in result["needs"]["sets"]]
    return "\n".join([*lines, f"- Then: {result['needs']['then']}", ""])


def print_parity(result: dict[str, Any]) -> None:
    """Task parity where there is one, then the numbers, in the order of what matters."""
    task = result["task"]
    if task is not None:
        print_table(
            f"Linear SVM, {task['objects']} objects to test ({result['data']['source']})",
            ("reference", "candidate", "difference", "95 % interval", "equal predictions", "McNemar's p"),
            [_paired(task)],
        )
    print_table(
        "Embeddings, candidate against reference",
        ("clouds", "rel. L2 max", "p99", "median", "cosine min", "p1", "over 1e-4", "near ties"),
        [_numeric(row) for row in result["numeric"]],
    )


def _numeric(row: dict[str, Any]) -> list[object]:
    errors = [f"{row[name]:.1e}" for name in ("relative_l2_max", "relative_l2_p99", "relative_l2_median")]
    cosines = [f"{row[name]:.7f}" for name in ("cosine_min", "cosine_p1")]
    return [row["clouds"], *errors, *cosines, row.get("over_limit", "–"), row.get("explained", "–")]


def print_skipped(result: dict[str, Any]) -> None:
    """The files of the data that could not be used, if there are any."""
    skipped = result["data"]["skipped"]
    if skipped:
        print_table("Files skipped", ("reason",), [(reason,) for reason in skipped])


def verdict(gate: dict[str, Any]) -> str:
    """The gate in one line."""
    if gate["measured"] is None:
        return f"{gate['tier']}: not passed, the {gate['rule']} was not measured; give more labelled --data"
    worst = f" ({gate['worst']})" if "worst" in gate else ""
    judged = "passed" if gate["passed"] else f"not passed, would pass at {gate['would_pass_at']:.1e}"
    return f"{gate['tier']}: {gate['rule']} {gate['measured']:.2e}{worst}, limit {gate['limit']:g}: {judged}"


def _accuracy(result: dict[str, Any]) -> tuple[str, ...]:
    std = _points(result.get("std"))
    return f"{result['accuracy']:.2%}", _interval(result["interval"]), std, f"{result['class_accuracy']:.2%}"


def _interval(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.2f} … {100 * interval[1]:.2f}"


def _points(value: float | None) -> str:
    return "–" if value is None else f"± {100 * value:.2f}"
