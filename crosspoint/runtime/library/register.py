"""Registers one surface to another by a rotation, with or without a reflection."""

import itertools

import numpy as np
from numpy.typing import NDArray

from crosspoint.runtime.library.surface import Array, Surface, surface_distance

ALIKE = 0.05  # largest difference between the shares of variance of one shape; rotations do not change them
COARSE, FINE = 100, 500  # points to compare rotations by, and to refine them
KEPT = 4  # rotations that are refined
STEPS = 20  # of refinement
ABOUT = 24  # rotations about an axis
ANY = 1000  # rotations of a shape whose principal axes are any axes, such as a cube
FLIPS = np.stack([np.diag(signs) for signs in itertools.product((1.0, -1.0), repeat=3)])  # (8, 3, 3)
HOPELESS = 0.2  # mean distance beyond which refinement reaches no fit


def register(a: Surface, b: Surface, *, enough: float, most: float = np.inf) -> float:
    """Smallest distance of two surfaces over rotations, with and without a reflection.

    The eight that align the principal axes, half of them with a reflection, are measured first: of one and the same
    surface they are exact, however little the shares of variance differ. Then those and, if two or all shares are
    alike as of a square table or a cube, many others are compared by the mean distance of a few points, and the best
    ones are refined by closest points (ICP, Besl and McKay 1992).

    Args:
        a: One surface.
        b: The other.
        enough: Stop at a distance of at most this much.
        most: Distances beyond this one need not be as large as they are.

    Returns:
        As `surface_distance`; infinite if no rotation can fit.
    """
    if not could_match(a, b):
        return np.inf
    aligned = b.axes.T @ FLIPS @ a.axes  # (8, 3, 3)
    best = np.inf
    for turn in aligned:
        best = min(best, surface_distance(a, b, turn=turn, enough=enough, most=most))
        if best <= enough:
            return best
    turns = np.concatenate([aligned, candidates(a, b)])  # (T, 3, 3)
    some, back = _evenly(a.samples, COARSE), _evenly(b.samples, COARSE)
    there = np.mean(b.tree.query(some @ turns.transpose(0, 2, 1))[0], axis=1)  # (T,)
    here = np.mean(a.tree.query(back @ turns)[0], axis=1)
    for chosen in np.argsort(there + here, kind="stable")[:KEPT]:
        if there[chosen] + here[chosen] > 2 * HOPELESS:
            break
        refined = _refine(a, b, turns[chosen])
        best = min(best, surface_distance(a, b, turn=refined, enough=enough, most=most))
        if best <= enough:
            break
    return float(best)


def could_match(a: Surface, b: Surface) -> bool:
    """Whether the shares of variance agree: a cheap check."""
    return float(np.abs(a.shares - b.shares).max()) <= ALIKE


def candidates(a: Surface, b: Surface) -> Array:
    """Orthogonal matrices `(T, 3, 3)` that may move `a` onto `b` if shares of variance are alike, reflections too."""
    from scipy.spatial.transform import Rotation

    first, second = (bool(a.shares[k] - a.shares[k + 1] <= 2 * ALIKE) for k in (0, 1))
    turns = [np.eye(3)[None]]
    for axis, alike in (("z", first), ("x", second)):
        if alike:  # about the third or the first axis, in the frame of the axes
            turns.append((b.axes.T @ _about(axis)[:, None] @ FLIPS @ a.axes).reshape(-1, 3, 3))
    if first and second:
        some = np.concatenate([_about("y"), Rotation.random(ANY, random_state=np.random.default_rng(0)).as_matrix()])
        turns += [some, some @ np.diag([-1.0, 1.0, 1.0])]
    return np.asarray(np.concatenate(turns))


def _about(axis: str) -> Array:
    """Rotations `(ABOUT, 3, 3)` about an axis."""
    from scipy.spatial.transform import Rotation

    angles = 2 * np.pi * np.arange(ABOUT) / ABOUT
    return np.asarray(Rotation.from_euler(axis, angles[:, None]).as_matrix())


def _refine(a: Surface, b: Surface, turn: Array) -> Array:
    """Repeatedly rotate points of `a` to their nearest points of `b`, by the best rotation for them (Kabsch)."""
    from scipy.spatial.transform import Rotation

    points = _evenly(a.samples, FINE)
    mirror = np.diag([np.sign(np.linalg.det(turn)), 1.0, 1.0])
    for _ in range(STEPS):
        nearest = b.samples[np.asarray(b.tree.query(points @ turn.T)[1])]
        better = Rotation.align_vectors(nearest, points @ mirror)[0].as_matrix() @ mirror
        if np.abs(better - turn).max() < 1e-7:
            break
        turn = better
    return turn


def _evenly(points: Array, count: int) -> NDArray[np.float64]:
    return points[:: max(1, len(points) // count)]
