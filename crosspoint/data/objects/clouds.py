"""The objects of a scan as clouds for an encoder, and where they lie in the scan."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crosspoint.data.points import Points


@dataclass(frozen=True)
class Boxes:
    """Where objects lie in their scans.

    Attributes:
        corners: (n, 2, 3) float64, least and greatest x, y and z in the scan's own frame.
        counts: (n,) int64, points of each object, of which its cloud may be a part.
    """

    corners: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]

    @staticmethod
    def concatenate(pieces: Iterable["Boxes"]) -> "Boxes":
        """The boxes of several scans, one after the other."""
        corners, counts = [np.empty((0, 2, 3))], [np.empty(0, np.int64)]
        for piece in pieces:
            corners.append(piece.corners)
            counts.append(piece.counts)
        return Boxes(np.concatenate(corners), np.concatenate(counts))


@dataclass(frozen=True)
class ObjectClouds:
    """The objects of one scan.

    Attributes:
        clouds: (N, 3) each, y-up and normalised as in training.
        names: Of each within the scan.
        boxes: Of each.
    """

    clouds: list[Points]
    names: list[str]
    boxes: Boxes

    def __len__(self) -> int:
        """Number of objects."""
        return len(self.clouds)

    def __iter__(self) -> Iterator[Points]:
        """The clouds."""
        return iter(self.clouds)
