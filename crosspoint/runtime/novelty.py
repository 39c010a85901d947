"""How unlike the labelled objects a cloud is.

    novelty = (d − μ_d) / σ_d + (q − μ_q) / σ_q

d is the distance to the nearest labelled object, q = 1 − the largest probability; μ and σ are the means and standard
deviations of both over known objects in cross-validation. d finds what is far from all classes, q what is between them.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of a quantity over known objects."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Doubles) -> "Scale":
        """Those of some values; a deviation of 0 becomes 1."""
        return cls(float(values.mean()), float(values.std()) or 1.0)

    def apply(self, values: Doubles) -> Doubles:
        """`(values − mean) / deviation`."""
        return (values - self.mean) / self.deviation


@dataclass(frozen=True)
class Novelty:
    """Measures the novelty of embeddings.

    Attributes:
        references: Standardised embeddings of labelled objects `(m, D)`.
        distance: Scale of the distance to the nearest one.
        doubt: Scale of 1 − the largest probability.
    """

    references: NDArray[np.float32] = field(repr=False)
    distance: Scale
    doubt: Scale

    def measure(self, standard: Doubles, scores: Doubles) -> Doubles:
        """Novelty `(n,)` of standardised embeddings `(n, D)` with probabilities `(n, classes)`."""
        distances = nearest_distances(standard, self.references.astype(np.float64))
        return self.combine(distances, scores)

    def combine(self, distances: Doubles, scores: Doubles) -> Doubles:
        """Novelty `(…, n)` of distances `(…, n)` and probabilities `(…, n, classes)`."""
        return self.distance.apply(distances) + self.doubt.apply(1 - scores.max(axis=-1))


def nearest_distances(features: Doubles, references: Doubles) -> Doubles:
    """Euclidean distance `(n,)` of `(n, D)` to the nearest of `(m, D)`.

    min_j ‖x − r_j‖² = ‖x‖² + min_j (‖r_j‖² − 2 x · r_j)
    """
    least = (np.square(references).sum(axis=1) - 2 * features @ references.T).min(axis=1)
    distances: Doubles = np.sqrt(np.maximum(np.square(features).sum(axis=1) + least, 0))
    return distances
