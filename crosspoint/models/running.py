"""Updates the running statistics of batch normalisations that compute their batch statistics themselves."""

from typing import Protocol

import torch
from torch import Tensor


class Norm(Protocol):
    """A batch normalisation with running statistics."""

    momentum: float | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None


@torch.no_grad()
def track(norm: Norm, mean: Tensor, *, variance: Tensor, count: Tensor) -> None:
    """Update the running statistics with those of a batch of `count` values.

    Args:
        norm: The normalisation.
        mean: `(D,)`.
        variance: `(D,)`, biased; the running variance uses `n / (n − 1)` times this.
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
