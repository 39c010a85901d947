"""Several draws of points from one cloud, and the mean of their embeddings."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError
from crosspoint.data.points import Points

FloatArray = NDArray[np.float32]
MOST_DRAWS = 1000


def check_draws(draws: int) -> None:
    """Raise InputError unless so many draws can be averaged."""
    if not 1 <= draws <= MOST_DRAWS:
        raise InputError(f"{draws} draws were asked for; give --draws 1 to {MOST_DRAWS}")


def split_draws(clouds: Points, draws: int) -> list[Points]:
    """The draws `(draws, N, 3)` of each cloud; one where all are equal, as of a cloud that is taken whole.

    Args:
        clouds: `(n * draws, N, 3)`, the draws of a cloud one after the other.
        draws: Of each cloud.
    """
    each = clouds.reshape(-1, draws, *clouds.shape[1:])  # (n, draws, N, 3)
    return [found[:1] if (found == found[:1]).all() else found for found in each]


def mean_of_draws(vectors: FloatArray, counts: Sequence[int]) -> FloatArray:
    """Mean embedding of each cloud. It is not brought to unit length: cosine distances do not depend on that.

    Args:
        vectors: `(sum(counts), D)`, those of one cloud one after the other.
        counts: Draws of each of the n clouds.

    Returns:
        `(n, D)` float32; a single draw stays as it is, bit for bit.
    """
    if all(count == 1 for count in counts):
        return vectors
    starts = np.cumsum([0, *counts[:-1]])
    sums = np.add.reduceat(vectors.astype(np.float64), starts, axis=0)  # (n, D)
    means: FloatArray = (sums / np.asarray(counts)[:, None]).astype(np.float32)
    return means
