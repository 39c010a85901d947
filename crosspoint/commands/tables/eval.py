"""Results of evaluations as tables on standard output."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crosspoint.core.console import print_table
from crosspoint.eval.fewshot import FewShotResult
from crosspoint.eval.image.fewshot import ImageFewShotResult
from crosspoint.eval.metrics.statistics import Paired
from crosspoint.eval.paper.comparison import COMPARISON, comparison_rows
from crosspoint.eval.paper.results import ReproduceResult
from crosspoint.eval.robustness import RobustnessResult
from crosspoint.eval.svm import Accuracy, SvmResult

if TYPE_CHECKING:
    from crosspoint.parity.parity import EmbeddingErrors, ParityResult


def print_svm(result: SvmResult) -> None:
    """Print the accuracy of each class, then the accuracies by both rules."""

    def percent(value: float | None) -> str:
        return "–" if value is None else f"{value:.1%}"

    rows = [(r.name, r.objects, percent(r.official), percent(r.clean)) for r in result.per_class]
    print_table("Accuracy by class", ("class", "objects", "official", "clean"), rows=rows)
    official, clean, data = result.official, result.clean, result.data
    print_table(
        f"Linear SVM, {data.train} objects to train, {data.test} to test ({data.test_from})",
        ("protocol", "accuracy", "95 % interval", "std", "class mean", "C", "rule"),
        rows=(
            ("official", *_accuracy(official, None), f"{official.c:g}", official.rule),
            ("clean", *_accuracy(clean, clean.std), ", ".join(f"{run.c:.3g}" for run in clean.runs), clean.rule),
        ),
    )
    if (other := result.against) is not None:
        print_paired(other.model.path, [("official", other.official), ("clean", other.clean)])


def print_fewshot(result: FewShotResult) -> None:
    """Print one row for each kind of task."""
    rows = [
        [
            row.ways,
            row.shots,
            row.queries_from,
            f"{row.summary.mean:.2%}",
            _points(row.summary.std),
            _points(row.std_n),
            _points(row.summary.standard_error),
        ]
        for row in result.tasks
    ]
    title = f"Few-shot accuracy, {result.runs} tasks each, {result.queries} queries per class"
    print_table(title, ("ways", "shots", "queries from", "mean", "std, n − 1", "std, n", "standard error"), rows=rows)
    if result.against is not None:
        named = [(f"{r.ways}-way {r.shots}-shot, {r.queries_from}", r.against) for r in result.tasks]
        print_paired(result.against.model.path, named)


def print_paired(reference: str, rows: Sequence[tuple[str, Paired | None]]) -> None:
    """Print the paired comparison of two models, one row for each measurement that has one."""
    columns = ("measured", "reference", "model", "difference", "95 % interval", "equal predictions", "McNemar's p")
    print_table(
        f"Against {reference}, on the same objects", columns, rows=[(name, *_paired(row)) for name, row in rows if row]
    )


def _paired(row: Paired) -> tuple[str, ...]:
    return (
        f"{row.reference_accuracy:.2%}",
        f"{row.candidate_accuracy:.2%}",
        f"{100 * row.difference:+.2f} points",
        "–" if row.interval is None else _interval(row.interval),
        f"{row.equal_predictions:.2%}",
        f"{row.mcnemar_p:.3g}",
    )


def print_comparison(result: ReproduceResult) -> None:
    """Print the paper's numbers beside ours, in per cent, and the notes."""
    print_table(f"{result.title}, per cent", COMPARISON, rows=comparison_rows(result))


def print_robustness(result: RobustnessResult) -> None:
    """Print one row for each model and severity of each corruption."""
    rows = [
        (
            curve.corruption,
            f"{row.severity:g}",
            f"{Path(curve.model.path).name} ({curve.model.backend})",
            f"{row.accuracy:.2%}",
            _interval(row.interval),
            *(("–",) * 4 if row.against is None else _paired(row.against)[2:]),
        )
        for curve in result.curves
        for row in curve.rows
    ]
    other = ("difference", "its interval", "equal predictions", "McNemar's p")
    columns = ("corruption", "severity", "model", "accuracy", "95 % interval", *other)
    shown = 5 if result.against is None else len(columns)
    print_table("Robustness of linear-SVM accuracy", columns[:shown], rows=[row[:shown] for row in rows])


def print_image_fewshot(result: ImageFewShotResult) -> None:
    """Print one row for each method and number of shots."""
    rows = []
    for row in result.rows:
        cells = [f"{found.summary.mean:.2%}  {_interval(found.interval)}" for found in (row.official, row.clean)]
        rows.append((row.method, row.shots, *cells, f"{row.clean.c:g}"))
    title = f"{result.ways}-way tasks with pictures, {result.tasks} of each kind, accuracy and 95 % interval"
    print_table(title, ("method", "shots", "official (C = 1)", "clean", "C of clean"), rows=rows)
    if result.against is not None:
        named = [
            (f"{row.method}, {row.shots}-shot, {rule}", found.against)
            for row in result.rows
            for rule, found in (("official", row.official), ("clean", row.clean))
        ]
        print_paired(result.against.model.path, named)


def print_parity(result: "ParityResult") -> None:
    """Print the accuracies if there are labels, then the errors of the embeddings."""
    if result.task is not None:
        task = result.task.paired
        print_table(
            f"Linear SVM, {task.objects} objects to test ({result.data.source})",
            ("reference", "candidate", "difference", "95 % interval", "equal predictions", "McNemar's p"),
            rows=[_paired(task)],
        )
    print_table(
        "Embeddings, candidate against reference",
        ("clouds", "rel. L2 max", "p99", "median", "cosine min", "p1", "over 1e-4", "near ties"),
        rows=[_numeric(row) for row in result.numeric],
    )


def _numeric(row: "EmbeddingErrors") -> list[object]:
    errors, ties = row.errors, row.near_ties
    numbers = [f"{x:.1e}" for x in (errors.relative_l2_max, errors.relative_l2_p99, errors.relative_l2_median)]
    cosines = [f"{x:.7f}" for x in (errors.cosine_min, errors.cosine_p1)]
    counts = ["–", "–"] if ties is None else [ties.over_limit, ties.explained]
    return [row.clouds, *numbers, *cosines, *counts]


def print_skipped_files(skipped: Sequence[str]) -> None:
    """Print the data files that could not be used."""
    if skipped:
        print_table("Files skipped", ("reason",), rows=[(reason,) for reason in skipped])


def _accuracy(result: Accuracy, std: float | None) -> tuple[str, ...]:
    return f"{result.accuracy:.2%}", _interval(result.interval), _points(std), f"{result.class_accuracy:.2%}"


def _interval(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.2f} … {100 * interval[1]:.2f}"


def _points(value: float | None) -> str:
    return "–" if value is None else f"± {100 * value:.2f}"
