"""Labels that look wrong: objects to which held-out classifiers surely give another class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crosspoint.classify.heads import Labels
from crosspoint.runtime.classifier import Doubles

SURE = 0.5  # smallest probability of the other class
TIMES = 5.0  # smallest ratio to the probability of the given class


@dataclass(frozen=True)
class SuspectLabel:
    """A label that looks wrong.

    Attributes:
        name: Name of the object.
        label: The given label.
        suggested: The class that the object looks like.
        probability: Probability of that class.
    """

    name: str
    label: str
    suggested: str
    probability: float


def find_suspects(
    probabilities: Doubles, labels: Labels, *, names: Sequence[str], classes: Sequence[str]
) -> tuple[SuspectLabel, ...]:
    """Find the labels that look wrong, the most certain first.

    Args:
        probabilities: Calibrated probabilities of held-out objects `(repeats, n, classes)`.
        labels: The given labels `(n,)`.
        names: Names of the objects.
        classes: Class names.
    """
    mean = probabilities.mean(axis=0)  # (n, classes)
    other = mean.argmax(axis=1)
    rows = np.arange(len(labels))
    agreed = (probabilities.argmax(axis=2) == other).all(axis=0)
    sure = (mean[rows, other] >= SURE) & (mean[rows, other] >= TIMES * mean[rows, labels])
    found = np.flatnonzero(agreed & sure & (other != labels))
    order = found[np.argsort(-mean[found, other[found]], kind="stable")]
    return tuple(SuspectLabel(names[i], classes[labels[i]], classes[other[i]], float(mean[i, other[i]])) for i in order)
