"""Several draws of points from one cloud, and the mean of their results."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError
from crosspoint.data.objects.clouds import ObjectClouds
from crosspoint.data.points import Points

FloatArray = NDArray[np.float32]
MOST_DRAWS = 1000


def check_draws(draws: int) -> None:
    """Raise InputError unless the number of draws is valid."""
    if not 1 <= draws <= MOST_DRAWS:
        raise InputError(f"--draws is {draws}; give 1 to {MOST_DRAWS}")


def split_draws(clouds: Points | ObjectClouds, draws: int) -> list[Points]:
    """The draws `(draws, N, 3)` of each cloud; one if all are equal, as for a cloud that is used whole.

    Args:
        clouds: `(n * draws, N, 3)`, the draws of a cloud one after the other; or objects of a scan, drawn once.
        draws: Number of draws of each cloud.
    """
    if isinstance(clouds, ObjectClouds):
        return [cloud[None] for cloud in clouds]
    each = clouds.reshape(-1, draws, *clouds.shape[1:])  # (n, draws, N, 3)
    return [found[:1] if (found == found[:1]).all() else found for found in each]


def mean_of_draws(vectors: FloatArray, counts: Sequence[int]) -> FloatArray:
    """Mean embedding (or scores) of each cloud, not scaled to unit length.

    Args:
        vectors: `(sum(counts), D)`, the draws of one cloud in a row.
        counts: Number of draws of each of the n clouds.

    Returns:
        `(n, D)` float32; a single draw is returned unchanged.
    """
    if all(count == 1 for count in counts):
        return vectors
    starts = np.cumsum([0, *counts[:-1]])
    sums = np.add.reduceat(vectors.astype(np.float64), starts, axis=0)  # (n, D)
    means: FloatArray = (sums / np.asarray(counts)[:, None]).astype(np.float32)
    return means
