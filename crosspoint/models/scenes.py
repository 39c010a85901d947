"""DGCNN for the semantic segmentation of rooms (S3DIS), without its head. It is imported, not trained here."""

import torch
from torch import Tensor, nn

from crosspoint.models.dgcnn import PointLinear
from crosspoint.models.edgeconv import EdgeConv, EdgeConv2
from crosspoint.models.neighbours import nearest

CHANNELS = 9

# Channels of a point p = (x, y, z) that is y-up, where S3DIS is z-up: the position (x, −z, y), the colour, here grey,
# and the position in the room, from 0 to 1, here (p + 1) / 2. As `p LIFT + OFFSET`.
TURN = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0))
LIFT = tuple((*row, 0.0, 0.0, 0.0, *(value / 2 for value in row)) for row in TURN)  # (3, 9)
OFFSET = (0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)


class SceneBackbone(nn.Module):
    """EdgeConvs (64, 64), (64, 64), (64), concatenation 192 → 1024 → max pooling, on 9 channels a point.

    The channels are position, colour, and position in the room. The first neighbour graph is that of the last three.

    Args:
        k: Number of neighbours of every point; 20 in the published schedule.

    Example:
        >>> import torch
        >>> from crosspoint.models import SceneBackbone
        >>> SceneBackbone(k=8)(torch.randn(2, 64, 3)).shape
        torch.Size([2, 1024])
    """

    dim = 1024

    def __init__(self, k: int = 20) -> None:
        super().__init__()
        self.config: dict[str, int | str] = {"architecture": "dgcnn_semseg", "k": k}
        self.k = k
        self.edges = nn.ModuleList(
            [EdgeConv2(CHANNELS, 64, outputs=64, k=k), EdgeConv2(64, 64, outputs=64, k=k), EdgeConv(64, 64, k=k)]
        )
        self.embed = PointLinear(192, 1024)

    def forward(self, points: Tensor) -> Tensor:
        """Embeddings `(B, 1024)` of `points (B, N, 9)`, or of `(B, N, 3)`, y-up, which get the colour grey."""
        x = points if points.shape[2] == CHANNELS else lift(points)
        layers = [self.edges[0](x, nearest(x[:, :, 6:], self.k))]  # (B, N, 64)
        for edge in self.edges[1:]:
            layers.append(edge(layers[-1]))
        return self.embed.pool(torch.cat(layers, dim=2)).maximum


def lift(points: Tensor) -> Tensor:
    """The nine channels `(B, N, 9)` of `points (B, N, 3)`."""
    return points @ points.new_tensor(LIFT) + points.new_tensor(OFFSET)
