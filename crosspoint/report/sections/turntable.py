"""The report's turntable: clouds with their parts in colour, which turn by themselves and under the reader's finger."""

import base64

import numpy as np
from numpy.typing import NDArray

from crosspoint.data.points import normalise
from crosspoint.data.sets.datasets import PartClouds, PartSet
from crosspoint.report.charts import colour, draw_cloud
from crosspoint.report.html import Html, join, picture, tag
from crosspoint.report.read import Pieces
from crosspoint.report.sections.overview import Missing, command

SHAPES, POINTS = 12, 768


def parts_section(pieces: Pieces) -> Html | Missing:
    """One object of each of a few categories, its points coloured by part."""
    if pieces.parts is None:
        what = "a turntable of a cloud with its parts, which takes data in ShapeNetPart's format"
        return Missing(what, command(pieces, "data make-shapes --out SHAPES"))
    clouds = pieces.parts.train
    chosen = [int(np.flatnonzero(clouds.labels == label)[0]) for label in _categories(clouds)]
    note = (
        f"True parts of {len(chosen)} of {len(clouds.labels)} objects, one of a category. Drag to turn; "
        "the buttons choose the object."
    )
    return join([tag("p", note, class_="quiet"), turntable(pieces.parts, chosen)])


def _categories(clouds: PartClouds) -> NDArray[np.int64]:
    """At most SHAPES labels, evenly over those that have objects."""
    labels = np.unique(clouds.labels)
    kept: NDArray[np.int64] = labels[np.linspace(0, len(labels) - 1, min(SHAPES, len(labels))).astype(int)]
    return kept


def turntable(data: PartSet, chosen: list[int]) -> Html:
    """A canvas that turns the chosen training clouds, a button and a legend for each, and a still for paper."""
    points, parts = [], []
    for i in chosen:
        some = np.linspace(0, len(data.train.points[i]) - 1, POINTS).astype(int)
        points.append(normalise(data.train.points[i])[some])
        parts.append(_ranks(data, i)[some])
    buttons = [
        tag("button", _name(data, i), type="button", data_shape=number, aria_pressed=str(number == 0).lower())
        for number, i in enumerate(chosen)
    ]
    legends = [tag("span", *_legend(data, i), data_legend=number) for number, i in enumerate(chosen)]
    still = draw_cloud(points[0])
    return tag(
        "figure",
        tag("div", *buttons, class_="buttons"),
        tag("canvas", width=720, height=540, tabindex=0, role="img", aria_label="a cloud with its parts, turning"),
        picture(still, f"points of a {_name(data, chosen[0])}", class_="still"),
        tag("figcaption", *legends),
        class_="turntable",
        data_clouds=_bytes(np.rint((np.clip(np.stack(points), -1, 1) + 1) * 127.5)),
        data_parts=_bytes(np.stack(parts)),
        data_points=POINTS,
        data_colours="|".join(colour(rank) for rank in range(int(np.max(parts)) + 1)),
    )


def _name(data: PartSet, i: int) -> str:
    return str(data.taxonomy.categories[data.train.labels[i]]).replace("_", " ")


def _ranks(data: PartSet, i: int) -> NDArray[np.int64]:
    """The part of each point `(N,)`, counted within its category from 0."""
    own = np.array(sorted(data.taxonomy.category_parts[data.train.labels[i]]))
    ranks: NDArray[np.int64] = np.searchsorted(own, data.train.parts[i]).astype(np.int64)
    return ranks


def _legend(data: PartSet, i: int) -> list[Html]:
    own = sorted(data.taxonomy.category_parts[data.train.labels[i]])
    seen = set(_ranks(data, i).tolist())
    return [
        tag("span", tag("i", style=f"background:{colour(rank)}"), data.taxonomy.parts[part].rpartition("/")[2])
        for rank, part in enumerate(own)
        if rank in seen
    ]


def _bytes(values: NDArray[np.generic]) -> str:
    return base64.b64encode(values.astype(np.uint8).tobytes()).decode()
