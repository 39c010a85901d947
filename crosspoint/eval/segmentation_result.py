"""The parts that a segmenter predicts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosspoint.data.sets.datasets import PartClouds

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class SegmentationResult:
    """Predicted parts of the same clouds.

    Attributes:
        clouds: What was segmented: points `(n, N, 3)`, labels `(n,)`, true parts `(n, N)`.
        of_all: `(n, N)`, the most likely of all parts.
        of_own: `(n, N)`, the most likely of the category's own.
        reference: `of_own` of the other model, if there is one.
        margins: `(n, N)`, by how much the other model prefers its own choice to `of_own`; 0 where they agree.
    """

    clouds: PartClouds
    of_all: Labels
    of_own: Labels
    reference: Labels | None
    margins: NDArray[np.float32] | None
