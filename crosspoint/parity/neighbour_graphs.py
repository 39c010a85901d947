"""The interface of a candidate whose neighbour graphs are visible."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class NeighbourGraphs(Protocol):
    """A candidate that shows which neighbours it chose."""

    def neighbours(self, inputs: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.int64]]:
        """The neighbours `(B, N, k)` of every EdgeConv, by name and in order.

        Args:
            inputs: A batch, by input name. It is not split: another batch size may change the choice at near ties.
        """
