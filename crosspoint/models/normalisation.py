"""Batch normalisation with statistics over the batches of all processes, on any device.

`torch.nn.SyncBatchNorm` does not take CPU tensors, and cannot use the edges that `EdgeNorm` never forms.
"""

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.distributed.nn.functional import all_reduce

from crosspoint.models.edgeconv import EdgeNorm
from crosspoint.models.running import track


class SyncNorm(nn.Module):
    """Batch normalisation over the samples of all processes. It takes over parameters and buffers of another one.

    With n values of a channel over all processes, `μ = Σ x / n` and `σ² = Σ (x − μ)² / n`. Gradients flow through both
    sums, so that W processes compute the same as one process with the whole batch.

    Args:
        norm: The normalisation to replace; the names in its state stay the same.
        group: The processes.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, group: ProcessGroup | None = None) -> None:
        super().__init__()
        self.weight, self.bias, self.eps, self.momentum = norm.weight, norm.bias, norm.eps, norm.momentum
        self.register_buffer("running_mean", norm.running_mean)
        self.register_buffer("running_var", norm.running_var)
        self.register_buffer("num_batches_tracked", norm.num_batches_tracked)
        self.running_mean: Tensor | None
        self.running_var: Tensor | None
        self.num_batches_tracked: Tensor | None
        self.group = group

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `(B, C)` or `(B, C, H, W)`. Statistics are computed in float32 or wider."""
        if not self.training:
            return nn.functional.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        with torch.autocast(x.device.type, enabled=False):
            wide = x.to(torch.promote_types(x.dtype, torch.float32))
            over = [d for d in range(x.ndim) if d != 1]
            shape = [1, -1, *[1] * (x.ndim - 2)]
            count = wide.new_tensor([wide.numel() / wide.shape[1]])
            sums = all_reduce(torch.cat([wide.sum(over), count]), group=self.group)  # type: ignore[no-untyped-call]
            n, mean = sums[-1].detach(), sums[:-1] / sums[-1].detach()
            centred = wide - mean.view(shape)
            squares = centred.square().sum(over)
            variance = all_reduce(squares, group=self.group) / n  # type: ignore[no-untyped-call]
            track(self, mean, variance=variance, count=n)
            scale = self.weight * torch.rsqrt(variance + self.eps)
            normalised: Tensor = centred * scale.view(shape) + self.bias.view(shape)
            return normalised.to(x.dtype)


def synchronise(network: nn.Module, group: ProcessGroup | None = None) -> nn.Module:
    """Make all batch normalisations of a network, also those over edges, use the statistics of all processes.

    Parameters, buffers and their names stay as they are. Returns the network.
    """
    for module in list(network.modules()):
        if isinstance(module, EdgeNorm):
            module.synchronised, module.group = True, group
            continue
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d) and not isinstance(child, EdgeNorm):
                setattr(module, name, SyncNorm(child, group))
    return network
