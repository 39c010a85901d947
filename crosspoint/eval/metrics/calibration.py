"""Calibration of probabilities: temperature, expected calibration error, threshold of unknown objects."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Labels = NDArray[np.int64]

BINS = 10
LOW, HIGH = -7.0, 7.0  # natural logarithms of the temperatures that are searched
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class CalibrationBin:
    """Objects whose largest probability lies in one tenth of the range.

    Attributes:
        low: Lower bound of the probability.
        high: Upper bound, included.
        objects: Number of objects.
        probability: Their mean largest probability; None for an empty bin.
        accuracy: Share of correct predictions; None for an empty bin.
    """

    low: float
    high: float
    objects: int
    probability: float | None
    accuracy: float | None


def log_loss(decisions: Doubles, labels: Labels) -> float:
    """Mean negative logarithm of the probability of the true class; decisions `(n, classes)`, labels `(n,)`."""
    z = decisions - decisions.max(axis=1, keepdims=True)
    true = z[np.arange(len(labels)), labels]
    return float(np.mean(np.log(np.exp(z).sum(axis=1)) - true))


def fit_temperature(decisions: Doubles, labels: Labels) -> float:
    """The T for which `softmax(z / T)` has the smallest log loss (Guo et al., 2017), by golden-section search of log T.

    The loss is convex in 1/T, so it has one minimum.

    Args:
        decisions: Decisions z on held-out objects `(n, classes)`.
        labels: `(n,)`.
    """
    low, high = LOW, HIGH
    spread = float(np.abs(decisions - decisions.mean(axis=1, keepdims=True)).max()) or 1.0
    z = decisions / spread
    while high - low > 1e-4:
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        if log_loss(z / np.exp(left), labels) <= log_loss(z / np.exp(right), labels):
            high = right
        else:
            low = left
    return spread * float(np.exp((low + high) / 2))


def calibration_curve(probabilities: Doubles, labels: Labels) -> tuple[CalibrationBin, ...]:
    """Largest probability and accuracy in ten bins of equal width, from probabilities `(n, classes)`."""
    largest, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(largest * BINS).astype(int) - 1, 0, BINS - 1)
    bins = []
    for i in range(BINS):
        inside = place == i
        count = int(inside.sum())
        mean = float(largest[inside].mean()) if count else None
        share = float(right[inside].mean()) if count else None
        bins.append(CalibrationBin(i / BINS, (i + 1) / BINS, count, mean, share))
    return tuple(bins)


def calibration_error(probabilities: Doubles, labels: Labels) -> float:
    """Expected calibration error: the mean of |accuracy − probability| over the bins, weighted by objects."""
    bins = [entry for entry in calibration_curve(probabilities, labels) if entry.objects]
    return sum(entry.objects * abs((entry.accuracy or 0.0) - (entry.probability or 0.0)) for entry in bins) / len(
        labels
    )


def threshold_of(values: Doubles, refused: float) -> float:
    """The smallest value above which at most a share `refused` of `(n,)` known objects lies."""
    ordered = np.sort(values)[::-1]
    return float(ordered[int(np.floor(refused * len(ordered)))])
