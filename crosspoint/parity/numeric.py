"""How far embeddings of two models are apart, and what of it follows from neighbours that are all but equally far.

The k nearest neighbours of a point are a choice where two candidates for the last place are nearly equally far:
rounding decides, and the embedding jumps. On real clouds such jumps reach a relative 2e-3 between two correct float32
programs, and between float32 and float64 of one. They say nothing against the candidate, and are told from a fault by
the reference itself: it jumps as far when the points of that cloud are moved by a millionth of its radius.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.runtime.encoder import Encoder

FloatArray = NDArray[np.float32]

LIMIT = 1e-4
"""Relative L2 error up to which float32 embeddings are equal."""
JITTER, TRIALS, FACTOR = 1e-6, 8, 2.0
"""Standard deviation of the moves, how many there are, and how much farther than the reference a candidate may jump."""
AMBIGUOUS = 0.25
"""Share of the clouds, or one of them, that near ties may explain; more errors than that are a fault."""


@dataclass(frozen=True)
class Comparison:
    """Embeddings of the same clouds by a reference and by a candidate.

    Attributes:
        name: What clouds these are.
        clouds: `(n, N, 3)`.
        reference: `(n, D)`.
        candidate: `(n, D)`.
    """

    name: str
    clouds: FloatArray
    reference: FloatArray
    candidate: FloatArray

    def row(self, encoder: Encoder, seed: int, explain: bool) -> dict[str, Any]:
        """Errors and cosines; with `explain`, also how many are over the limit and the largest that has no explanation.

        Args:
            encoder: The reference.
            seed: Of the moves.
            explain: Whether to ask the reference about errors over `LIMIT`.
        """
        result = {"clouds": self.name, **compare(self.reference, self.candidate)}
        if explain:
            error = relative_l2(self.reference, self.candidate)
            over = error > LIMIT
            few = over.sum() <= max(1.0, AMBIGUOUS * len(over))
            known = self._explained(encoder, error, over, seed) if few else np.zeros_like(over)
            result |= {"over_limit": int(over.sum()), "explained": int(known.sum())}
            result["relative_l2_unexplained"] = float(error[~known].max(initial=0.0))
        return result

    def _explained(
        self, encoder: Encoder, error: NDArray[np.float64], over: NDArray[np.bool_], seed: int
    ) -> NDArray[np.bool_]:
        """Which errors `(n,)` over the limit the reference matches when its points move a little."""
        rng = np.random.default_rng(seed)
        rows = np.flatnonzero(over)
        explained = np.zeros_like(over)
        for row in track(rows, f"Near ties, {self.name}") if len(rows) > 10 else rows:
            cloud = self.clouds[row]
            moved = cloud + JITTER * rng.standard_normal((TRIALS, *cloud.shape))
            embeddings = encoder.embed(moved.astype(np.float32))  # (TRIALS, D)
            jumps = relative_l2(np.repeat(self.reference[row][None], TRIALS, axis=0), embeddings)
            explained[row] = error[row] <= FACTOR * jumps.max()
        return explained


def relative_l2(reference: FloatArray, candidate: FloatArray) -> NDArray[np.float64]:
    """`‖candidate − reference‖ / ‖reference‖` of each row of two `(n, D)`; 0 where both are zero."""
    a, b = np.asarray(reference, np.float64), np.asarray(candidate, np.float64)
    norms = np.maximum(np.linalg.norm(a, axis=1), np.finfo(np.float64).tiny)
    errors: NDArray[np.float64] = np.linalg.norm(b - a, axis=1) / norms
    return errors


def cosine(reference: FloatArray, candidate: FloatArray) -> NDArray[np.float64]:
    """`candidate · reference / (‖candidate‖ ‖reference‖)` of each row of two `(n, D)`; 1 where both are zero."""
    a, b = np.asarray(reference, np.float64), np.asarray(candidate, np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines: NDArray[np.float64] = np.sum(a * b, axis=1) / np.maximum(norms, np.finfo(np.float64).tiny)
    cosines[~(a.any(axis=1) | b.any(axis=1))] = 1.0
    return cosines


def compare(reference: FloatArray, candidate: FloatArray) -> dict[str, float]:
    """Largest, 99 % and median relative L2 error, smallest and 1 % cosine of two `(n, D)`."""
    errors, cosines = relative_l2(reference, candidate), cosine(reference, candidate)
    return {
        "relative_l2_max": float(errors.max()),
        "relative_l2_p99": float(np.quantile(errors, 0.99)),
        "relative_l2_median": float(np.median(errors)),
        "cosine_min": float(cosines.min()),
        "cosine_p1": float(np.quantile(cosines, 0.01)),
    }
