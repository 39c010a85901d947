"""Draws a map: points in the plane, coloured and labelled by class; pointing at one shows its cloud."""

import base64
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from crosspoint.report.html import render

Floats = NDArray[np.float64]
SIZE = (1000, 760)


def scatter(places: Floats, classes: Sequence[str], *, clouds: Sequence[NDArray[np.float32] | None]) -> Markup:
    """Draw points at `places` (n, 2), coloured and labelled by class, with their clouds (P, 3) for pointing."""
    spread = np.maximum(np.ptp(places, axis=0), 1e-12)
    at: Floats = 30 + (places - places.min(axis=0)) / spread * (np.array(SIZE) - 60)  # (n, 2)
    colours = {name: colour(i) for i, name in enumerate(sorted(set(classes)))}
    shown = [cloud for cloud in clouds if cloud is not None]
    numbers = np.cumsum([cloud is not None for cloud in clouds]) - 1
    dots = [
        (x, y, name, colours[name], None if cloud is None else number)
        for (x, y), name, cloud, number in zip(at, classes, clouds, numbers, strict=True)
    ]
    named = [name for name in colours if name]
    middles = np.array([np.median(at[np.array(classes) == name], axis=0) for name in named]).reshape(-1, 2)
    above = middles - [0, 15]  # so that a name does not cover a small group
    spots = place_labels(above, [7.2 * len(name) + 6 for name in named], height=17, box=SIZE)
    return render(
        "scatter",
        size=SIZE,
        dots=dots,
        labels=[(x, y, name) for (x, y), name in zip(spots, named, strict=True)],
        clouds=packed(np.stack(shown)) if shown else "",
        points=len(shown[0]) if shown else 0,
    )


def colour(number: int) -> str:
    """The colour of a class; consecutive classes differ in hue, and all are legible on light and dark."""
    return f"hsl({number * 137.508 % 360:.0f} {(72, 50)[number % 2]}% {(46, 58, 52)[number % 3]}%)"


def packed(clouds: NDArray[np.float32]) -> str:
    """Clouds (n, P, 3) in the unit ball as base64 bytes, one after the other; 0 is −1, 255 is 1."""
    return base64.b64encode(np.rint((np.clip(clouds, -1, 1) + 1) * 127.5).astype(np.uint8).tobytes()).decode()


def place_labels(middles: Floats, widths: Sequence[float], *, height: float, box: tuple[int, int]) -> Floats:
    """Centres (n, 2) of labels near `middles` (n, 2), moved apart until none overlaps, inside `box`."""
    at: Floats = middles.astype(np.float64)
    half = np.array([[width / 2, height / 2] for width in widths]).reshape(-1, 2)
    for _ in range(300):
        moved = False
        for i in range(len(at)):
            for j in range(i):
                gap = at[i] - at[j]
                overlap = half[i] + half[j] - np.abs(gap)
                if (overlap <= 0).any():
                    continue
                axis = int(overlap[1] <= overlap[0])
                push = (overlap[axis] / 2 + 0.5) * (1.0 if gap[axis] >= 0 else -1.0)
                at[i, axis], at[j, axis], moved = at[i, axis] + push, at[j, axis] - push, True
        at = np.clip(at, half, np.array(box) - half)
        if not moved:
            break
    return at
