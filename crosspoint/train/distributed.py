"""Several processes that train on one batch together, started by `torchrun`."""

import torch
from torch import Tensor
from torch.distributed.nn.functional import all_gather


class Group:
    """The processes of a run.

    Args:
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    def __init__(self, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size

    def gather(self, tensor: Tensor) -> Tensor:
        """Concatenate the processes' tensors `(n, …)` to `(size·n, …)`, with gradients to all of them."""
        return torch.cat(all_gather(tensor))  # type: ignore[no-untyped-call]
