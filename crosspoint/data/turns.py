"""Objects turned about the vertical axis, for classifiers of objects that may face any way."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from crosspoint.data.points import Coordinates
from crosspoint.data.sources import Source


def turned(sources: Sequence[Source], degrees: float) -> list[Source]:
    """Sources whose clouds are turned about y, which points up, by an angle in degrees."""
    return [replace(source, read=partial(_read, source, degrees)) for source in sources]


def _read(source: Source, degrees: float) -> Coordinates:
    return turn(source.read(), degrees)


def turn(points: Coordinates, degrees: float) -> Coordinates:
    """Turn points `(…, 3)` about y by an angle in degrees; 90 takes z to x."""
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    rotation = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    found: Coordinates = (points @ rotation.T).astype(points.dtype)
    return found
