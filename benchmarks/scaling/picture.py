"""Draws time and memory over the number of points, both axes logarithmic."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib

from scaling.law import exponent, upper
from scaling.tables import DONE, LINES, TITLES, Row, along

matplotlib.use("Agg")
import matplotlib.pyplot as plt

STYLES = {
    ("embed", "pointnet"): ("C0", "o"),
    ("embed", "dgcnn"): ("C1", "s"),
    ("train", "pointnet"): ("C2", "^"),
    ("train", "dgcnn"): ("C3", "D"),
}


def draw(rows: Sequence[Row], out: Path) -> None:
    """Two panels, time of a call and memory; each line says its fitted exponent over the upper range."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 5), constrained_layout=True)
    for axis, (field, label) in zip(
        axes, (("call_ms", "milliseconds of a call"), ("work_mb", "MB beyond the opened model")), strict=True
    ):
        for task, model in LINES:
            found = along(rows, "points", task=task, model=model)
            sizes = [row.setting.points for row in found]
            costs = [getattr(row.measured, field) for row in found]
            colour, marker = STYLES[task, model]
            name = f"{TITLES[model]}, {DONE[task]}: N^{exponent(sizes, costs):.2f}"
            axis.plot(sizes, costs, color=colour, marker=marker, markersize=5, label=name)
        low, high = min(upper(sizes)), max(sizes)
        start = axis.get_ylim()[1] if field == "work_mb" else max(costs) / 40
        for power in (1, 2):
            line = [start / 10, start / 10 * (high / low) ** power]
            axis.plot([low, high], line, color="0.5", linestyle=":", linewidth=1)
            axis.annotate(f"N^{power}", (high, line[1]), color="0.4", fontsize=9)
        axis.set(xscale="log", yscale="log", xlabel="points N", ylabel=label)
        axis.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=30, fontsize=8)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(out, dpi=110)
    plt.close(figure)
