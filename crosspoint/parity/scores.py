"""Parity of classifiers: labels, scores and novelty compared with the trained network and its head in float64."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.data.points import Points, normalise
from crosspoint.parity.limits import LIMITS, Limits
from crosspoint.parity.task import LabelChange, ScoreTask, UnknownChange
from crosspoint.runtime.classifier import Classifier, Doubles
from crosspoint.runtime.encoder import Encoder

BATCH = 8


class ScoreAgreement:
    """Compares candidates with reference scores, which are computed once.

    Args:
        features: Embeddings `(m, D)` of the classifier's own clouds, by the trained network in float64.
        classifier: Head and clouds.
        limits: Largest errors allowed.
    """

    measure = "accuracy"

    def __init__(self, features: Doubles, classifier: Classifier, *, limits: Limits) -> None:
        self._expected, self._classifier, self._limits = classifier.rows(features), classifier, limits

    def compare(self, encoder: Encoder) -> ScoreTask:
        """Compare labels, scores and novelty. The head in float64 completes a graph without a head."""
        clouds = self._classifier.clouds
        pieces = []
        for start in track(range(0, len(clouds), BATCH), "Comparing labels"):
            piece = clouds[start : start + BATCH]
            if encoder.specification.classifier is None:
                pieces.append(self._classifier.rows(encoder.embed(piece)))
            else:
                pieces.append(_rows(encoder, piece))
        return compare_rows(self._expected, np.concatenate(pieces), classifier=self._classifier, limits=self._limits)


def _rows(encoder: Encoder, clouds: Points) -> Doubles:
    """Scores and novelty `(m, classes + 1)` of a graph with a head."""
    found = encoder.predict(clouds)
    return np.concatenate([found.scores, found.novelty[:, None]], axis=1).astype(np.float64)


def compare_rows(expected: Doubles, found: Doubles, *, classifier: Classifier, limits: Limits) -> ScoreTask:
    """Compare a candidate's scores and novelty `(m, classes + 1)` with the expected ones."""
    truth, classes, threshold = classifier.labels, classifier.info.classes, classifier.info.threshold
    novelty, novel = expected[:, -1], found[:, -1]
    expected, scores = expected[:, :-1], found[:, :-1]
    own, other = expected.argmax(axis=1), scores.argmax(axis=1)
    margins = _margins(expected)
    before, after = float(np.mean(own == truth)), float(np.mean(other == truth))
    return ScoreTask(
        measure=ScoreAgreement.measure,
        source=classifier.source,
        objects=len(truth),
        reference_accuracy=before,
        candidate_accuracy=after,
        difference=after - before,
        largest_error=float(np.abs(scores - expected).max()),
        score_limit=limits.score,
        changed=tuple(
            LabelChange(int(i), classes[own[i]], classes[other[i]], float(margins[i]))
            for i in np.flatnonzero(own != other)
        ),
        largest_novelty_error=float(np.abs(novel - novelty).max()),
        novelty_limit=limits.novelty,
        changed_unknown=tuple(
            UnknownChange(int(i), bool(novel[i] > threshold), float(abs(novelty[i] - threshold)))
            for i in np.flatnonzero((novelty > threshold) != (novel > threshold))
        ),
    )


def _margins(scores: Doubles) -> NDArray[np.float64]:
    """Difference of the two largest scores of each cloud."""
    ordered = np.sort(scores, axis=1)
    margins: NDArray[np.float64] = ordered[:, -1] - ordered[:, -2]
    return margins


def require_head(encoder: Encoder, classifier: Classifier, *, name: str) -> None:
    """Compare a candidate's scores and novelty with the head in float64 on the candidate's own embeddings.

    Args:
        encoder: The candidate.
        classifier: Head and clouds; as many points are used as the candidate takes.
        name: Name of the candidate in messages.

    Raises:
        CheckFailed: One differs by more than the limit of fp32, because the head is float32 in every precision.
    """
    clouds = classifier_clouds(classifier, encoder.specification.points).clouds
    pieces = [clouds[start : start + BATCH] for start in range(0, len(clouds), BATCH)]
    errors = np.concatenate([np.abs(_rows(encoder, piece) - classifier.rows(encoder.embed(piece))) for piece in pieces])
    limits = LIMITS["fp32"]
    for what, error, limit in (
        ("a score", errors[:, :-1].max(), limits.score),
        ("the novelty", errors[:, -1].max(), limits.novelty),
    ):
        if not error <= limit:
            raise CheckFailed(f"{name} differs from the classifier's head: {what} by {error:.3f} (limit {limit:g})")


def classifier_clouds(classifier: Classifier, points: int | None) -> Classifier:
    """The same classifier with clouds of `points` points; None: as stored.

    Raises:
        InputError: The stored clouds have fewer points.
    """
    stored = classifier.clouds.shape[1]
    if points is None or points == stored:
        return classifier
    if points > stored:
        raise InputError(f"the classifier was fitted to clouds of {stored} points; give --points {stored} or fewer")
    return replace(classifier, clouds=normalise(classifier.clouds[:, :points]))  # the points are in random order
