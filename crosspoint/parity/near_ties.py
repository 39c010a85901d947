"""Tests whether a near tie among neighbours explains an error, with the help of the reference itself.

A near tie: two points have nearly the same distance, and one of them becomes the k-th neighbour. Rounding decides which
one, and the embedding jumps. On real clouds such jumps reach a relative 2e-3 between two correct float32 programs, and
between float32 and float64 of one program. They are not faults of the candidate. The test: the points of the cloud are
moved by a millionth of its radius; if the reference then jumps as far, a near tie explains the error.
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
"""Standard deviation of the moves, relative to the largest distance from the origin; number of moves; and how much
farther than the reference a candidate may jump."""


@dataclass(frozen=True)
class NearTies:
    """The errors of some clouds, and how many of them near ties explain.

    Attributes:
        over_limit: Number of errors over the limit.
        explained: Number of these that a near tie explains.
        relative_l2_unexplained: Largest error without explanation.
    """

    over_limit: int
    explained: int
    relative_l2_unexplained: float


def explain(
    reference: Encoder, clouds: Floats, *, expected: Doubles, output: Floats, limit: float, seed: int = 0
) -> NearTies:
    """Find the errors over a limit that near ties explain. If too many clouds are over the limit, none counts.

    Args:
        reference: The reference model; it is run on every cloud over the limit.
        clouds: `(n, N, 3)`.
        expected: Output of the reference `(n, D)`.
        output: Output of the candidate `(n, D)`.
        limit: Limit on relative L2 errors.
        seed: Random seed of the moves.
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
        embeddings = reference.infer({"points": moved.astype(np.float32)}, any_scale=True)  # (TRIALS, D)
        jumps = relative_l2(np.repeat(expected[row][None], TRIALS, axis=0), embeddings)
        known[row] = error[row] <= FACTOR * jumps.max()
    return NearTies(int(over.sum()), int(known.sum()), float(error[~known].max(initial=0.0)))
