"""Linear classifiers on embeddings: logistic regression, a linear SVM, and the nearest class mean.

All three are `z = ((x − mean) / scale) W + b` once fitted, so one small graph can hold any of them. None changes if the
standardised features are rotated, so each is fitted to the coordinates of the objects in the space that they
span: n objects need at most n coordinates instead of the width of the embedding.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.runtime.classifier import Doubles, LinearHead

Labels = NDArray[np.int64]

HEADS = ("nearest", "logistic", "svm")
STRENGTHS: dict[str, tuple[float, ...]] = {
    "nearest": (0.3, 0.1, 0.03),
    "logistic": (1e-4, 1e-3, 1e-2, 1e-1),
    "svm": (1e-5, 1e-4, 1e-3, 1e-2),
}
"""Values that cross-validation tries, the most regularised first: the share λ of the unit matrix in the covariance of
`nearest`, and C of the others. `nearest` begins at 0.3, because the first is what few labels get: λ = 1, the nearest
mean by Euclidean distance, was 8 points less accurate with five objects of each class."""

LEAST = 0.01  # smallest deviation, relative to the root mean square of all, so that constant features are not amplified


class Span:
    """Coordinates of features in the space that they span; heads are fitted there.

    Args:
        features: `(n, D)`.
    """

    def __init__(self, features: NDArray[Any]) -> None:
        x = np.asarray(features, np.float64)
        self.mean, deviation = x.mean(axis=0), x.std(axis=0)
        least = LEAST * float(np.sqrt(np.mean(np.square(deviation))))
        self.scale = np.maximum(deviation, least) if least > 0 else np.ones_like(deviation)
        standard = (x - self.mean) / self.scale
        left, lengths, right = np.linalg.svd(standard, full_matrices=False)
        kept = lengths > 1e-9 * max(float(lengths[0]), 1e-300)
        self._basis = right[kept]  # (r, D)
        self.coordinates: Doubles = left[:, kept] * lengths[kept]  # (n, r)

    def coordinates_of(self, features: NDArray[Any]) -> Doubles:
        """Coordinates `(…, m, r)` of other features `(…, m, D)`; components outside the space have no effect."""
        found: Doubles = self.standardise(features) @ self._basis.T
        return found

    def standardise(self, features: NDArray[Any]) -> Doubles:
        """`(x − mean) / scale` for features `(…, D)`."""
        standard: Doubles = (np.asarray(features, np.float64) - self.mean) / self.scale
        return standard

    def head(self, weights: Doubles, biases: Doubles) -> LinearHead:
        """A classifier of coordinates `(r, classes)` as one of embeddings."""
        return LinearHead(self.mean, self.scale, self._basis.T @ weights, biases)


def fit_coordinates(
    name: str, coordinates: Doubles, *, labels: Labels, classes: int, strength: float
) -> tuple[Doubles, Doubles]:
    """Weights `(r, classes)` and biases `(classes,)` of a head.

    Args:
        name: One of `HEADS`.
        coordinates: `(n, r)`.
        labels: `(n,)`, each of 0 … classes − 1 at least once.
        classes: Number of classes.
        strength: From `STRENGTHS`.
    """
    if name == "nearest":
        return _nearest(coordinates, labels, classes, strength)
    return _logistic(coordinates, labels, strength) if name == "logistic" else _svm(coordinates, labels, strength)


def _nearest(x: Doubles, labels: Labels, classes: int, strength: float) -> tuple[Doubles, Doubles]:
    """The nearest class mean by Mahalanobis distance, with a shrunk covariance (Friedman, 1989).

        Σ = (1 − λ) S + λ (tr S / r) I,   S = Σᵢ (xᵢ − μ(yᵢ))(xᵢ − μ(yᵢ))ᵀ / n
        z_k = x · Σ⁻¹ μ_k − ½ μ_k · Σ⁻¹ μ_k

    λ = 1 is the nearest mean by Euclidean distance.
    """
    means = np.stack([x[labels == label].mean(axis=0) for label in range(classes)])  # (c, r)
    within = x - means[labels]  # (n, r)
    covariance = within.T @ within / len(x)
    size = float(np.trace(covariance)) / max(x.shape[1], 1)
    size = size if size > 0 else 1.0
    shrunk = (1 - strength) * covariance + strength * size * np.eye(x.shape[1])
    weights = np.linalg.solve(shrunk, means.T)  # (r, c)
    return weights, -0.5 * np.einsum("cr,rc->c", means, weights)


def _logistic(x: Doubles, labels: Labels, strength: float) -> tuple[Doubles, Doubles]:
    """Multinomial logistic regression with an L2 penalty."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, max_iter=1000, tol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # stopping early matters little for the most flexible ones
        model.fit(x, labels)
    return _of_two(model.coef_.T, model.intercept_, half=True)


def _svm(x: Doubles, labels: Labels, strength: float) -> tuple[Doubles, Doubles]:
    """One linear SVM for each class against the rest."""
    from sklearn.svm import LinearSVC

    model = LinearSVC(C=strength, max_iter=5000, dual=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x, labels)
    return _of_two(model.coef_.T, model.intercept_, half=False)


def _of_two(weights: Doubles, biases: Doubles, *, half: bool) -> tuple[Doubles, Doubles]:
    """For two classes scikit-learn gives one column, that of the second; `half`: both share it (softmax)."""
    if weights.shape[1] > 1:
        return weights, biases
    factor = 0.5 if half else 1.0
    return np.hstack([-weights, weights]) * factor, np.concatenate([-biases, biases]) * factor


def fit_head(name: str, features: NDArray[Any], *, labels: Labels, classes: int, strength: float) -> LinearHead:
    """Fit a head to embeddings `(n, D)`; arguments as for `fit_coordinates`."""
    span = Span(features)
    return span.head(*fit_coordinates(name, span.coordinates, labels=labels, classes=classes, strength=strength))


def strengths(name: str) -> Sequence[tuple[str, float]]:
    """Candidates of one head, or of all heads for `"auto"`: name and strength."""
    return [(head, strength) for head in HEADS if name in (head, "auto") for strength in STRENGTHS[head]]
