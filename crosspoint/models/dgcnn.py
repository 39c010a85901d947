"""DGCNN, the point encoder of CrossPoint (Wang et al., Dynamic Graph CNN for Learning on Point Clouds, 2019)."""

import torch
from torch import Tensor, nn

from crosspoint.models.edgeconv import SLOPE, EdgeConv
from crosspoint.models.pooling import Pooled, pooled_linear


class PointLinear(nn.Module):
    """`LeakyReLU(BN(W x))` of every point: `(B, N, inputs)` to `(B, N, outputs)`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """In training, the statistics are those of all points of the batch."""
        y: Tensor = self.norm(self.linear(x.flatten(0, 1)))  # (B·N, outputs)
        return nn.functional.leaky_relu(y, SLOPE).view(*x.shape[:2], -1)

    def pool(self, x: Tensor) -> Pooled:
        """Maximum and mean of the result over the points of each cloud, each `(B, outputs)`."""
        return pooled_linear(x, self.linear, norm=self.norm, slope=SLOPE)


class DGCNN(nn.Module):
    """Four EdgeConvs on graphs that are rebuilt in feature space, concatenated, then max and mean pooling.

    EdgeConv 64, 64, 128, 256 → concatenation 512 → 1024 → max ‖ mean over the points = 2048.

    Args:
        k: Number of neighbours of every point, the point itself included.

    Example:
        >>> import torch
        >>> from crosspoint.models import DGCNN
        >>> DGCNN(k=20)(torch.randn(2, 128, 3)).shape
        torch.Size([2, 2048])
    """

    dim = 2048

    def __init__(self, k: int = 20) -> None:
        super().__init__()
        self.config: dict[str, int | str] = {"architecture": "dgcnn", "k": k}
        self.edges = nn.ModuleList(
            [EdgeConv(3, 64, k=k), EdgeConv(64, 64, k=k), EdgeConv(64, 128, k=k), EdgeConv(128, 256, k=k)]
        )
        self.embed = PointLinear(512, 1024)

    def forward(self, points: Tensor) -> Tensor:
        """Embeddings `(B, 2048)` of `points (B, N, 3)`.

        Raises:
            ValueError: N is smaller than k.
        """
        x, layers = points, []
        for edge in self.edges:
            x = edge(x)  # (B, N, 64 | 64 | 128 | 256)
            layers.append(x)
        return torch.cat(self.embed.pool(torch.cat(layers, dim=2)), dim=1)
