"""Draws results with matplotlib, without a display."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from crosspoint.core.files import atomic_file
from crosspoint.eval.curve import SeverityCurve
from crosspoint.eval.metrics.calibration import CalibrationBin
from crosspoint.eval.paper.published import Number
from crosspoint.eval.paper.results import Cell, TableRow
from crosspoint.eval.tsne import Panel

COLUMNS = {
    "paper": ("0.65", "paper"),
    "official": ("tab:blue", "official: ours by the paper's rule"),
    "clean": ("tab:orange", "clean: ours, nothing chosen on tested objects"),
}
"""Colours of the columns of a comparison, and their text in the legend."""


def draw_confusion(counts: NDArray[np.int64], class_names: Sequence[str], *, title: str, path: Path) -> None:
    """Draw a confusion matrix in per cent of each true class to a PNG; 40 classes are legible.

    Args:
        counts: `(classes, classes)`; rows are true classes, columns are predicted classes.
        class_names: Class names, by label.
        title: Title of the picture.
        path: The PNG to write.
    """
    totals = counts.sum(axis=1, keepdims=True)
    percent = 100 * counts / np.maximum(totals, 1)  # (classes, classes)
    side = max(6.0, 0.36 * len(class_names) + 3.0)
    figure = Figure(figsize=(side, side), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.6)
    names = [name.replace("_", " ") for name in class_names]
    labels = [f"{name} ({total})" for name, total in zip(names, totals[:, 0], strict=True)]
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), labels)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class (objects)")
    axes.set_title(title, fontsize=11)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    for row, column in np.argwhere(percent >= 0.5):
        value = percent[row, column]
        colour = "white" if value > 55 else "black"
        axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour)
    _save(figure, path)


def draw_comparison(rows: Sequence[TableRow], title: str, *, path: Path) -> None:
    """Draw the rows of a table as bars, the paper's number beside ours.

    A line at the end of a bar is ± one standard deviation; for a single run it is the 95 % interval.

    Args:
        rows: Rows of the table.
        title: Title of the picture.
        path: The PNG to write.
    """
    figure = Figure(figsize=(8.5, 1.6 + 0.62 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = [f"{row.method}\n{row.setting}" for row in rows]
    places = np.arange(len(rows), dtype=np.float64)
    for number, (column, (colour, label)) in enumerate(COLUMNS.items()):
        cells = [(place, getattr(row, column)) for place, row in zip(places, rows, strict=True)]
        shown = [(place, *_bar(cell)) for place, cell in cells if cell is not None]
        if not shown:
            continue
        at = [place + 0.27 * (number - 1) for place, *_ in shown]
        values = [value for _, value, *_ in shown]
        errors = np.array([ends for *_, ends in shown]).T  # (2, bars)
        axes.barh(at, values, 0.25, xerr=errors, color=colour, label=label, error_kw={"elinewidth": 1})
        for y, x, error in zip(at, values, errors[1], strict=True):
            axes.text(x + error + 0.8, y, f"{x:.1f}", va="center", fontsize=8)
    axes.set_yticks(places, names, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 108)
    axes.set_xlabel("per cent, ± standard deviation; of a single run the 95 % interval")
    axes.set_title(title, fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    _save(figure, path)


def _bar(cell: Number | Cell) -> tuple[float, tuple[float, float]]:
    """Length of a bar, and how far its line reaches to the left and to the right."""
    if isinstance(cell, Number):
        return cell.value, (cell.spread or 0.0,) * 2
    mean, std = cell.summary.mean, cell.summary.std
    if std is not None or cell.interval is None:
        return mean, (std or 0.0,) * 2
    low, high = cell.interval
    return mean, (mean - low, high - mean)


def draw_panels(panels: Sequence[Panel], class_names: Sequence[str], *, path: Path) -> None:
    """Draw objects as points in the plane, coloured by class, with one panel per model."""
    figure = Figure(figsize=(4.6 * len(panels), 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        for label, name in enumerate(class_names):
            own = panel.places[panel.labels == label]
            shown = name.replace("_", " ")
            axes.scatter(own[:, 0], own[:, 1], s=9, color=f"C{label}", label=shown, linewidths=0)
        axes.set_title(f"{panel.title}: {panel.accuracy:.1%} of nearest neighbours' votes right", fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_box_aspect(1)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4 if len(panels) == 1 else 5, frameon=False)
    _save(figure, path)


def draw_calibration(bins: Sequence[CalibrationBin], title: str, *, path: Path) -> None:
    """Draw accuracy over probability in bins, beside the diagonal of a classifier that can be believed.

    Args:
        bins: Of `calibration_curve`.
        title: Of the picture.
        path: The PNG to write.
    """
    figure = Figure(figsize=(5.6, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    filled = [entry for entry in bins if entry.objects]
    places = [100 * (entry.low + entry.high) / 2 for entry in filled]
    axes.bar(places, [100 * (entry.accuracy or 0.0) for entry in filled], width=9, color="#76b900", label="accuracy")
    axes.plot([0, 100], [0, 100], color="0.4", linewidth=1, label="as probable as right")
    for entry, place in zip(filled, places, strict=True):
        axes.text(place, 100 * (entry.accuracy or 0.0) + 1, str(entry.objects), ha="center", fontsize=8)
    axes.set(xlim=(0, 100), ylim=(0, 106), title=title)
    axes.set(xlabel="probability of the best class [%]", ylabel="accuracy [%]")
    axes.legend(loc="upper left")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png", bbox_inches="tight")


def draw_curves(curves: Sequence[SeverityCurve], titles: dict[str, str], *, path: Path) -> None:
    """Draw accuracy over severity with 95 % intervals: a panel per corruption, a line per model.

    Severities are evenly spaced, the mildest on the left.

    Args:
        curves: Curves of `crosspoint.eval.robustness.robustness`.
        titles: Title of each corruption.
        path: The PNG to write.
    """
    columns = min(3, len(titles))
    lines = -(-len(titles) // columns)
    figure = Figure(figsize=(4.4 * columns, 3.4 * lines + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = np.atleast_1d(figure.subplots(lines, columns, squeeze=False)).ravel()
    models = list(dict.fromkeys(_model_name(curve) for curve in curves))
    for axes, (name, title) in zip(grid, titles.items(), strict=False):
        for curve in (curve for curve in curves if curve.corruption == name):
            rows, model = curve.rows, _model_name(curve)
            colour = f"C{models.index(model)}"
            accuracy = np.array([row.accuracy for row in rows])
            low, high = np.array([row.interval for row in rows]).T
            axes.plot(range(len(rows)), 100 * accuracy, "o-", color=colour, markersize=4, label=model)
            axes.fill_between(range(len(rows)), 100 * low, 100 * high, color=colour, alpha=0.15, linewidth=0)
            axes.set_xticks(range(len(rows)), [f"{row.severity:g}" for row in rows])
        axes.set_ylim(0, 100)
        axes.set_xlabel(title)
        axes.set_ylabel("accuracy, %")
        axes.grid(alpha=0.3)
    for axes in grid[len(titles) :]:
        axes.set_axis_off()
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(models)), frameon=False)
    _save(figure, path)


def _model_name(curve: SeverityCurve) -> str:
    path = Path(curve.model.path)
    return f"{path.parent.name}/{path.name} ({curve.model.backend}, {curve.model.precision})"
