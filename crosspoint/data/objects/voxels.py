"""A voxel grid: the points of each small cube of space become one, their mean."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_KEYS = 2.0**62  # cubes that an int64 can count


class Voxels(NamedTuple):
    """Occupied voxels.

    Attributes:
        means: (V, 3), of the points in each.
        of_point: (N,), the voxel of each point.
        side: Metres.
    """

    means: Floats
    of_point: Ints
    side: float


def voxelise(points: npt.NDArray[Any], side: float, *, most: int, largest_side: float) -> Voxels:
    """Take the mean of the points in each voxel, in voxels of `side`, or of larger ones if there are too many.

    The side grows by a quarter until at most `most` voxels are occupied.

    Args:
        points: (N, 3) finite coordinates.
        side: Metres.
        most: Largest number of occupied voxels.
        largest_side: Metres; beyond it the cloud is refused.

    Raises:
        InputError: There are more voxels even so.
    """
    while True:
        keys = _keys(points, side)
        found, of_point = np.unique(keys, return_inverse=True)
        if len(found) <= most:
            break
        if side >= largest_side:
            raise InputError(
                f"occupies more than {most:,} voxels of {side:g} m; cut it into pieces, or give a larger "
                "--cluster-distance"
            )
        side = min(1.25 * side, largest_side)
    counts = np.bincount(of_point)
    means = np.stack([np.bincount(of_point, weights=points[:, axis]) / counts for axis in range(3)], axis=-1)
    return Voxels(means, of_point, side)


def _keys(points: npt.NDArray[Any], side: float) -> Ints:
    """A number for the voxel of each point (N,); one axis at a time, which takes a third of the memory."""
    lowest = points.min(axis=0)
    sizes = np.floor((points.max(axis=0) - lowest) / side) + 1
    if not float(np.prod(sizes)) < MOST_KEYS:
        extent = " × ".join(f"{length:.3g}" for length in (points.max(axis=0) - lowest).tolist())
        raise InputError(f"spans {extent} m, too much for voxels of {side:g} m; give coordinates in metres")
    keys = np.zeros(len(points), np.int64)
    for axis in range(3):
        keys *= int(sizes[axis])
        keys += np.floor((points[:, axis] - lowest[axis]) / side).astype(np.int64)
    return keys
