"""Intersection over union of parts, as the part-segmentation protocol defines it (Yi et al., 2016).

The IoU of a part on one object is `|P ∩ T| / |P ∪ T|`: P are the points predicted to be of the part, T those that are.
A part of the category that is in neither counts 1. An object's IoU is the mean over all parts of its category.
*Instance* mIoU is the mean over objects; *class* mIoU is the mean over categories of their means over objects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Parts = Sequence[Sequence[int]]
"""The part numbers of each category, by label."""


@dataclass(frozen=True)
class Ious:
    """IoUs of some objects.

    Attributes:
        labels: `(n,)`, categories of the objects.
        of_parts: One array per object, the IoU of each part of its category.
    """

    labels: NDArray[np.int64]
    of_parts: tuple[NDArray[np.float64], ...]

    @property
    def of_objects(self) -> NDArray[np.float64]:
        """IoU of each object, `(n,)`."""
        return np.array([ious.mean() for ious in self.of_parts])

    @property
    def instance(self) -> float:
        """Mean over objects."""
        return float(self.of_objects.mean())

    @property
    def by_category(self) -> dict[int, float]:
        """Mean over the objects of each category that occurs."""
        objects = self.of_objects
        return {int(label): float(objects[self.labels == label].mean()) for label in np.unique(self.labels)}

    @property
    def by_class(self) -> float:
        """Mean over categories."""
        return float(np.mean(list(self.by_category.values())))

    def by_part(self, label: int) -> NDArray[np.float64]:
        """Mean IoU of each part of a category over its objects."""
        own = [ious for ious, other in zip(self.of_parts, self.labels, strict=True) if other == label]
        mean: NDArray[np.float64] = np.mean(own, axis=0)
        return mean


def allowed_parts(labels: NDArray[np.int64], category_parts: Parts, *, parts: int) -> NDArray[np.bool_]:
    """Which parts objects of the categories `(n,)` can have: `(n, parts)`."""
    table = np.zeros((len(category_parts), parts), np.bool_)
    for label, own in enumerate(category_parts):
        table[label, list(own)] = True
    allowed: NDArray[np.bool_] = table[labels]
    return allowed


def most_likely(logits: NDArray[Any], allowed: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """The part with the largest logit at each point; of equal ones the first.

    Args:
        logits: `(B, N, parts)`.
        allowed: `(B, parts)`, parts to choose from; None: all.

    Returns:
        `(B, N)`.
    """
    if allowed is not None:
        logits = np.where(allowed[:, None, :], logits, -np.inf)
    labels: NDArray[np.int64] = logits.argmax(axis=2).astype(np.int64)
    return labels


def part_ious(truth: NDArray[np.int64], predicted: NDArray[np.int64], *, parts: Sequence[int]) -> NDArray[np.float64]:
    """IoU of each of `parts` on one object, from its true parts `truth (N,)` and its predicted parts `predicted (N,)`.

    It is computed from counts, `|P ∪ T| = |P| + |T| − |P ∩ T|`. A predicted part outside `parts` counts as an error.
    """
    size = 1 + max([*parts, int(truth.max(initial=0)), int(predicted.max(initial=0))])
    both = np.bincount(truth[truth == predicted], minlength=size)[list(parts)]
    either = (np.bincount(truth, minlength=size) + np.bincount(predicted, minlength=size))[list(parts)] - both
    ious: NDArray[np.float64] = np.where(either == 0, 1.0, both / np.maximum(either, 1))
    return ious


def object_ious(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], *, labels: NDArray[np.int64], category_parts: Parts
) -> Ious:
    """IoUs of objects.

    Args:
        truth: `(n, N)`, part numbers.
        predicted: `(n, N)`.
        labels: `(n,)`, categories.
        category_parts: The parts of each category.
    """
    rows = zip(truth, predicted, labels, strict=True)
    return Ious(labels, tuple(part_ious(t, p, parts=category_parts[label]) for t, p, label in rows))
