"""Finds which points of a cloud a sensor sees, without a surface: hidden point removal.

Katz, Tal and Basri, "Direct visibility of point sets", SIGGRAPH 2007.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

FLIP = 1 / 100  # of the flipping sphere's radius, see `visible`; sees as many points as a ray caster does

Array = npt.NDArray[Any]


def visible(points: Array, sensor: Array) -> npt.NDArray[np.bool_]:
    """Find which points a sensor sees.

    A point q, relative to the sensor, becomes `q (2R − |q|) / |q|`: the cloud is turned inside out, near points become
    far. q is visible if this is a corner of the convex hull of all such points and the sensor. A larger R makes more
    points visible: on slanted surfaces, and on surfaces behind. The gaps between points, seen from the sensor, shrink
    with their number and with its distance, so `R = FLIP · N · distance² / extent`.

    Args:
        points: (N, 3), in any unit.
        sensor: (3,), not one of the points.

    Returns:
        (N,) bool. Equal points get the same answer. If there are too few points for a hull, all are visible.
    """
    from scipy.spatial import ConvexHull, QhullError

    distinct, places = np.unique(np.asarray(points, np.float64), axis=0, return_inverse=True)
    sensor = np.asarray(sensor, np.float64)
    rays = distinct - sensor  # (M, 3)
    length = np.linalg.norm(rays, axis=1, keepdims=True)  # (M, 1)
    centre = distinct.mean(axis=0)
    extent = np.linalg.norm(distinct - centre, axis=1).max()
    distance = max(float(np.linalg.norm(sensor - centre)), float(extent))
    radius = max(FLIP * len(distinct) * distance**2 / max(float(extent), 1e-30), length.max())  # Katz's R
    flipped = rays * (2 * radius / length - 1)  # (M, 3)
    try:
        corners = ConvexHull(np.vstack([flipped, np.zeros(3)])).vertices
    except (QhullError, ValueError):  # they lie in one plane
        return np.ones(len(points), np.bool_)
    seen = np.zeros(len(distinct) + 1, np.bool_)
    seen[corners] = True
    found: npt.NDArray[np.bool_] = seen[places.reshape(-1)]
    return found
