"""What a candidate has to offer so that its neighbour graphs can be judged."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class NeighbourGraphs(Protocol):
    """A candidate that shows which neighbours it chose."""

    def neighbours(self, inputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.int64]]:
        """The neighbours `(B, N, k)` of every EdgeConv, by name and in order.

        Args:
            inputs: By name, a batch, which is run as it is: another batch may choose another of two all but equally far
                neighbours.
        """
