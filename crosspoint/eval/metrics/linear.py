"""The linear SVM of the protocols: libsvm's one-vs-one classifier, exact, on a shared Gram matrix.

`sklearn.svm.SVC(kernel="linear")` computes the same inner products again for each pair of classes, each fold and each
C. They are all entries of one matrix `K = X Xᵀ`. It is computed once, and libsvm solves the same dual problems on parts
of it (`kernel="precomputed"`). A classifier is stored as its primal weights `w = Σ α_i y_i x_i`.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.core.results import key

FOLDS = 5
AS_STORED = frozenset({"scanobjectnn"})  # sets whose clouds the paper's code takes without normalising them
OFFICIAL_C = {"modelnet40": 0.1, "scanobjectnn": 0.01}  # of the paper's code
EXPONENTS = tuple(step / 2 for step in range(-4, 7))
"""Powers of ten for C in cross-validation, relative to the features' variance: 0.01 … 1000 in half decades."""

Floats = NDArray[np.float32] | NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class TriedC:
    """One value of C in cross-validation.

    Attributes:
        c: The value.
        accuracy: Mean accuracy over the folds.
        std: Sample standard deviation over the folds.
    """

    c: float = field(metadata=key("C"))
    accuracy: float
    std: float


@dataclass(frozen=True)
class LinearSVM:
    """A fitted one-vs-one linear classifier over the pairs of classes (0, 1), (0, 2) … (1, 2) and so on.

    Attributes:
        classes: The labels, ascending, `(c,)`.
        weights: `(c (c − 1) / 2, D)` float64.
        intercepts: `(c (c − 1) / 2,)` float64.
    """

    classes: Labels
    weights: NDArray[np.float64]
    intercepts: NDArray[np.float64]

    def decide(self, features: Floats) -> NDArray[np.float64]:
        """`w · x + b` of `(n, D)` features for each pair, `(n, pairs)`; positive votes for the pair's first class."""
        decisions: NDArray[np.float64] = np.asarray(features, np.float64) @ self.weights.T + self.intercepts
        return decisions

    def predict(self, features: Floats) -> Labels:
        """The class with the most votes over all pairs, `(n,)`; the lowest label wins ties, as in libsvm."""
        decisions = self.decide(features)
        votes = np.zeros((len(decisions), len(self.classes)), np.int64)  # (n, c)
        for pair, (i, j) in enumerate(zip(*np.triu_indices(len(self.classes), 1), strict=True)):
            first = decisions[:, pair] > 0
            votes[:, i] += first
            votes[:, j] += ~first
        predicted: Labels = self.classes[votes.argmax(axis=1)]
        return predicted


def gram(features: Floats) -> NDArray[np.float64]:
    """All inner products `X Xᵀ` `(n, n)` of `(n, D)` features, in float64."""
    x = np.asarray(features, np.float64)
    products: NDArray[np.float64] = x @ x.T
    return products


def fit(
    features: Floats, labels: Labels, *, c: float, products: NDArray[np.float64] | None = None, tolerance: float = 1e-3
) -> LinearSVM:
    """Fit the classifier `SVC(kernel="linear", C=c, tol=tolerance)`.

    Args:
        features: `(n, D)`.
        labels: `(n,)`.
        c: Penalty of the hinge losses.
        products: `gram(features)`, if it is already known.
        tolerance: libsvm's stopping tolerance.

    Raises:
        InputError: There are fewer than two classes.
    """
    from sklearn.svm import SVC

    if len(np.unique(labels)) < 2:
        raise InputError("a linear SVM needs objects of at least two classes; check the labels of the training split")
    classifier = SVC(kernel="precomputed", C=c, tol=tolerance, cache_size=500)
    classifier.fit(gram(features) if products is None else products, labels)
    sign = -1.0 if len(classifier.classes_) == 2 else 1.0  # scikit-learn flips the sign if there is only one pair
    coefficients = _pair_coefficients(sign * classifier.dual_coef_, classifier.n_support_)  # (pairs, support)
    weights = coefficients @ np.asarray(features[classifier.support_], np.float64)
    return LinearSVM(classifier.classes_.astype(np.int64), weights, sign * classifier.intercept_)


def grid(features: Floats) -> list[float]:
    """The values of C for cross-validation: half decades around one over the variance of the features.

    Scaling features by s and C by 1/s² gives the same classifier, so the grid uses the mean squared distance of `(n,
    D)` features from their mean. It uses no labels.
    """
    x = np.asarray(features, np.float64)
    variance = float(np.square(x - x.mean(axis=0)).sum(axis=1).mean())
    if not variance > 0:
        raise InputError(
            "all embeddings are equal, the model has collapsed; no classifier can be trained: give another model"
        )
    unit = -round(2 * math.log10(variance)) / 2
    return [float(10 ** (unit + exponent)) for exponent in EXPONENTS]


def choose_c(
    features: Floats, labels: Labels, *, products: NDArray[np.float64], seed: int
) -> tuple[float, tuple[TriedC, ...]]:
    """Choose C by stratified cross-validation: the best mean accuracy; of equal ones the smallest C.

    Args:
        features: `(n, D)`, from the training split only.
        labels: `(n,)`; every class has at least two objects.
        products: `gram(features)`.
        seed: Random seed of the folds.

    Returns:
        C, and the result of each value.

    Raises:
        InputError: A class has only one object, or all embeddings are equal.
    """
    from sklearn.model_selection import StratifiedKFold

    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        raise InputError(
            f"class {classes[counts.argmin()]} has one training object; cross-validation needs two of each class"
        )
    values = grid(features)
    folds = StratifiedKFold(min(FOLDS, int(counts.min())), shuffle=True, random_state=seed)
    scores = np.zeros((len(values), folds.get_n_splits()))  # (C, folds)
    jobs = list(enumerate(folds.split(features, labels)))
    for fold, (train, held_out) in track(jobs, "Cross-validating C"):
        part = products[np.ix_(train, train)]
        for row, c in zip(scores, values, strict=True):
            predicted = fit(features[train], labels[train], c=c, products=part).predict(features[held_out])
            row[fold] = np.mean(predicted == labels[held_out])
    tried = tuple(TriedC(c, float(row.mean()), float(row.std(ddof=1))) for c, row in zip(values, scores, strict=True))
    return values[int(scores.mean(axis=1).argmax())], tried


def _pair_coefficients(dual: NDArray[np.float64], support: NDArray[np.int32]) -> NDArray[np.float64]:
    """Spread libsvm's `(c − 1, support)` coefficients, sorted by class, to one row per pair of classes."""
    starts = np.concatenate([[0], np.cumsum(support)])
    pairs = list(zip(*np.triu_indices(len(support), 1), strict=True))
    rows = np.zeros((len(pairs), dual.shape[1]))
    for row, (i, j) in zip(rows, pairs, strict=True):
        of_i, of_j = slice(starts[i], starts[i + 1]), slice(starts[j], starts[j + 1])
        row[of_i], row[of_j] = dual[j - 1, of_i], dual[i, of_j]
    return rows
