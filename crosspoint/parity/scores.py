"""Parity of classifiers: labels and scores compared with those of the trained network and its head in float64."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.data.points import normalise
from crosspoint.parity.limits import LIMITS
from crosspoint.parity.task import LabelChange, ScoreTask
from crosspoint.runtime.classifier import Classifier, Doubles
from crosspoint.runtime.encoder import Encoder

BATCH = 8


class ScoreAgreement:
    """Compares candidates with reference scores, which are computed once.

    Args:
        features: Embeddings `(m, D)` of the classifier's own clouds, by the trained network in float64.
        classifier: Head and clouds.
        limit: Largest error allowed of a score.
    """

    measure = "accuracy"

    def __init__(self, features: Doubles, classifier: Classifier, *, limit: float) -> None:
        self._expected, self._classifier, self._limit = classifier.scores(features), classifier, limit

    def compare(self, encoder: Encoder) -> ScoreTask:
        """Compare labels and scores. The head in float64 completes a graph without a head."""
        clouds = self._classifier.clouds
        pieces = []
        for start in track(range(0, len(clouds), BATCH), "Comparing labels"):
            piece = clouds[start : start + BATCH]
            if encoder.specification.classifier is None:
                pieces.append(self._classifier.scores(encoder.embed(piece)))
            else:
                pieces.append(np.asarray(encoder.predict(piece).scores, np.float64))
        return compare_scores(self._expected, np.concatenate(pieces), classifier=self._classifier, limit=self._limit)


def compare_scores(expected: Doubles, scores: Doubles, *, classifier: Classifier, limit: float) -> ScoreTask:
    """Compare a candidate's scores `(m, classes)` with the expected ones."""
    truth, classes = classifier.labels, classifier.info.classes
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
        score_limit=limit,
        changed=tuple(
            LabelChange(int(i), classes[own[i]], classes[other[i]], float(margins[i]))
            for i in np.flatnonzero(own != other)
        ),
    )


def _margins(scores: Doubles) -> NDArray[np.float64]:
    """Difference of the two largest scores of each cloud."""
    ordered = np.sort(scores, axis=1)
    margins: NDArray[np.float64] = ordered[:, -1] - ordered[:, -2]
    return margins


def require_head(encoder: Encoder, classifier: Classifier, *, name: str) -> None:
    """Compare a candidate's scores with the head in float64 on the candidate's own embeddings.

    Args:
        encoder: The candidate.
        classifier: Head and clouds; as many points are used as the candidate takes.
        name: Name of the candidate in messages.

    Raises:
        CheckFailed: A score differs by more than the limit of fp32, because the head is float32 in every precision.
    """
    clouds = classifier_clouds(classifier, encoder.specification.points).clouds
    pieces = [clouds[start : start + BATCH] for start in range(0, len(clouds), BATCH)]
    errors = [np.abs(encoder.predict(piece).scores - classifier.scores(encoder.embed(piece))).max() for piece in pieces]
    limit = LIMITS["fp32"].score
    if not max(errors) <= limit:
        raise CheckFailed(f"{name} differs from the classifier's head: a score by {max(errors):.3f} (limit {limit:g})")


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
