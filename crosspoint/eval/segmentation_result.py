"""Predicted parts of clouds."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosspoint.data.sets.datasets import PartClouds

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class SegmentationResult:
    """Predicted parts of some clouds, by both rules.

    Attributes:
        clouds: The clouds: points `(n, N, 3)`, labels `(n,)`, true parts `(n, N)`.
        of_all: `(n, N)`, the most likely of all parts.
        of_own: `(n, N)`, the most likely of the category's own parts.
        reference: `of_own` of the other model, or None.
        margins: `(n, N)`, how much the other model prefers its own choice to `of_own`, in logits; 0 where both agree.
    """

    clouds: PartClouds
    of_all: Labels
    of_own: Labels
    reference: Labels | None
    margins: NDArray[np.float32] | None
