"""The tables of `docs/growth.md`, from what was measured."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crosspoint.core.errors import InputError
from crosspoint.core.reading import read_json, reading
from scaling.law import exponent, theory, upper
from scaling.work import Measured, Setting

TITLES = {"pointnet": "PointNet", "dgcnn": "DGCNN"}
DONE = {"embed": "embedding", "train": "training step"}
LINES = [(task, model) for task in DONE for model in TITLES]  # of the pictures and tables


@dataclass(frozen=True)
class Row:
    """A setting and what each round has measured."""

    setting: Setting
    rounds: tuple[Measured, ...]

    @property
    def measured(self) -> Measured:
        """The fastest round's time, since other work on the machine only adds to it; medians of memory."""
        return Measured(
            min(one.call_ms for one in self.rounds),
            statistics.median(one.peak_mb for one in self.rounds),
            statistics.median(one.work_mb for one in self.rounds),
        )

    def to_json(self) -> dict[str, Any]:
        """The setting, and beside it the rounds."""
        return {**asdict(self.setting), "rounds": [asdict(one) for one in self.rounds]}


def read_rows(file: Path) -> list[Row]:
    """The rows of a result of `benchmarks growth`.

    Raises:
        InputError: The file is none.
    """
    document = read_json(file, "a result of benchmarks growth")
    with reading(file, "a result of benchmarks growth"):
        if document["benchmark"] != "growth":
            raise InputError(f"is a result of {document['benchmark']}; give one of benchmarks growth --json")
        return [
            Row(
                Setting(**{name: value for name, value in row.items() if name != "rounds"}),
                tuple(Measured(**one) for one in row["rounds"]),
            )
            for row in document["rows"]
        ]


def along(rows: Iterable[Row], axis: str, *, task: str, model: str) -> list[Row]:
    """The rows in which one quantity alone varies, in its order: those that agree in the others most often."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if (row.setting.task, row.setting.model) == (task, model):
            others = tuple(value for name, value in asdict(row.setting).items() if name != axis)
            groups.setdefault(others, []).append(row)
    longest = max(groups.values(), key=len, default=[])
    return sorted(longest, key=lambda row: getattr(row.setting, axis))


def by_points(rows: Sequence[Row]) -> list[str]:
    """Time and memory by the number of points."""
    heads = [f"{TITLES[model]}, {DONE[task]}" for task, model in LINES]
    lines = [f"| points | {' | '.join(heads)} |", f"|{' --- |' * (len(heads) + 1)}"]
    columns = [{row.setting.points: row.measured for row in along(rows, "points", task=t, model=m)} for t, m in LINES]
    for points in sorted(set().union(*columns)):
        cells = [_cost(column[points]) if points in column else "" for column in columns]
        lines.append(f"| {points:,} | {' | '.join(cells)} |")
    return lines


def exponents(rows: Sequence[Row]) -> list[str]:
    """Fitted exponents beside those of the theory."""
    lines = ["| grows with | what | range | time, fitted | time, theory | memory, fitted | memory, theory |"]
    lines.append(f"|{' --- |' * 7}")
    for axis in ("points", "batch", "k"):
        for task, model in LINES:
            found = along(rows, axis, task=task, model=model)
            if len(found) < 3:
                continue
            sizes = [getattr(row.setting, axis) for row in found]
            time = exponent(sizes, [row.measured.call_ms for row in found])
            memory = exponent(sizes, [max(row.measured.work_mb, 0.001) for row in found])
            of_time, of_memory = theory(axis, task, model=model, sizes=sizes)
            lines.append(
                f"| {axis} | {TITLES[model]}, {DONE[task]} | {min(upper(sizes)):,} to {max(sizes):,} | {time:.2f} "
                f"| {of_time} | {memory:.2f} | {of_memory} |"
            )
    return lines


def together(rows: Sequence[Row]) -> list[str]:
    """Threads and processes: clouds a second, and the memory of all."""
    lines = ["| what | threads | processes | clouds/s | against one | peak, all processes |"]
    lines.append(f"|{' --- |' * 6}")
    for task, model in LINES:
        threads = along(rows, "threads", task=task, model=model)
        processes = [row for row in along(rows, "processes", task=task, model=model) if row.setting.processes > 1]
        first: float | None = None
        for row in [*threads, *processes]:
            rate = 1e3 * row.setting.batch * row.setting.processes / row.measured.call_ms
            first = first or rate
            lines.append(
                f"| {TITLES[model]}, {DONE[task]} | {row.setting.threads} | {row.setting.processes} | {rate:.1f} "
                f"| {rate / first:.2f} × | {row.measured.peak_mb:.0f} MB |"
            )
    return lines


def tables(rows: Sequence[Row]) -> list[list[str]]:
    """All of them, each as lines of Markdown."""
    return [by_points(rows), exponents(rows), together(rows)]


def _cost(measured: Measured) -> str:
    milliseconds = measured.call_ms
    time = f"{milliseconds:.1f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.2f} s"
    return f"{time}, {measured.peak_mb:,.0f} MB"
