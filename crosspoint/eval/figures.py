"""Pictures of results, drawn with matplotlib without a display."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from crosspoint.artefacts import atomic_file


def draw_confusion(counts: NDArray[np.int64], class_names: Sequence[str], title: str, path: Path) -> None:
    """Draw a confusion matrix as percentages of each true class, to a PNG that is legible for 40 classes.

    Args:
        counts: `(classes, classes)`; the row is the true class, the column the predicted one.
        class_names: By label.
        title: What the matrix is of.
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
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png", bbox_inches="tight")
