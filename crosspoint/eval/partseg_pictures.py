"""Draws part segmentation: true parts, predicted parts, and wrong points."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from crosspoint.core.files import atomic_file
from crosspoint.data.points import normalise
from crosspoint.data.sets.datasets import Taxonomy
from crosspoint.eval.metrics.miou import object_ious
from crosspoint.eval.segmentation_result import SegmentationResult

WORST = 12  # objects in the second picture
COLUMNS = 3  # objects in a row
AZIMUTH, ELEVATION = np.deg2rad(35.0), np.deg2rad(22.0)
COLOURS = (  # for the parts of a category, in order; they differ in hue and in lightness
    *("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377"),
    *("#ff9933", "#222255", "#99ddaa", "#884422", "#bb99dd", "#777777"),
)
RIGHT, WRONG = "#cccccc", "#cc2222"


def draw_results(segmented: SegmentationResult, taxonomy: Taxonomy, *, out: Path) -> None:
    """Draw `partseg.png`, with the object of median IoU for each category, and `partseg_worst.png`.

    Raises:
        InputError: `out` cannot be written to.
    """
    labels = segmented.clouds.labels
    scores = object_ious(
        segmented.clouds.parts, segmented.of_own, labels=labels, category_parts=taxonomy.category_parts
    ).of_objects
    typical = [_median(np.flatnonzero(labels == label), scores) for label in np.unique(labels)]
    worst = np.argsort(scores, kind="stable")[:WORST].tolist()
    draw(
        segmented,
        taxonomy,
        scores=scores,
        rows=typical,
        title="Of each category the object with the median IoU",
        path=out / "partseg.png",
    )
    draw(
        segmented,
        taxonomy,
        scores=scores,
        rows=worst,
        title="The objects with the lowest IoU",
        path=out / "partseg_worst.png",
    )


def _median(rows: NDArray[np.int64], scores: NDArray[np.float64]) -> int:
    return int(rows[np.argsort(scores[rows], kind="stable")[(len(rows) - 1) // 2]])


def draw(
    segmented: SegmentationResult,
    taxonomy: Taxonomy,
    *,
    scores: NDArray[np.float64],
    rows: Sequence[int],
    title: str,
    path: Path,
) -> None:
    """Draw some objects, three panels each, to a PNG.

    Args:
        segmented: Predictions of all objects.
        taxonomy: What the numbers mean.
        scores: `(n,)`, IoU of each object.
        rows: Indices of the objects to draw.
        title: Title of the picture.
        path: The PNG to write.
    """
    lines = -(-len(rows) // COLUMNS)
    figure = Figure(figsize=(5.4 * COLUMNS, 2.3 * lines + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{title}: truth, prediction, wrong points", fontsize=13)
    cells = figure.subfigures(lines, COLUMNS, squeeze=False, wspace=0.06)
    for place, row in enumerate(rows):
        label = int(segmented.clouds.labels[row])
        truth, predicted = segmented.clouds.parts[row], segmented.of_own[row]
        palette = {part: COLOURS[i % len(COLOURS)] for i, part in enumerate(taxonomy.category_parts[label])}
        coloured = (
            [palette.get(int(part), RIGHT) for part in truth],
            [palette[int(part)] for part in predicted],
            [RIGHT if right else WRONG for right in truth == predicted],
        )
        cell = cells.flat[place]
        cell.suptitle(f"{taxonomy.categories[label]}  {scores[row]:.1%}", fontsize=11)
        for axes, colours in zip(cell.subplots(1, 3), coloured, strict=True):
            _scatter(axes, segmented.clouds.points[row], colours)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")


def _scatter(axes: Axes, points: NDArray[np.float32], colours: Sequence[str]) -> None:
    """Points seen from the front right and above; near points cover far ones."""
    x, y, depth = project(normalise(points)).T
    order = np.argsort(depth)
    size = 1400 / len(points) + 1.5
    axes.scatter(x[order], y[order], s=size, c=[colours[i] for i in order], linewidths=0)
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.set_xlim(-1.02, 1.02)
    axes.set_ylim(-1.02, 1.02)


def project(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Right, up and towards the viewer, `(N, 3)`, for points with y up; turned by `AZIMUTH`, tilted by `ELEVATION`."""
    ca, sa, ce, se = np.cos(AZIMUTH), np.sin(AZIMUTH), np.cos(ELEVATION), np.sin(ELEVATION)
    right = np.array([ca, 0.0, -sa])
    up = np.array([-sa * se, ce, -ca * se])
    towards = np.array([sa * ce, se, ca * ce])
    seen: NDArray[np.float64] = points.astype(np.float64) @ np.stack([right, up, towards], axis=1)
    return seen
