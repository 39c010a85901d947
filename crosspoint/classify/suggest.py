"""Which unlabelled objects to label next."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crosspoint.classify.fitted import Fitted
from crosspoint.classify.objects import UnlabelledObjects
from crosspoint.classify.results import Suggestion
from crosspoint.runtime.classifier import Doubles, softmax
from crosspoint.runtime.novelty import nearest_distances

POOL = 2  # of the POOL · N least certain objects, N are suggested


def suggest(
    fitted: Fitted, unlabelled: UnlabelledObjects, *, classes: Sequence[str], count: int
) -> tuple[Suggestion, ...]:
    """Choose the objects whose labels would help most: uncertain ones that differ from each other.

    Candidates are the `POOL` · count objects whose probabilities have the largest entropy (uncertainty sampling: Lewis
    and Gale, 1994). Of these, the greedy solution of the k-centre problem (Gonzalez, 1985; core-sets: Sener and
    Savarese, 2018) takes the farthest from the labelled objects, then the farthest from these and itself, and so on.

    Args:
        fitted: The classifier.
        unlabelled: The objects to choose from.
        classes: Class names.
        count: Number of objects; all if there are fewer.
    """
    probabilities = softmax(fitted.head.decide(unlabelled.features) / fitted.calibration.temperature)  # (m, classes)
    entropy = relative_entropy(probabilities)
    rows = np.argsort(-entropy, kind="stable")[: POOL * count]
    standard = fitted.head.standardise(unlabelled.features[rows])
    chosen = rows[farthest(standard, fitted.novelty.references.astype(np.float64), count=count)]
    best = probabilities.argmax(axis=1)
    return tuple(
        Suggestion(unlabelled.names[i], classes[best[i]], float(probabilities[i, best[i]]), float(entropy[i]))
        for i in chosen
    )


def relative_entropy(probabilities: Doubles) -> Doubles:
    """`−Σ p log p / log classes` over the last dimension."""
    logarithms = np.log(np.maximum(probabilities, 1e-300))
    entropy: Doubles = -(probabilities * logarithms).sum(axis=-1) / np.log(probabilities.shape[-1])
    return entropy


def farthest(features: Doubles, start: Doubles, *, count: int) -> NDArray[np.int64]:
    """Rows of `(m, D)` in the order in which each is the farthest from `start` `(s, D)` and from those before it."""
    nearest = nearest_distances(features, start)
    chosen = list[int]()
    while len(chosen) < min(count, len(features)):
        row = int(nearest.argmax())
        chosen.append(row)
        nearest = np.minimum(nearest, np.linalg.norm(features - features[row], axis=1))
        nearest[chosen] = -1  # an equal object is at distance 0
    return np.array(chosen, np.int64)
