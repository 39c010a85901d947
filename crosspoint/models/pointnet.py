"""PointNet without transformation networks (Qi et al., PointNet, 2017), the second encoder of the paper."""

import itertools
from collections.abc import Mapping

from torch import Tensor, nn

from crosspoint.models.normalisation import SyncNorm
from crosspoint.models.pooling import pooled_linear


class PointNet(nn.Module):
    """Five point-wise layers with batch normalisation and ReLU, 64, 64, 64, 128, 1024, and max pooling.

    Args:
        bias: 1: the layers have biases in front of the normalisation, as in imported checkpoints. Normalisation removes
            their effect in training, so that networks of this package have none.

    Example:
        >>> import torch
        >>> from crosspoint.models import PointNet
        >>> PointNet()(torch.randn(2, 128, 3)).shape
        torch.Size([2, 1024])
    """

    dim = 1024

    def __init__(self, bias: int = 0) -> None:
        super().__init__()
        self.config: dict[str, int | str] = {"architecture": "pointnet"} | ({"bias": 1} if bias else {})
        widths = (3, 64, 64, 64, 128, 1024)
        self.linears = nn.ModuleList(nn.Linear(a, b, bias=bool(bias)) for a, b in itertools.pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm1d(b) for b in widths[1:])

    def forward(self, points: Tensor) -> Tensor:
        """Embeddings `(B, 1024)` of `points (B, N, 3)`."""
        last = self.norms[-1]
        assert isinstance(last, nn.BatchNorm1d | SyncNorm)
        x = points.flatten(0, 1)  # (B·N, 3)
        for linear, norm in zip(self.linears[:-1], self.norms[:-1], strict=True):
            x = nn.functional.relu(norm(linear(x)))
        x = x.view(*points.shape[:2], -1)  # (B, N, 128)
        if "bias" in self.config:  # `pooled_linear` is for layers without
            y: Tensor = last(self.linears[-1](x.flatten(0, 1)))  # (B·N, 1024)
            return nn.functional.relu(y.view(*points.shape[:2], -1).amax(dim=1))
        return pooled_linear(x, self.linears[-1], norm=last, slope=0.0).maximum


def fold_biases(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of the same PointNet without biases; states without biases stay as they are.

    `BN(W x + c)` on the running mean μ is `BN(W x)` on μ − c.
    """
    folded = dict(state)
    for name in [name for name in state if name.startswith("linears.") and name.endswith(".bias")]:
        mean = f"norms.{name.split('.')[1]}.running_mean"
        folded[mean] = folded[mean] - folded.pop(name)
    return folded
