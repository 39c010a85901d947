"""Normalises point clouds and samples their points."""

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError

Points = npt.NDArray[np.float32]
Coordinates = npt.NDArray[np.floating[Any]]
"""Coordinates as a file has them: float32 where it holds no more, else float64. UTM northings have seven digits before
the point, of which float32 keeps half a metre: only a cloud near its origin may become float32."""

MOST = float(np.finfo(np.float32).max)
FAR = 100.0  # radii from the origin, where float32 moves points by up to 1e-5 of the radius


def normalise(points: npt.NDArray[Any]) -> Points:
    """Move the mean of each cloud to the origin and scale its farthest point to distance 1, as in training.

    The difference to the mean is taken in float64, so that an object far from the origin keeps its shape.

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


def near_origin(points: npt.NDArray[Any]) -> Points:
    """Clouds as float32; one that lies too far from the origin for that is moved there, its mean becoming zero.

    Args:
        points: (..., N, 3) finite coordinates.

    Returns:
        The same shape.
    """
    if points.dtype != np.float64:
        return points.astype(np.float32, copy=False)
    mean = points.mean(axis=-2, keepdims=True)  # (..., 1, 3)
    radius = np.abs(points - mean).max(axis=(-2, -1), keepdims=True)  # (..., 1, 1)
    far = np.abs(mean).max(axis=-1, keepdims=True) > FAR * radius
    return (points - np.where(far, mean, 0.0)).astype(np.float32)


def drop_missing(points: Coordinates) -> Coordinates:
    """The points (N, 3) without those that are NaN, infinite or too large for float32: a sensor's "no return"."""
    if len(points) == 0 or farthest(points) <= MOST:  # false of NaN
        return points
    return points[(np.abs(points) <= MOST).all(axis=1)]


def farthest(points: npt.NDArray[Any]) -> float:
    """The largest size of a coordinate of points (N, 3), N at least 1; NaN if there is one."""
    bounds = [(column.min(), column.max()) for column in points.T]  # by columns, several times as fast as in one go
    with np.errstate(invalid="ignore"):  # of signalling NaN
        return float(np.abs(np.array(bounds, np.float64)).max())


def drawing(seed: int, count: int, *, faces: npt.NDArray[np.int64] | None = None) -> np.random.Generator:
    """The random generator that draws points of a cloud, or of a mesh.

    It does not depend on coordinates. Copies of an object that were renamed, moved, turned or scaled give the same
    points, and their embeddings differ only by rounding.

    Args:
        seed: Random seed.
        count: Points of the cloud, or vertices of the mesh.
        faces: (F, 3) vertices of each face of the mesh.
    """
    content = b"" if faces is None else np.ascontiguousarray(faces, "<i8").tobytes()
    digest = hashlib.sha256(content).digest()
    return np.random.default_rng([seed, count, *np.frombuffer(digest, "<u4").tolist()])


def sample_points(points: npt.NDArray[Any], count: int, *, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Draw points at random, without replacement.

    Args:
        points: (N, 3), or whatever is one row a point, such as the numbers of the rows (N,).
        count: Number of points, at most N.
        rng: Random generator.

    Returns:
        (count, 3), or as many of the given rows, in random order.

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
