"""What a candidate has to offer so that its neighbour graphs can be judged."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class NeighbourGraphs(Protocol):
    """A candidate that shows which neighbours it chose."""

    def expected(self, inputs: dict[str, NDArray[np.float32]]) -> tuple[NDArray[np.float64], dict[str, float]]:
        """The network's output `(B, …)` on the candidate's graphs, and by EdgeConv the least share of right neighbours.

        Args:
            inputs: By name, a batch.
        """
