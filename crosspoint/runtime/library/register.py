"""Registers one surface to another by a rotation, with or without a reflection."""

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from crosspoint.runtime.library.surface import Array, Surface, surface_distance

ALIKE = 0.05  # largest difference between the shares of variance of one shape; rotations do not change them
COARSE, FINE = 100, 500  # points to compare rotations by, and to refine them
KEPT = 4  # rotations that are refined
STEPS = 20  # of refinement
ABOUT = 24  # rotations about an axis
ANY = 1000  # rotations of a shape whose principal axes are any axes, such as a cube
HOPELESS = 0.2  # mean distance beyond which refinement reaches no fit


def register(a: Surface, b: Surface, *, enough: float, most: float = np.inf) -> float:
    """Smallest distance of two surfaces over rotations, with and without a reflection.

    Rotations that align the principal axes are compared by the mean distance of a few points: four, and four with a
    reflection, if the shares of variance differ; more if two or all of them are alike, as of a square table or a cube.
    The best ones are refined by closest points (ICP, Besl and McKay 1992).

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
    turns = candidates(a, b)  # (T, 3, 3)
    some, back = _evenly(a.samples, COARSE), _evenly(b.samples, COARSE)
    there = np.mean(b.tree.query(some @ turns.transpose(0, 2, 1))[0], axis=1)  # (T,)
    here = np.mean(a.tree.query(back @ turns)[0], axis=1)
    best = np.inf
    for chosen in np.argsort(there + here, kind="stable")[:KEPT]:
        if there[chosen] + here[chosen] > 2 * HOPELESS:
            break
        best = min(best, surface_distance(a, b, turn=turns[chosen], enough=enough, most=most))
        if best > enough:
            best = min(best, surface_distance(a, b, turn=_refine(a, b, turns[chosen]), enough=enough, most=most))
        if best <= enough:
            break
    return float(best)


def could_match(a: Surface, b: Surface) -> bool:
    """Whether the shares of variance agree: a cheap check."""
    return float(np.abs(a.shares - b.shares).max()) <= ALIKE


def candidates(a: Surface, b: Surface) -> Array:
    """Orthogonal matrices `(T, 3, 3)` that may move `a` onto `b`, half of them with a reflection."""
    first, second = (bool(a.shares[k] - a.shares[k + 1] <= 2 * ALIKE) for k in (0, 1))
    if first and second:
        spread = Rotation.random(ANY, random_state=np.random.default_rng(0)).as_matrix()
        turns = np.concatenate([np.eye(3)[None], _about("y"), spread])
        return np.concatenate([turns, turns @ np.diag([-1.0, 1.0, 1.0])])
    within = _about("z") if first else _about("x") if second else np.eye(3)[None]  # (R, 3, 3) in the frame of the axes
    flips = np.stack([np.diag(signs) for signs in itertools.product((1.0, -1.0), repeat=3)])  # (8, 3, 3)
    turns = (b.axes.T @ within[:, None] @ flips @ a.axes).reshape(-1, 3, 3)
    return np.concatenate([np.eye(3)[None], turns])


def _about(axis: str) -> Array:
    """Rotations `(ABOUT, 3, 3)` about an axis."""
    angles = 2 * np.pi * np.arange(ABOUT) / ABOUT
    return np.asarray(Rotation.from_euler(axis, angles[:, None]).as_matrix())


def _refine(a: Surface, b: Surface, turn: Array) -> Array:
    """Repeatedly rotate points of `a` to their nearest points of `b`, by the best rotation for them (Kabsch)."""
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
