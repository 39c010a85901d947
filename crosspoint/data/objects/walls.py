"""Walls and the ceiling of a room.

Seen from above, a wall is a line. The line with the most voxels on it is found by RANSAC and refined by least squares.
Its pieces, between gaps, are walls if they are large and high enough. Then the next line is looked for. A ceiling is
the ground of the room turned upside down.
"""

import numpy as np
import numpy.typing as npt

from crosspoint.data.objects.ground import height_above_ground

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

MOST_LINES = 20
PAIRS = 500  # that are tried for each line
REFINED = 3  # times that a line is fitted to the points on it
LEAST_AREA = 4.0  # square metres
LEAST_HEIGHT = 1.8  # metres


def find_walls(points: Floats, *, cell: float, tolerance: float) -> Bools:
    """Which points are of a wall or of the ceiling.

    Args:
        points: (V, 3), y-up, without the ground.
        cell: Side of the squares by which area is measured, in metres.
        tolerance: How far a point of a wall may lie from its plane, in metres.

    Returns:
        (V,). A wall covers at least 4 m² and is at least 1.8 m high.

    Raises:
        MissingDependency: scipy is not installed.
    """
    found = np.zeros(len(points), bool)
    if len(points) == 0:
        return found
    above = height_above_ground(points * [1, -1, 1], cell=cell, tolerance=tolerance)
    if above is not None:
        found = above <= tolerance
    rng, left = np.random.default_rng(0), ~found
    for _ in range(MOST_LINES):
        own = np.flatnonzero(left)
        if len(own) < 2:
            break
        own = own[_best_line(points[own], rng, cell=cell, tolerance=tolerance)]
        left[own] = False
        for piece in _pieces(points[own], cell):
            found[own[piece]] = _is_wall(points[own[piece]], cell)
    return found


def _best_line(points: Floats, rng: np.random.Generator, *, cell: float, tolerance: float) -> Bools:
    """Points (V,) on the line, seen from above, that has the most voxels on it."""
    plan = points[:, [0, 2]] - points[:, [0, 2]].mean(axis=0)
    places, voxels = np.unique(np.floor(plan / min(cell, tolerance)), axis=0, return_counts=True)
    places = (places + 0.5) * min(cell, tolerance)  # (M, 2) occupied squares, and the voxels above each (M,)
    pairs = places[rng.choice(len(places), (PAIRS, 2), p=voxels / voxels.sum())]
    along = pairs[:, 1] - pairs[:, 0]  # (P, 2)
    length = np.linalg.norm(along, axis=1)
    pairs, along = pairs[length > cell], along[length > cell] / length[length > cell, None]
    best, most = np.zeros(len(points), bool), 0
    for (start, _), direction in zip(pairs, along, strict=True):
        normal = np.array([-direction[1], direction[0]])
        count = int(voxels[np.abs((places - start) @ normal) <= tolerance].sum())
        if count > most:
            best, most = np.abs((plan - start) @ normal) <= tolerance, count
    for _ in range(REFINED):
        if best.sum() < 2:
            break
        centre = plan[best].mean(axis=0)
        normal = np.linalg.svd(plan[best] - centre, full_matrices=False)[2][1]  # across the line, by least squares
        best = np.abs((plan - centre) @ normal) <= tolerance
    return best


def _along(points: Floats) -> Floats:
    """Position (V,) along the line on which points lie, seen from above."""
    plan = points[:, [0, 2]] - points[:, [0, 2]].mean(axis=0)
    return np.asarray(plan @ np.linalg.svd(plan, full_matrices=False)[2][0])


def _pieces(points: Floats, cell: float) -> list[npt.NDArray[np.int64]]:
    """Indices of the points of each piece of a line; between two pieces nothing is for more than a cell."""
    if len(points) == 0:
        return []
    along = _along(points)
    order = np.argsort(along, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(along[order]) > cell) + 1)


def _is_wall(points: Floats, cell: float) -> bool:
    """Whether points near a vertical plane have the height and cover the area of a wall."""
    along, height = _along(points), points[:, 1]
    length, tall = float(np.ptp(along)), float(np.ptp(height))
    if tall < LEAST_HEIGHT or length * tall < LEAST_AREA:
        return False
    squares = np.floor(np.column_stack([along - along.min(), height - height.min()]) / cell)  # (V, 2)
    share = len(np.unique(squares, axis=0)) / float(np.prod(squares.max(axis=0) + 1))
    return share * length * tall >= LEAST_AREA
