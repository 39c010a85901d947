"""Polygons as triangles, those with hollows too."""

from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE
from crosspoint.data.io.rows import Rows

MOST_WORK = 5e8  # squares of the corners of all concave polygons; 10 s where outlines cross themselves throughout
FLAT = 1e-9  # of the largest triangle of a fan; smaller ones turn neither way


def triangulate(vertices: npt.NDArray[Any], polygons: Rows) -> npt.NDArray[np.int64]:
    """Triangles that cover each polygon once: n - 2 of n corners, in the polygons' order.

    Polygons become a fan from their first corner where that covers them once, as it does convex ones; the others what
    clipping their ears makes (mapbox_earcut), in the plane that they lie in best: across Newell's normal, the sum of
    the cross products of successive corners.

    Args:
        vertices: (V, 3).
        polygons: The corners of each, indices of vertices. Of fewer than three corners there is no triangle.

    Returns:
        (F, 3).

    Raises:
        InputError: A corner is no vertex, or concave polygons have too many corners.
    """
    corners, lengths = polygons
    if len(corners) and (corners.min() < 0 or corners.max() >= len(vertices)):
        wrong = corners.min() if corners.min() < 0 else corners.max()
        raise InputError(f"has a face with vertex {wrong}, but {len(vertices)} vertices; {ADVICE}")
    if len(lengths) and (lengths == 3).all():
        return corners.reshape(-1, 3).astype(np.int64, copy=False)
    counts = np.maximum(lengths - 2, 0)  # triangles of each
    ends, starts = np.cumsum(counts), np.cumsum(lengths) - lengths
    result, work = np.full((int(counts.sum()), 3), -1), 0
    for length in np.unique(lengths[lengths > 2]).tolist():
        (rows,) = np.nonzero(lengths == length)
        same = corners[starts[rows][:, None] + np.arange(length)]  # (n, length)
        fan = np.stack([np.zeros(length - 2, int), np.arange(1, length - 1), np.arange(2, length)], axis=-1)
        if length == 4:
            fan[1] = 2, 3, 0
        places = (ends - counts)[rows][:, None] + np.arange(length - 2)  # (n, length - 2)
        result[places] = same[:, fan]
        if length > 3:
            others = np.nonzero(~_is_fan(vertices, same))[0].tolist()
            work += length**2 * len(others)
            if work > MOST_WORK:
                raise InputError("has concave polygons of too many corners to divide; save it as triangles")
            for row in others:
                found = _clip(vertices[same[row]])  # (t, 3), t at most length - 2
                result[places[row]] = -1
                result[places[row][: len(found)]] = same[row][found]
    return result[result[:, 0] >= 0]


def _is_fan(vertices: npt.NDArray[Any], polygons: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which polygons (n, k) the fan from their first corner covers once: its triangles turn the same way; (n,)."""
    step = max(1, (1 << 17) // polygons.shape[1])  # polygons whose corners are looked at together
    fans = np.empty(len(polygons), bool)
    for start in range(0, len(polygons), step):
        points = np.asarray(vertices[polygons[start : start + step]], np.float64)  # (n, k, 3)
        spokes = points[:, 1:] - points[:, :1]  # (n, k - 1, 3)
        turns = np.cross(
            spokes[:, :-1], spokes[:, 1:]
        )  # (n, k - 2, 3), twice the area of each triangle along its normal
        along = np.einsum("ntc,nc->nt", turns, turns.sum(axis=1))
        fans[start : start + step] = (along >= -FLAT * np.abs(along).max(axis=1, keepdims=True)).all(axis=1)
    return fans


def _clip(points: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Triangles (t, 3) of one polygon (k, 3)."""
    import mapbox_earcut

    centred = np.asarray(points, np.float64) - points[0]
    normal = np.cross(centred, np.roll(centred, -1, axis=0)).sum(axis=0)
    if not normal.any():
        return np.empty((0, 3), np.int64)
    flat = np.ascontiguousarray(centred @ np.linalg.svd(normal[None])[2][1:].T)  # (k, 2) in a plane across the normal
    found = mapbox_earcut.triangulate_float64(flat, np.array([len(flat)], np.uint32)).astype(np.int64).reshape(-1, 3)
    a, b, c = flat[found].transpose(1, 0, 2)
    turn = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    whole = (flat * np.roll(flat, -1, axis=0)[:, ::-1] @ [1, -1]).sum()  # twice the area, by its sign the way round
    return np.where((turn * whole < 0)[:, None], found[:, ::-1], found)
