"""Normalises point clouds and samples their points."""

from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError

Points = npt.NDArray[np.float32]


def normalise(points: npt.NDArray[Any]) -> Points:
    """Move the mean of each cloud to the origin and scale its farthest point to distance 1, as in training.

    Args:
        points: (..., N, 3) finite coordinates in any unit.

    Returns:
        The same shape, float32. A cloud whose points are all equal becomes zeros.
    """
    exact = np.asarray(points, dtype=np.float64)
    centred = exact - exact.mean(axis=-2, keepdims=True)  # (..., N, 3)
    radius = np.linalg.norm(centred, axis=-1).max(axis=-1)[..., None, None]  # (..., 1, 1)
    same = (exact == exact[..., :1, :]).all(axis=(-2, -1), keepdims=True)  # whose mean may have a rounding error
    return np.where(same, 0.0, centred / np.where(same, 1.0, radius)).astype(np.float32)


def sample_points(points: npt.NDArray[Any], count: int, *, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Draw points at random, without replacement.

    Args:
        points: (N, 3).
        count: Number of points, at most N.
        rng: Random generator.

    Returns:
        (count, 3), in random order.

    Raises:
        InputError: There are fewer than `count` points, or `count` is less than 1.
    """
    check_count(count)
    if len(points) < count:
        raise InputError(f"{len(points)} points, fewer than the {count} asked for; ask for at most {len(points)}")
    return points[rng.choice(len(points), count, replace=False)]


def check_count(count: int) -> None:
    """Raise InputError if `count` is less than 1."""
    if count < 1:
        raise InputError(f"{count} points were asked for; ask for at least 1")
