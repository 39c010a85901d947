"""How much of an error follows from neighbours that are all but equally far, asked of the reference itself.

The k nearest neighbours of a point are a choice where two candidates for the last place are nearly equally far:
rounding decides, and the embedding jumps. On real clouds such jumps reach a relative 2e-3 between two correct float32
programs, and between float32 and float64 of one. They say nothing against the candidate, and are told from a fault by
the reference itself: it jumps as far when the points of that cloud are moved by a millionth of its radius.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.parity.limits import NEAR_TIES
from crosspoint.parity.measures import relative_l2
from crosspoint.runtime.encoder import Encoder

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

JITTER, TRIALS, FACTOR = 1e-6, 8, 2.0
"""Standard deviation of the moves, in distances of the farthest point from the origin, how many there are, and how much
farther than the reference a candidate may jump."""


@dataclass(frozen=True)
class NearTies:
    """The errors of some clouds, and which of them have an explanation.

    Attributes:
        over_limit: How many are over the limit.
        explained: How many of these the reference itself matches.
        relative_l2_unexplained: The largest error without explanation.
    """

    over_limit: int
    explained: int
    relative_l2_unexplained: float


def explain(
    reference: Encoder, clouds: Floats, *, expected: Doubles, output: Floats, limit: float, seed: int = 0
) -> NearTies:
    """Which errors over a limit near ties explain; none if more clouds are over it than a few.

    Args:
        reference: It is asked about every cloud over the limit.
        clouds: `(n, N, 3)`.
        expected: What the reference gives `(n, D)`.
        output: What the candidate gives `(n, D)`.
        limit: On relative L2 errors.
        seed: Of the moves.
    """
    error = relative_l2(expected, output)
    over = error > limit
    few = over.sum() <= max(1.0, NEAR_TIES * len(over))
    known = np.zeros_like(over)
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(over) if few else np.empty(0, np.int64)
    for row in track(rows, "Near ties") if len(rows) > 10 else rows:
        size = JITTER * np.linalg.norm(clouds[row], axis=1).max()  # 1e-6 of a normalised cloud
        moved = clouds[row] + size * rng.standard_normal((TRIALS, *clouds[row].shape))
        embeddings = reference.embed(moved.astype(np.float32))  # (TRIALS, D)
        jumps = relative_l2(np.repeat(expected[row][None], TRIALS, axis=0), embeddings)
        known[row] = error[row] <= FACTOR * jumps.max()
    return NearTies(int(over.sum()), int(known.sum()), float(error[~known].max(initial=0.0)))
