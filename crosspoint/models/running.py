"""Running statistics of a batch normalisation, kept by whatever computes the batch's own."""

from typing import Protocol

import torch
from torch import Tensor


class Norm(Protocol):
    """What is kept of the batches seen."""

    momentum: float | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None


@torch.no_grad()
def track(norm: Norm, mean: Tensor, *, variance: Tensor, count: Tensor) -> None:
    """Move the running statistics towards those of a batch of `count` values.

    Args:
        norm: Whose statistics.
        mean: `(D,)`.
        variance: `(D,)`, biased; what is kept is `n / (n − 1)` times that.
        count: `()`.
    """
    assert norm.momentum is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    unbiased = variance * (count / (count - 1).clamp_min(1))
    norm.num_batches_tracked += 1
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), norm.momentum)
    norm.running_var.lerp_(unbiased.to(norm.running_var.dtype), norm.momentum)
