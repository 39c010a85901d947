"""Turning one surface onto another, mirrored too."""

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from crosspoint.runtime.library.surface import Array, Surface, surface_distance

ALIKE = 0.05  # shares of variance of one shape may differ by this much; turning does not change them
COARSE, FINE = 100, 500  # points by which turns are compared, and refined
KEPT = 4  # turns that are refined
STEPS = 20  # of refinement
ABOUT = 24  # turns about each axis of the coordinates


def register(a: Surface, b: Surface, *, enough: float) -> float:
    """The smallest distance of two surfaces that a turn, with or without a mirror, was found to give.

    Turns that bring principal axes onto each other, and turns about the axes of the coordinates, are compared by the
    mean distance of a few points; the best ones are refined by closest points (ICP, Besl and McKay 1992).

    Args:
        a: One surface.
        b: The other.
        enough: Stop at a distance of at most this much.

    Returns:
        As `surface_distance`; infinite where no turn can fit.
    """
    if not could_match(a, b):
        return np.inf
    best = surface_distance(a, b, enough=enough)
    if best <= enough:
        return best
    turns = _candidates(a, b)  # (T, 3, 3)
    some, back = _evenly(a.samples, COARSE), _evenly(b.samples, COARSE)
    there = np.mean(b.tree.query(some @ turns.transpose(0, 2, 1))[0], axis=1)  # (T,)
    here = np.mean(a.tree.query(back @ turns)[0], axis=1)
    for chosen in np.argsort(there + here, kind="stable")[:KEPT]:
        best = min(best, surface_distance(a, b, turn=_refine(a, b, turns[chosen]), enough=enough))
        if best <= enough:
            break
    return best


def could_match(a: Surface, b: Surface) -> bool:
    """Whether the shares of variance are alike, which costs nothing to compare."""
    return float(np.abs(a.shares - b.shares).max()) <= ALIKE


def _candidates(a: Surface, b: Surface) -> Array:
    """Orthogonal matrices `(T, 3, 3)`, each with its mirror image."""
    about = [
        Rotation.from_euler(axis, 2 * np.pi * k / ABOUT).as_matrix() for axis in "xyz" for k in range(ABOUT)
    ]  # no turn comes first
    onto = [
        b.axes.T @ (np.asarray(signs)[:, None] * a.axes[list(order)])
        for order in itertools.permutations(range(3))
        if np.abs(a.shares[list(order)] - b.shares).max() <= 2 * ALIKE
        for signs in itertools.product((1.0, -1.0), repeat=3)
    ]
    turns = np.stack([*about, *onto])
    return np.concatenate([turns, turns @ np.diag([-1.0, 1.0, 1.0])])


def _refine(a: Surface, b: Surface, turn: Array) -> Array:
    """Bring points of `a` onto the nearest points of `b` again and again, by the best turn for them (Kabsch)."""
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
