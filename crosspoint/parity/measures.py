"""Errors between the outputs of two models, cloud by cloud. Without torch, so that a device can use them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Doubles = NDArray[np.float64]
TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True)
class Errors:
    """Errors over some clouds.

    Quantiles are errors of actual clouds, not interpolated: half of the clouds are within the median, 99 % are within
    `relative_l2_p99`, and 99 % have at least the cosine `cosine_p1`.
    """

    relative_l2_max: float
    relative_l2_p99: float
    relative_l2_median: float
    cosine_min: float
    cosine_p1: float

    @classmethod
    def between(cls, reference: Array, candidate: Array) -> "Errors":
        """Errors of a candidate's outputs `(P, …)` against the reference's."""
        error, similarity = relative_l2(reference, candidate), cosine(reference, candidate)
        return cls(
            float(error.max()),
            float(np.quantile(error, 0.99, method="higher")),
            float(np.quantile(error, 0.5, method="lower")),
            float(similarity.min()),
            float(np.quantile(similarity, 0.01, method="lower")),
        )


def relative_l2(reference: Array, candidate: Array) -> Doubles:
    """`‖candidate − reference‖ / ‖reference‖` for every cloud of two outputs `(P, …)`.

    0 if they are equal, also for zeros; infinite if one of them is not finite.
    """
    a, b = _rows(reference), _rows(candidate)
    with np.errstate(invalid="ignore"):
        error = np.linalg.norm(b - a, axis=1) / np.maximum(np.linalg.norm(a, axis=1), TINY)
    return np.where(np.isfinite(error), error, np.inf)


def cosine(reference: Array, candidate: Array) -> Doubles:
    """`candidate · reference / (‖candidate‖ ‖reference‖)` for every cloud of two outputs `(P, …)`.

    1 if they are equal, also for zeros; −1 if the candidate is not finite.
    """
    a, b = _rows(reference), _rows(candidate)
    finite = np.isfinite(b).all(axis=1)
    b = np.where(np.isfinite(b), b, 0.0)
    sizes = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    similarity = np.where((a == b).all(axis=1), 1.0, (a * b).sum(axis=1) / np.maximum(sizes, TINY))
    return np.where(finite, similarity, -1.0)


def _rows(array: Array) -> Doubles:
    return np.asarray(array, np.float64).reshape(len(array), -1)
