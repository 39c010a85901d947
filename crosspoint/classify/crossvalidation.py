"""Cross-validation on the labels alone, grouped by object.

Each candidate (head and strength) decides on every object with classifiers that were not fitted to it. These decisions
give the head and its strength, the expected accuracy, the temperature, the threshold of unknown objects, and the labels
that look wrong.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosspoint.classify.heads import Labels, Span, fit_coordinates
from crosspoint.data.splits import balanced
from crosspoint.runtime.classifier import Doubles
from crosspoint.runtime.novelty import nearest_distances

FOLDS, REPEATS = 5, 4
BOOTSTRAPS = 500
REFERENCES = 1024  # embeddings that novelty measures distances to; 8 MB of 2,048 numbers each
Candidate = tuple[str, float]  # head and strength


@dataclass(frozen=True)
class HeldOut:
    """Decisions of the candidates on objects that they were not fitted to.

    Attributes:
        candidates: Head and strength, the most regularised of a head first.
        decisions: `(candidates, repeats, n, classes)`; each sample of an object counts as a repeat.
        distances: To the nearest object on the other side of the fold `(repeats, n)`, as `Novelty` measures them.
        labels: `(n,)`.
    """

    candidates: tuple[Candidate, ...]
    decisions: Doubles
    distances: Doubles
    labels: Labels

    @property
    def correct(self) -> Doubles:
        """Share of the repeats in which a candidate classifies an object correctly, `(candidates, n)`."""
        right: Doubles = (self.decisions.argmax(axis=3) == self.labels).mean(axis=1)
        return right


def hold_out(
    features: NDArray[np.float32], labels: Labels, *, classes: int, candidates: Sequence[Candidate], seed: int
) -> HeldOut:
    """Cross-validate candidates.

    Args:
        features: Samples of each object `(n, S, D)`; they stay on one side of every fold.
        labels: `(n,)`, each class at least twice.
        classes: Number of classes.
        candidates: Head and strength.
        seed: Random seed of the folds.
    """
    repeats = REPEATS if len(labels) <= 500 else 1
    count, samples, width = features.shape
    made = np.zeros((len(candidates), repeats, samples, count, classes))
    distances = np.zeros((repeats, samples, count))
    for repeat, train, test in folds(labels, repeats=repeats, seed=seed):
        span = Span(features[train].reshape(-1, width))
        inner, outer = span.coordinates, span.coordinates_of(features[test].swapaxes(0, 1))  # (S, m, r)
        seen = labels[train].repeat(samples)
        references = choose_references(features[train], labels[train], seed=seed)
        outside = span.standardise(features[test].swapaxes(0, 1).reshape(-1, width))
        distances[repeat][:, test] = nearest_distances(outside, span.standardise(references)).reshape(samples, -1)
        for row, (name, strength) in zip(made, candidates, strict=True):
            weights, biases = fit_coordinates(name, inner, labels=seen, classes=classes, strength=strength)
            row[repeat, :, test] = (outer @ weights + biases).swapaxes(0, 1)
    decisions = made.reshape(len(candidates), -1, count, classes)
    return HeldOut(tuple(candidates), decisions, distances.reshape(-1, count), labels)


def choose_references(features: NDArray[np.float32], labels: Labels, *, seed: int) -> NDArray[np.float32]:
    """Embeddings `(m, D)` that distances are measured to: all samples of some objects, about `REFERENCES`.

    Args:
        features: Samples of each object `(n, S, D)`.
        labels: `(n,)`; if there are more objects, those taken are balanced over the classes.
        seed: Random seed of those taken.
    """
    most = max(REFERENCES // features.shape[1], len(np.unique(labels)))
    rows = balanced(labels, min(most, len(labels)), seed=seed)
    found: NDArray[np.float32] = features[rows].reshape(-1, features.shape[2])
    return found


def folds(labels: Labels, *, repeats: int, seed: int) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Index of the repeat, objects to fit to, and objects held out; every fit sees every class."""
    from sklearn.model_selection import StratifiedKFold

    fewest = int(np.bincount(labels).min())
    for repeat in range(repeats):
        splitter = StratifiedKFold(min(FOLDS, fewest), shuffle=True, random_state=seed + repeat)
        for train, test in splitter.split(np.zeros(len(labels)), labels):
            yield repeat, train, test


def choose(correct: Doubles, candidates: Sequence[Candidate]) -> int:
    """Index of the candidate by the one-standard-error rule (Breiman et al., 1984).

    For each head, take the most regularised candidate whose accuracy is within one standard error of the head's best.
    Of these, take the first head whose accuracy is within one standard error of the best: `HEADS` begins with the one
    that is most accurate with few labels.

    Args:
        correct: `(candidates, n)`, as in `HeldOut`.
        candidates: Head and strength, the most regularised of a head first.
    """
    heads = dict.fromkeys(name for name, _ in candidates)
    return _first(correct, [_first(correct, _rows_of(head, candidates)) for head in heads])


def _rows_of(head: str, candidates: Sequence[Candidate]) -> list[int]:
    return [i for i, (name, _) in enumerate(candidates) if name == head]


def _first(correct: Doubles, rows: Sequence[int]) -> int:
    """The first of some rows of `correct` whose accuracy is within one standard error of the best.

    The standard error is that of the paired difference `d` to the best over n objects, so that objects that are hard
    for all candidates do not count. Half an object is added for and against (Agresti and Min, 2005); otherwise the
    error is too small if one candidate is right wherever the other is:

        √(Σ dᵢ² + 1 − (Σ dᵢ)² / n) / n
    """
    best = max(rows, key=lambda i: float(correct[i].mean()))
    apart, count = correct[best] - correct[list(rows)], correct.shape[1]  # (rows, n)
    error = np.sqrt(np.square(apart).sum(axis=1) + 1 - apart.sum(axis=1) ** 2 / count) / count
    return next(i for i, d, e in zip(rows, apart.mean(axis=1), error, strict=True) if d <= e)


def expected_accuracy(correct: Doubles, candidates: Sequence[Candidate], *, seed: int) -> float:
    """Accuracy on new objects, corrected for the choice among candidates.

    The choice is repeated on objects drawn with replacement and measured on those that were not drawn (bootstrap
    bias-corrected cross-validation: Tsamardinos, Greasidou and Borboudakis, 2018).
    """
    rng, count = np.random.default_rng(seed), correct.shape[1]
    found = []
    for _ in range(BOOTSTRAPS):
        drawn = rng.integers(0, count, count)
        others = np.setdiff1d(np.arange(count), drawn)
        if len(others):
            found.append(float(correct[choose(correct[:, drawn], candidates), others].mean()))
    return float(np.mean(found))
