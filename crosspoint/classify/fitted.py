"""A head that is chosen, fitted, calibrated and measured on embeddings with labels."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crosspoint.classify.crossvalidation import (
    Candidate,
    HeldOut,
    choose,
    choose_references,
    expected_accuracy,
    hold_out,
)
from crosspoint.classify.heads import Labels, fit_head, strengths
from crosspoint.classify.results import Calibrated, TriedHead, UnknownThreshold
from crosspoint.core.errors import InputError
from crosspoint.eval.metrics.calibration import calibration_error, fit_temperature, threshold_of
from crosspoint.eval.metrics.statistics import wilson
from crosspoint.runtime.classifier import Doubles, LinearHead, softmax
from crosspoint.runtime.novelty import Novelty, Scale

REFUSED = 0.05


@dataclass(frozen=True)
class Fitted:
    """A fitted head and the results of cross-validation.

    Attributes:
        head: Fitted to all objects.
        novelty: How unlike the labelled objects a cloud is.
        chosen: Its name and strength.
        accuracy: Expected accuracy on new objects.
        interval: 95 % interval of it.
        right: Share of the repeats in which each object is classified correctly `(n,)`.
        tried: All candidates.
        calibration: Calibration of the probabilities.
        unknown: Threshold of unknown objects.
        probabilities: Calibrated probabilities of held-out objects `(repeats, n, classes)`.
    """

    head: LinearHead
    novelty: Novelty
    chosen: Candidate
    accuracy: float
    interval: tuple[float, float]
    right: Doubles = field(repr=False)
    tried: tuple[TriedHead, ...] = field(repr=False)
    calibration: Calibrated
    unknown: UnknownThreshold
    probabilities: Doubles = field(repr=False)


def fit_objects(
    features: NDArray[np.float32], labels: Labels, *, head: str = "auto", refuse: float = REFUSED, seed: int = 0
) -> Fitted:
    """Choose and fit a head, and calibrate it on held-out objects.

    Args:
        features: Embeddings `(n, S, D)` of S samples of each object: as it is, turned, and its views.
        labels: `(n,)`, each of 0 … classes − 1 at least twice.
        head: `"auto"` or one of `HEADS`.
        refuse: Largest share of known objects that may be called unknown.
        seed: Of folds and bootstraps.

    Raises:
        InputError: All embeddings are equal.
    """
    classes = int(labels.max()) + 1
    if (features == features[0, 0]).all():
        raise InputError("all embeddings are equal, so no classifier can be fitted; use another --model")
    held_out = hold_out(features, labels, classes=classes, candidates=strengths(head), seed=seed)
    correct = held_out.correct
    chosen = choose(correct, held_out.candidates)
    accuracy = expected_accuracy(correct, held_out.candidates, seed=seed)
    temperature, calibration = _calibrate(held_out, chosen)
    probabilities = softmax(held_out.decisions[chosen] / temperature)
    name, strength = held_out.candidates[chosen]
    samples, seen = features.reshape(-1, features.shape[2]), labels.repeat(features.shape[1])
    fitted = fit_head(name, samples, labels=seen, classes=classes, strength=strength)
    references = fitted.standardise(choose_references(features, labels, seed=seed)).astype(np.float32)
    novelty, unknown = _novelty(references, held_out.distances, probabilities, refuse)
    return Fitted(
        head=fitted,
        novelty=novelty,
        chosen=(name, strength),
        accuracy=accuracy,
        interval=wilson(accuracy * len(labels), len(labels)),
        right=correct[chosen],
        tried=tuple(
            TriedHead(*candidate, float(row.mean()))
            for candidate, row in zip(held_out.candidates, correct, strict=True)
        ),
        calibration=calibration,
        unknown=unknown,
        probabilities=probabilities,
    )


def _novelty(
    references: NDArray[np.float32], distances: Doubles, probabilities: Doubles, refuse: float
) -> tuple[Novelty, UnknownThreshold]:
    """The measure of novelty and its threshold, from held-out objects.

    Args:
        references: Standardised embeddings of labelled objects `(m, D)`.
        distances: To the nearest object on the other side of the fold `(repeats, n)`.
        probabilities: Calibrated ones `(repeats, n, classes)`.
        refuse: Largest share of known objects that may be called unknown.
    """
    novelty = Novelty(references, Scale.of(distances), Scale.of(1 - probabilities.max(axis=2)))
    values = novelty.combine(distances, probabilities)
    threshold = threshold_of(values.ravel(), refuse)
    return novelty, UnknownThreshold(threshold, float((values > threshold).mean()), refuse)


def _calibrate(held_out: HeldOut, chosen: int) -> tuple[float, Calibrated]:
    """The temperature, and the calibration error without it and with it; the latter with that of the other half."""
    decisions, labels = held_out.decisions[chosen], held_out.labels  # (repeats, n, classes)
    repeats, count, classes = decisions.shape

    def flat(rows: NDArray[np.int64]) -> tuple[Doubles, Labels]:
        return decisions[:, rows].reshape(-1, classes), np.tile(labels[rows], repeats)

    every = np.arange(count)
    temperature = fit_temperature(*flat(every))
    after = np.zeros_like(decisions)
    for half in (every[::2], every[1::2]):
        others = np.setdiff1d(every, half)
        after[:, half] = softmax(decisions[:, half] / fit_temperature(*flat(others)))
    truth = np.tile(labels, repeats)
    before = softmax(decisions).reshape(-1, classes)
    errors = calibration_error(before, truth), calibration_error(after.reshape(-1, classes), truth)
    return temperature, Calibrated(temperature, *errors)
