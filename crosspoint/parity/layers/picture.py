"""Draws the diagnosis: errors and right neighbours, layer by layer."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from crosspoint.core.files import atomic_file
from crosspoint.parity.layers.diagnosis import Diagnosis, LayerErrors, LayerResult

FLOOR = 1e-9  # height of a bar for zero
LEGEND = 2.6  # inches to the right of the axes
TOTAL, INTRODUCED, BAD = "#7f8c9b", "#1f5fa8", "#c0392b"


def draw_diagnosis(result: Diagnosis, path: Path) -> None:
    """Draw the result of `diagnose` to a PNG.

    Args:
        result: Of `diagnose`.
        path: The PNG to write.
    """
    layers = result.layers
    figure = Figure(figsize=(max(7.0, 1.15 * len(layers) + 2.5) + LEGEND, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    errors, shares = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _draw_errors(errors, layers, result.limits["introduced"])
    _draw_overlaps(shares, layers, result.limits["overlap"])
    labels = [layer.name for layer in layers]
    shares.set_xticks(range(len(labels)), labels)
    shares.set_xlim(-0.6, len(labels) - 0.4)
    for label, layer in zip(shares.get_xticklabels(), layers, strict=True):
        if layer.parts:
            label.set_color(BAD)
            label.set_fontweight("bold")
    errors.set_title(_title(result), loc="left")
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def _title(result: Diagnosis) -> str:
    """The first layer that differs, and its fault."""
    if result.passed or not result.causes:
        return "No difference between the layers" if result.passed else "The outputs differ"
    usual = {layer.name for layer in result.layers if _is_off(layer.usual, result.limits)}
    first = next((cause for cause in result.causes if cause.layer in usual), result.causes[0])
    return f"First difference at {first.layer}: {first.kind}"


def _is_off(layer: LayerErrors, limits: dict[str, float]) -> bool:
    share = layer.own_overlap_min
    return bool(layer.channel_max > limits["introduced"] or (share is not None and share < limits["overlap"]))


def _of(layer: LayerResult, clouds: str) -> LayerErrors:
    return layer.usual if clouds == "usual" else layer.hostile


def _draw_errors(axes: Axes, layers: list[LayerResult], limit: float) -> None:
    """Bars for what each layer adds, a line for the total; usual clouds filled, hostile ones hollow."""
    x = np.arange(len(layers))

    def values(clouds: str, name: str) -> list[float]:
        return [min(max(getattr(_of(layer, clouds), name), FLOOR), 1e9) for layer in layers]

    def colours(heights: list[float]) -> list[str]:
        return [INTRODUCED if height <= limit else BAD for height in heights]

    usual, hostile = values("usual", "channel_max"), values("hostile", "channel_max")
    axes.bar(x - 0.2, usual, 0.36, color=colours(usual))
    axes.bar(x + 0.2, hostile, 0.36, fill=False, edgecolor=colours(hostile))
    axes.bar(0, 0, color=INTRODUCED, label="added by the layer,\nworst channel")
    axes.bar(0, 0, fill=False, edgecolor=INTRODUCED, label="the same on hostile clouds")
    axes.plot(x, values("usual", "total_max"), "o-", color=TOTAL, label="gathered so far, relative L2")
    axes.axhline(
        limit, color="black", linewidth=0.8, linestyle="--", label=f"limit of what a layer\nmay add, {limit:g}"
    )
    axes.set_yscale("log")
    axes.set_ylim(bottom=FLOOR)
    axes.set_ylabel("error, worst cloud")
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    _legend(axes)


def _draw_overlaps(axes: Axes, layers: list[LayerResult], limit: float) -> None:
    """Shares of right neighbours, for the layers that have neighbours."""
    edges = [i for i, layer in enumerate(layers) if layer.usual.own_overlap_min is not None]
    axes.set_ylabel("right neighbours, %")
    if not edges:
        axes.text(0.5, 0.5, "no layer with neighbours to be seen", ha="center", va="center", transform=axes.transAxes)
        axes.set_yticks([])
        return
    series = (
        ("usual", "own_overlap_min", "on equal features", INTRODUCED, "s-"),
        ("hostile", "own_overlap_min", "on equal features,\nhostile clouds", INTRODUCED, "s:"),
        ("usual", "overlap_min", "on the features that it has", TOTAL, "o-"),
    )
    lowest = 100 * limit
    for clouds, name, label, colour, style in series:
        shares = [100 * getattr(_of(layers[i], clouds), name) for i in edges]
        lowest = min(lowest, *shares)
        axes.plot(
            edges, shares, style, color=colour, label=label, markersize=5, fillstyle="none" if ":" in style else "full"
        )
        low = [(i, share) for i, share in zip(edges, shares, strict=True) if share < 100 * limit and "own" in name]
        axes.plot([i for i, _ in low], [share for _, share in low], "s", color=BAD, markersize=7, zorder=3)
    axes.plot([], [], "s", color=BAD, markersize=7, label=f"fewer than {100 * limit:g} %")
    axes.axhline(100 * limit, color="black", linewidth=0.8, linestyle="--")
    axes.set_ylim(max(0.0, lowest - 0.15 * (100 - lowest)), 100 + 0.05 * (100 - lowest) + 0.02)
    axes.grid(axis="y", color="0.9")
    _legend(axes)


def _legend(axes: Axes) -> None:
    """Draw the legend to the right of the axes, where it covers nothing."""
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0), borderaxespad=0.0, frameon=False)
