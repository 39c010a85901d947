"""Confidence intervals and tests for accuracies: one proportion, two paired proportions, repeated runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class Summary:
    """Mean and deviation of repeated runs.

    Attributes:
        mean: Mean over the runs.
        std: Sample standard deviation; None for fewer than two runs.
        standard_error: Standard error of the mean, `std / √n`; None for fewer than two runs.
    """

    mean: float
    std: float | None
    standard_error: float | None


@dataclass(frozen=True)
class Paired:
    """Comparison of two classifiers, reference and candidate, on the same objects.

    Attributes:
        objects: Number of objects.
        reference_accuracy: Accuracy of the reference, as a fraction of 1.
        candidate_accuracy: Accuracy of the candidate.
        equal_predictions: Share of the objects with equal predictions.
        only_reference_right: Number of objects that only the reference classifies correctly.
        only_candidate_right: Number of objects that only the candidate classifies correctly.
        mcnemar_p: Two-sided p-value of McNemar's exact test.
        difference: The candidate's accuracy minus the reference's.
        interval: 95 % interval of the difference; None for a single task.
    """

    objects: int
    reference_accuracy: float
    candidate_accuracy: float
    equal_predictions: float
    only_reference_right: int
    only_candidate_right: int
    mcnemar_p: float
    difference: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class PairedRuns(Paired):
    """Comparison of two classifiers on the same repeated tasks.

    Attributes:
        runs: Number of tasks.
    """

    runs: int


def wilson(correct: float, total: int) -> tuple[float, float]:
    """Wilson's 95 % score interval for a proportion (Wilson, 1927).

        (p + z²/2n ± z √(p (1 − p)/n + z²/4n²)) / (1 + z²/n)

    Args:
        correct: Number of successes; it may be fractional, for the mean of several runs.
        total: Number of trials, at least 1.
    """
    p, z2 = correct / total, Z95**2
    centre = p + z2 / (2 * total)
    half = Z95 * math.sqrt(p * (1 - p) / total + z2 / (4 * total**2))
    scale = 1 + z2 / total
    low, high = (centre - half) / scale, (centre + half) / scale
    return max(0.0, min(p, low)), min(1.0, max(p, high))  # rounding must not leave p outside


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's exact test (McNemar, 1947) for equal accuracy of two paired classifiers.

    Args:
        only_first: Objects that only the first classifier gets right.
        only_second: Objects that only the second gets right.
    """
    from scipy.stats import binomtest

    total = only_first + only_second
    return float(binomtest(only_first, total, 0.5).pvalue) if total else 1.0


def paired_interval(only_first: int, only_second: int, *, total: int) -> tuple[float, float]:
    """95 % interval of the second accuracy minus the first, for `total` paired objects (Agresti and Min, 2005).

    It is Wald's interval after half an object is added to each of the four outcomes. With `b`, `c` increased in this
    way and `n = total + 2`,

        (c − b)/n ± z √(b + c − (c − b)²/n) / n
    """
    b, c, n = only_first + 0.5, only_second + 0.5, total + 2
    half = Z95 * math.sqrt(b + c - (c - b) ** 2 / n) / n
    difference = (c - b) / n
    return max(-1.0, difference - half), min(1.0, difference + half)


def paired_objects(discordant: float, *, half_width: float) -> int:
    """Number of paired objects whose 95 % interval of the difference is `± half_width`: `z² q / h²` (Wald).

    Args:
        discordant: Share q of the objects that only one of the two classifies correctly.
        half_width: Half of the interval h, as a fraction of 1.
    """
    return math.ceil(Z95**2 * discordant / half_width**2)


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """95 % interval of the mean over objects `(n,)`: `m ± z s / √n`; None for a single object."""
    if len(values) < 2:
        return None
    half = Z95 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def summary(values: Sequence[float]) -> Summary:
    """Mean, sample standard deviation and standard error of repeated runs."""
    if len(values) < 2:
        return Summary(float(np.mean(values)), None, None)
    std = float(np.std(values, ddof=1))
    return Summary(float(np.mean(values)), std, std / math.sqrt(len(values)))


def confusion(truth: NDArray[np.int64], predicted: NDArray[np.int64], *, classes: int) -> NDArray[np.int64]:
    """Counts `(classes, classes)`: the row is the true class, the column the predicted one."""
    counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
    matrix: NDArray[np.int64] = counts.astype(np.int64).reshape(classes, classes)
    return matrix


def per_class(matrix: NDArray[np.int64]) -> list[float | None]:
    """Accuracy of each class from a confusion matrix; None for a class without objects."""
    return [float(row[i] / row.sum()) if row.sum() else None for i, row in enumerate(matrix)]


def paired(truth: NDArray[np.int64], first: NDArray[np.int64], *, second: NDArray[np.int64]) -> Paired:
    """Compare two classifiers' predictions of the same objects, each `(n,)`; the first is the reference."""
    right, also = first == truth, second == truth
    only_first, only_second = int(np.sum(right & ~also)), int(np.sum(also & ~right))
    return Paired(
        objects=len(truth),
        reference_accuracy=float(right.mean()),
        candidate_accuracy=float(also.mean()),
        equal_predictions=float(np.mean(first == second)),
        only_reference_right=only_first,
        only_candidate_right=only_second,
        mcnemar_p=mcnemar(only_first, only_second),
        difference=(only_second - only_first) / len(truth),
        interval=paired_interval(only_first, only_second, total=len(truth)),
    )


def paired_runs(
    truth: Sequence[NDArray[np.int64]], first: Sequence[NDArray[np.int64]], *, second: Sequence[NDArray[np.int64]]
) -> PairedRuns:
    """Compare two classifiers on the same repeated tasks, each with its own objects.

    Objects of a task share their classifier, so the interval is computed over tasks: with the mean `d` and the sample
    standard deviation `s` of the differences of `n` tasks, it is `d ± t₀.₉₇₅(n − 1) s / √n`. Equal predictions and
    McNemar's test count the objects of all tasks.

    Args:
        truth: Labels of each task's objects.
        first: Predictions of the reference.
        second: Predictions of the candidate.
    """
    from scipy.stats import t

    pooled = paired(np.concatenate(truth), np.concatenate(first), second=np.concatenate(second))
    differences = [float(np.mean(b == y) - np.mean(a == y)) for y, a, b in zip(truth, first, second, strict=True)]
    error = summary(differences).standard_error
    mean = float(np.mean(differences))
    half = None if error is None else float(t.ppf(0.975, len(differences) - 1)) * error
    interval = None if half is None else (mean - half, mean + half)
    return PairedRuns(**{**vars(pooled), "difference": mean, "interval": interval}, runs=len(differences))
