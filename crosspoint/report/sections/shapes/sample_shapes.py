"""Section: a few training objects, renderings beside the cloud."""

from pathlib import Path

import numpy as np
from markupsafe import Markup
from PIL import Image

from crosspoint.core.errors import InputError
from crosspoint.data.points import normalise
from crosspoint.data.sets.renders import PairedRenders
from crosspoint.report.html import data_uri, render
from crosspoint.report.missing import Missing, command
from crosspoint.report.pictures import draw_cloud, to_png
from crosspoint.report.read import Pieces

SAMPLES = 9
VIEWS, SIDE = 2, 160  # renderings per object, and their width and height in pixels
POINTS = 2048


def sample_shapes(pieces: Pieces) -> Markup | Missing:
    """The training data of one object from each of a few categories."""
    pairs = pieces.pairs
    if pairs is None:
        return Missing("sample shapes", command(pieces, "data make-shapes --out", Path("shapes")))
    shapes = []
    for i in _samples(pairs):
        try:
            shapes.append((pairs.keys[i], pairs.keys[i].split("/")[0], _views(pairs, i), _cloud(pairs, i)))
        except InputError as error:
            pieces.remarks.append(str(error))
    return render("sample_shapes", shapes=shapes, total=len(pairs), folder=pairs.root.name)


def _samples(pairs: PairedRenders) -> list[int]:
    """One object from each of a few categories, evenly spaced in the alphabet; more if there are few categories."""
    categories = [key.split("/")[0] for key in pairs.keys]
    first = [i for i in range(len(categories)) if i == 0 or categories[i] != categories[i - 1]]
    pool = first if len(first) >= SAMPLES else list(range(len(categories)))
    return [pool[i] for i in np.unique(np.linspace(0, len(pool) - 1, SAMPLES).astype(int))]


def _views(pairs: PairedRenders, i: int) -> list[str]:
    """Data URIs of an object's first renderings."""
    images = [Image.fromarray(pairs.image(i, view)) for view in range(min(VIEWS, pairs.views(i)))]
    for image in images:
        image.thumbnail((SIDE, SIDE))
    return [data_uri(to_png(image)) for image in images]


def _cloud(pairs: PairedRenders, i: int) -> str:
    return data_uri(draw_cloud(normalise(pairs.points(i))[:POINTS]))
