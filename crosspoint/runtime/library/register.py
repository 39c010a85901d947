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
ABOUT = 24  # rotations about each coordinate axis


def register(a: Surface, b: Surface, *, enough: float) -> float:
    """Smallest distance of two surfaces over rotations, with and without a reflection.

    Rotations that align the principal axes, and rotations about the coordinate axes, are compared by the mean distance
    of a few points. The best ones are refined by closest points (ICP, Besl and McKay 1992).

    Args:
        a: One surface.
        b: The other.
        enough: Stop at a distance of at most this much.

    Returns:
        As `surface_distance`; infinite if no rotation can fit.
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
    """Whether the shares of variance agree: a cheap check."""
    return float(np.abs(a.shares - b.shares).max()) <= ALIKE


def _candidates(a: Surface, b: Surface) -> Array:
    """Orthogonal matrices `(T, 3, 3)`, each with its reflection."""
    about = [
        Rotation.from_euler(axis, 2 * np.pi * k / ABOUT).as_matrix() for axis in "xyz" for k in range(ABOUT)
    ]  # the identity comes first
    onto = [
        b.axes.T @ (np.asarray(signs)[:, None] * a.axes[list(order)])
        for order in itertools.permutations(range(3))
        if np.abs(a.shares[list(order)] - b.shares).max() <= 2 * ALIKE
        for signs in itertools.product((1.0, -1.0), repeat=3)
    ]
    turns = np.stack([*about, *onto])
    return np.concatenate([turns, turns @ np.diag([-1.0, 1.0, 1.0])])


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
