"""Section: clouds with coloured parts that rotate, and that the reader can turn."""

import base64

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from crosspoint.data.points import normalise
from crosspoint.data.sets.datasets import PartClouds, PartSet
from crosspoint.report.html import data_uri, render
from crosspoint.report.missing import Missing, command
from crosspoint.report.pictures import draw_cloud
from crosspoint.report.read import Pieces
from crosspoint.report.scatter import colour, packed

SHAPES, POINTS = 12, 768


def turntable(pieces: Pieces) -> Markup | Missing:
    """One object from each of a few categories, its points coloured by part."""
    data = pieces.parts
    if data is None:
        what = "a turntable of a cloud with its parts, which takes data in ShapeNetPart's format"
        return Missing(what, command(pieces, "data make-shapes --out SHAPES"))
    chosen = [int(np.flatnonzero(data.train.labels == label)[0]) for label in _categories(data.train)]
    some = [np.linspace(0, len(data.train.points[i]) - 1, POINTS).astype(int) for i in chosen]
    points = [normalise(data.train.points[i])[rows] for i, rows in zip(chosen, some, strict=True)]
    parts = np.stack([_ranks(data, i)[rows] for i, rows in zip(chosen, some, strict=True)])  # (shapes, POINTS)
    return render(
        "turntable",
        names=[data.taxonomy.categories[data.train.labels[i]].replace("_", " ") for i in chosen],
        legends=[_legend(data, i) for i in chosen],
        total=len(data.train.labels),
        still=data_uri(draw_cloud(points[0])),
        clouds=packed(np.stack(points)),
        parts=base64.b64encode(parts.astype(np.uint8).tobytes()).decode(),
        points=POINTS,
        colours=[colour(rank) for rank in range(int(parts.max()) + 1)],
    )


def _categories(clouds: PartClouds) -> NDArray[np.int64]:
    """At most SHAPES labels, evenly spaced over the categories that have objects."""
    labels = np.unique(clouds.labels)
    kept: NDArray[np.int64] = labels[np.linspace(0, len(labels) - 1, min(SHAPES, len(labels))).astype(int)]
    return kept


def _ranks(data: PartSet, i: int) -> NDArray[np.int64]:
    """The part of each point `(N,)`, counted from 0 within its category."""
    own = np.array(sorted(data.taxonomy.category_parts[data.train.labels[i]]))
    ranks: NDArray[np.int64] = np.searchsorted(own, data.train.parts[i]).astype(np.int64)
    return ranks


def _legend(data: PartSet, i: int) -> list[tuple[str, str]]:
    """Colour and name of each part of an object."""
    own = sorted(data.taxonomy.category_parts[data.train.labels[i]])
    seen = set(_ranks(data, i).tolist())
    parts = data.taxonomy.parts
    return [(colour(rank), parts[part].rpartition("/")[2]) for rank, part in enumerate(own) if rank in seen]
