"""The report's section about speed: percentiles of a call, throughput and memory, beside what they take at least."""

import shlex
from pathlib import Path
from typing import Any

from crosspoint.report.html import Html, bar, join, table, tag
from crosspoint.report.read import Pieces
from crosspoint.report.sections.overview import Missing, command
from crosspoint.report.words import BACKENDS, file_name

COLUMNS = ("model", "p50, ms", "p90", "p99", "clouds/s", "memory, MB", "floor, ms", "first call, ms")


def speed_section(pieces: Pieces) -> Html | Missing:
    """A table of each measurement, and what could not be run and why."""
    if not pieces.of("bench") and pieces.bundle is not None:
        words = ("bench", shlex.quote(str(pieces.bundle)), "--json", Path("results/bench.json"))
        return Missing("speed of the exported model", command(pieces, *words))
    return pieces.each(pieces.of("bench"), lambda result: _speed(result.values))


def _speed(values: dict[str, Any]) -> Html:
    rows = values["rows"]
    counts = ", ".join(str(count) for count in sorted({row["points"] for row in rows}))
    note = (
        f"{values['batch']} clouds a call, {counts} points each, on {values['processor']}. All models were open at "
        "once and called in turns; a call goes from array to array."
    )
    slowest, fastest = max(row["p50_ms"] for row in rows), max(row["clouds_per_second"] for row in rows)
    cells = [_row(row, slowest, fastest) for row in rows]
    parts = [tag("p", note, class_="quiet"), table(COLUMNS, cells), *_floors(values)]
    return join([*parts, *_not_run(values["not_run"])])


def _row(row: dict[str, Any], slowest: float, fastest: float) -> list[object]:
    """The bars are of the slowest call and of the greatest throughput."""
    floor, memory, rate = row["floor"], row["memory_bytes"], row["clouds_per_second"]
    least = None if floor is None else floor["call_ms"]
    return [
        _model(row),
        bar(row["p50_ms"] / slowest, f"{row['p50_ms']:.2f}"),
        *(f"{row[f'p{q}_ms']:.2f}" for q in (90, 99)),
        bar(rate / fastest, f"{rate:,.1f}"),
        "–" if memory is None else f"{memory / 1e6:,.0f}",
        "–" if least is None else f"{least:.2f}",
        f"{row['first_call_ms']:.1f}",
    ]


def _model(row: dict[str, Any]) -> Html:
    """A model's file, what ran it and where, and how often it was called."""
    on = row["device"] + (f", {_threads(row['threads'])}" if row["threads"] else "")
    lines = (row["engine"], f"{on}, {row['precision']}", f"{row['architecture']}, {row['calls']} calls")
    return tag("div", file_name(row["model"]), *(tag("span", line, class_="sub") for line in lines), class_="file")


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _floors(values: dict[str, Any]) -> list[Html]:
    """What the floors are made of."""
    rows = {
        (
            row["architecture"],
            row["points"],
            row["precision"],
            f"{row['floor']['operations'] / 1e9:.3f}",
            f"{row['floor']['bytes'] / 1e6:.3f}",
        )
        for row in values["rows"]
        if row["floor"] is not None
    }
    if not rows:
        return []
    machine = values["machine"]
    note = "The floor is the least that an exact evaluation takes: its matrix products, and every number moved once."
    if machine is not None:
        note += (
            f" In time it is what this CPU takes for them on {_threads(values['threads'])}, at the measured "
            f"{machine['gflops']:,.0f} GFLOP/s and {machine['gigabytes']:,.0f} GB/s."
        )
    columns = ("architecture", "points", "precision", "GFLOP a cloud", "MB a cloud")
    shown = table(columns, sorted(rows))
    return [tag("details", tag("summary", "What the floor is"), tag("p", note), shown)]


def _not_run(failures: list[dict[str, Any]]) -> list[Html]:
    if not failures:
        return []
    rows = [
        (
            tag("div", file_name(each["model"]), class_="file"),
            BACKENDS.get(each["backend"], each["backend"]),
            each["device"],
            each["reason"],
        )
        for each in failures
    ]
    return [tag("h3", "What could not be run"), table(("model", "backend", "device", "why"), rows)]
