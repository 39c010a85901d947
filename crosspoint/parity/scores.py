"""Task parity of classifiers: labels and scores beside those of the trained network and its head in float64."""

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.parity.task import LabelChange, ScoreTask
from crosspoint.runtime.classifier import Classifier, Doubles
from crosspoint.runtime.encoder import Encoder

BATCH = 8


class ScoreAgreement:
    """The reference's side, computed once.

    Args:
        features: Embeddings `(m, D)` of the classifier's own clouds by the trained network in float64.
        classifier: Its head and its clouds.
        limit: Largest error of a score.
    """

    measure = "accuracy"

    def __init__(self, features: Doubles, classifier: Classifier, *, limit: float) -> None:
        self._expected, self._classifier, self._limit = classifier.scores(features), classifier, limit

    def compare(self, encoder: Encoder) -> ScoreTask:
        """Labels and scores of both, for a manifest. A graph without a head is completed by the one in float64."""
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
    """What a candidate's scores `(m, classes)` are beside the expected ones."""
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
