"""The measured speeds as a table and as a picture."""

from pathlib import Path

from crosspoint.core.console import print_table, say
from crosspoint.core.files import atomic_file
from crosspoint.runtime.bench.bench import BenchResult, BenchRow, CallRoofline
from crosspoint.runtime.bench.layers import LayerTable
from crosspoint.runtime.bench.roofline import CpuSpeed

COLUMNS = (
    "model",
    "engine",
    "device",
    "precision",
    "p50 ms",
    "p90",
    "p99",
    "clouds/s",
    "GFLOP/s",
    "memory MB",
    "first call ms",
)


def print_bench(result: BenchResult) -> None:
    """Print the table, the shortest possible times, and the models that were not run."""
    rows = result.rows
    cells = [
        (
            row.model,
            row.engine,
            row.device + (f", {row.threads} threads" if row.threads else ""),
            row.precision,
            *(f"{value:.2f}" for value in (row.p50_ms, row.p90_ms, row.p99_ms)),
            f"{row.clouds_per_second:.1f}",
            "" if row.gflops is None else f"{row.gflops:.0f}",
            "" if row.memory_bytes is None else f"{row.memory_bytes / 1e6:.0f}",
            f"{row.first_call_ms:.0f}",
        )
        for row in rows
    ]
    points = ", ".join(str(count) for count in sorted({row.points for row in rows}))
    print_table(f"{result.batch} clouds a call, {points} points, on {result.processor}", COLUMNS, rows=cells)
    for line in sorted({_floor(row, row.floor, result.machine) for row in rows if row.floor is not None}):
        print(line)
    for table in result.layers or ():
        _print_layers(table)
    for row in result.not_run:
        say(f"not run: {row.model} by {row.backend} on {row.device}: {row.reason}")


def _print_layers(table: LayerTable) -> None:
    cells = [
        (
            row.name,
            row.operator,
            row.precision,
            "" if row.ms is None else f"{row.ms:.3f}",
            "" if row.share is None else f"{row.share:.1%}",
        )
        for row in table.rows
    ]
    title = f"layers of {table.model} on {table.engine}, {table.device}: {table.source}"
    print_table(title, ("layer", "operator", "precision", "ms a call", "share"), rows=cells)


def _floor(row: BenchRow, floor: CallRoofline, machine: CpuSpeed | None) -> str:
    text = (
        f"{row.architecture}, {row.points} points, {row.precision} needs at least "
        f"{floor.operations / 1e9:.2f} GFLOP and {floor.bytes / 1e6:.2f} MB per cloud"
    )
    if floor.call_ms is None or machine is None:
        return text
    return (
        f"{text}: {floor.call_ms:.2f} ms per call at the {machine.gflops:.0f} GFLOP/s and "
        f"{machine.gigabytes:.0f} GB/s measured on {row.threads} threads of this CPU"
    )


def draw_bench(result: BenchResult, path: Path) -> None:
    """Draw a PNG with a bar for every row: median time of a call, p90 and p99, and the shortest possible time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = result.rows
    figure = Figure(figsize=(9, 1.6 + 0.75 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for i, row in enumerate(rows):
        axes.barh(i, row.p50_ms, height=0.55, color="#4c78a8")
        axes.plot([row.p50_ms, row.p99_ms], [i, i], color="0.25", linewidth=1)
        axes.plot([row.p90_ms], [i], "|", color="0.25", markersize=11)
        axes.plot([row.p99_ms], [i], "|", color="0.25", markersize=7)
        axes.annotate(
            f"{row.p50_ms:.1f} ms, {row.clouds_per_second:.3g} clouds/s",
            (row.p99_ms, i),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
        if row.floor is not None and row.floor.call_ms is not None:
            axes.plot([row.floor.call_ms] * 2, [i - 0.36, i + 0.36], color="#e45756", linewidth=2)
    axes.plot([], [], color="#e45756", linewidth=2, label="shortest time that this machine's peak speed allows")
    axes.plot([], [], "|", color="0.25", markersize=11, label="p90, p99")
    labels = [f"{Path(row.model).name}\n{row.engine}\n{row.device}, {row.precision}" for row in rows]
    axes.set_yticks(range(len(rows)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.3 * max(row.p99_ms for row in rows))
    axes.set_xlabel(f"median time of a call of {result.batch} clouds, ms")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.28 if len(rows) < 3 else -0.16), frameon=False, ncols=2)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png", bbox_inches="tight")
