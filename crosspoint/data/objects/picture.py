"""A scan from above with the boxes of its objects, drawn with matplotlib without a display."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from crosspoint.core.files import atomic_file
from crosspoint.data.frames import Up, to_y_up
from crosspoint.data.objects.find import GROUND, REST, SegmentedScan

SHOWN = 300_000  # points drawn at most, at equal distances in the file
NUMBERED = 300  # boxes that get a number; more would cover the scan
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf")
GROUND_COLOUR, REST_COLOUR, BOX_COLOUR = "#cccccc", "#8a8a8a", "#111111"
LONG_SIDE = 12.0  # inches


def draw_objects(points: npt.NDArray[Any], scene: SegmentedScan, *, up: Up, path: Path) -> None:
    """Draw a scan from above: ground light, what is no object grey, each object in a colour with its box and number.

    Args:
        points: (N, 3), the scan.
        scene: What `segment` found in it.
        up: Axis of the scan that points up.
        path: The PNG to write.
    """
    step = -(-len(points) // SHOWN)
    labels = scene.labels[::step]
    plan = _from_above(np.asarray(points[::step], np.float64), up)
    finite = np.isfinite(plan).all(axis=1)
    labels, plan = labels[finite], plan[finite]
    low, high = plan.min(axis=0), plan.max(axis=0)
    width, height = np.maximum(high - low, 1e-6) / max(float((high - low).max()), 1e-6) * LONG_SIDE
    figure = Figure(figsize=(max(width, 4.0) + 1.0, max(height, 4.0) + 1.0), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = np.array([*COLOURS, REST_COLOUR, GROUND_COLOUR])
    order = np.argsort(labels > REST, kind="stable")  # objects above the rest
    shades = np.where(labels == GROUND, len(COLOURS) + 1, np.where(labels < 0, len(COLOURS), labels % len(COLOURS)))
    axes.scatter(plan[order, 0], plan[order, 1], s=1.0, c=colours[shades[order]], linewidths=0, rasterized=True)
    boxes = [_from_above(np.array([one.lower, one.upper]), up) for one in scene.objects]
    corners = [(box.min(axis=0), box.max(axis=0)) for box in boxes]
    patches = [Rectangle(tuple(near), *(far - near)) for near, far in corners]
    axes.add_collection(PatchCollection(patches, facecolor="none", edgecolor=BOX_COLOUR, linewidth=0.9))
    for number, (near, far) in enumerate(corners[:NUMBERED], 1):
        axes.annotate(str(number), (near[0], far[1]), (1, 1), textcoords="offset points", fontsize=7, color=BOX_COLOUR)
    axes.set_aspect("equal")
    axes.set_xlabel("metres")
    axes.set_ylabel("metres")
    axes.set_title(f"{len(scene.objects)} objects in {scene.points:,} points, from above", fontsize=11)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _from_above(points: npt.NDArray[np.float64], up: Up) -> npt.NDArray[np.float64]:
    """Right and up on the page (N, 2); x and y of a z-up scan."""
    return np.asarray(to_y_up(points, up)[:, [0, 2]] * np.array([1.0, -1.0]))
