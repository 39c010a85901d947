"""Labels that look wrong: objects that classifiers which never saw them are sure to be of another class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crosspoint.classify.heads import Labels
from crosspoint.runtime.classifier import Doubles

SURE = 0.5  # least probability of the other class
TIMES = 5.0  # and so many times that of the given one


@dataclass(frozen=True)
class SuspectLabel:
    """A label that looks wrong.

    Attributes:
        name: Of the object.
        label: As given.
        suggested: The class that it is taken for.
        probability: Of that class.
    """

    name: str
    label: str
    suggested: str
    probability: float


def find_suspects(
    probabilities: Doubles, labels: Labels, *, names: Sequence[str], classes: Sequence[str]
) -> tuple[SuspectLabel, ...]:
    """The labels that look wrong, the surest first.

    Args:
        probabilities: Of objects that the heads were not fitted to, `(repeats, n, classes)`, calibrated.
        labels: As given `(n,)`.
        names: Of the objects.
        classes: Names.
    """
    mean = probabilities.mean(axis=0)  # (n, classes)
    other = mean.argmax(axis=1)
    rows = np.arange(len(labels))
    agreed = (probabilities.argmax(axis=2) == other).all(axis=0)
    sure = (mean[rows, other] >= SURE) & (mean[rows, other] >= TIMES * mean[rows, labels])
    found = np.flatnonzero(agreed & sure & (other != labels))
    order = found[np.argsort(-mean[found, other[found]], kind="stable")]
    return tuple(SuspectLabel(names[i], classes[labels[i]], classes[other[i]], float(mean[i, other[i]])) for i in order)
