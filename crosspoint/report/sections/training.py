"""Section: losses and metrics of the embedding over the training steps."""

from pathlib import Path

import numpy as np
from markupsafe import Markup

from crosspoint.report.charts import line_chart
from crosspoint.report.html import render
from crosspoint.report.missing import Missing, command
from crosspoint.report.read import Pieces

CHARTS = {
    "Loss": (
        ("loss", "loss_imid", "loss_cmid", "loss_first", "loss_second"),
        "what is minimised; its parts within and across modalities, or of the two views beside a teacher",
    ),
    "Alignment": (("alignment",), "squared distance of an object's two views; 0 is equal"),
    "Uniformity": (("uniformity",), "the lower, the more evenly embeddings fill the sphere"),
    "Spread": (("spread",), "1 is a uniform sphere, 0 a collapsed embedding"),
    "Linear probe": (("probe_accuracy",), "share of held-out objects that a linear SVM gets right"),
    "Objects per second": (("objects_per_second",), "speed of training"),
}


def training(pieces: Pieces) -> Markup | Missing:
    """A chart for each group of metrics that the run recorded."""
    if not pieces.metrics:
        return Missing("curves of the training", command(pieces, "train --data PAIRS --out", Path("run")))
    charts = []
    for title, (names, note) in CHARTS.items():
        recorded = [name for name in names if any(name in row for row in pieces.metrics)]
        if recorded:
            rows = [row for row in pieces.metrics if all(name in row for name in recorded)]
            step = np.array([row["step"] for row in rows])
            charts.append(
                line_chart(title, note, step=step, series={n: np.array([row[n] for row in rows]) for n in recorded})
            )
    return render("training", steps=pieces.metrics[-1]["step"], device=pieces.config.device, charts=charts)
