"""Section: latency percentiles, throughput and memory, beside the shortest possible time."""

import shlex
from pathlib import Path

from markupsafe import Markup

from crosspoint.report.html import render
from crosspoint.report.missing import Missing, command
from crosspoint.report.read import Found, Pieces
from crosspoint.report.words import backend_name
from crosspoint.runtime.bench.bench import BenchResult


def speed(pieces: Pieces) -> Markup | Missing:
    """A table for each measurement, and what could not be run, with the reason."""
    if not pieces.of(BenchResult) and pieces.bundle is not None:
        words = ("bench", shlex.quote(str(pieces.bundle)), "--json", Path("results/bench.json"))
        return Missing("speed of the exported model", command(pieces, *words))
    return pieces.each(BenchResult, _speed)


def _speed(found: Found[BenchResult]) -> Markup:
    result = found.values
    return render(
        "speed",
        result=result,
        points=", ".join(str(count) for count in sorted({row.points for row in result.rows})),
        slowest=max(row.p50_ms for row in result.rows),
        fastest=max(row.clouds_per_second for row in result.rows),
        floors=sorted(
            {
                (row.architecture, row.points, row.precision, row.floor.operations / 1e9, row.floor.bytes / 1e6)
                for row in result.rows
                if row.floor is not None
            }
        ),
        not_run=[(each, backend_name(each.backend)) for each in result.not_run],
    )
