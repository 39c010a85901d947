"""Part segmentation networks: DGCNN with a spatial transformer, as a backbone and with its head."""

import torch
from torch import Tensor, nn

from crosspoint.models.dgcnn import PointLinear
from crosspoint.models.edgeconv import SLOPE, EdgeConv, EdgeConv2
from crosspoint.models.neighbours import nearest


class TransformNet(nn.Module):
    """Predicts a 3×3 matrix per cloud: EdgeConv 64, 128 → 1024 → max → 512 → 256 → 9. It begins as the identity."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.edge = EdgeConv2(3, 64, outputs=128, k=k)
        self.embed = PointLinear(128, 1024)
        self.linear1 = nn.Linear(1024, 512, bias=False)
        self.norm1 = nn.BatchNorm1d(512)
        self.linear2 = nn.Linear(512, 256, bias=False)
        self.norm2 = nn.BatchNorm1d(256)
        self.transform = nn.Linear(256, 9)
        nn.init.zeros_(self.transform.weight)
        with torch.no_grad():
            self.transform.bias.copy_(torch.eye(3).flatten())

    def forward(self, points: Tensor, neighbours: Tensor) -> Tensor:
        """Matrices `(B, 3, 3)` of `points (B, N, 3)` with `neighbours (B, N, k)`."""
        x = self.embed.pool(self.edge(points, neighbours)).maximum  # (B, 1024)
        x = nn.functional.leaky_relu(self.norm1(self.linear1(x)), SLOPE)
        x = nn.functional.leaky_relu(self.norm2(self.linear2(x)), SLOPE)
        matrices: Tensor = self.transform(x)
        return matrices.view(-1, 3, 3)


class SegmentationBackbone(nn.Module):
    """Spatial transformer, EdgeConvs (64, 64), (64, 64), (64), concatenation 192 → 1024 → max pooling.

    Args:
        k: Number of neighbours of every point; 40 in the published schedule.
    """

    dim = 1024

    def __init__(self, k: int = 40) -> None:
        super().__init__()
        self.config: dict[str, int | str] = {"architecture": "dgcnn_seg", "k": k}
        self.k = k
        self.transform = TransformNet(k)
        self.edges = nn.ModuleList(
            [EdgeConv2(3, 64, outputs=64, k=k), EdgeConv2(64, 64, outputs=64, k=k), EdgeConv(64, 64, k=k)]
        )
        self.embed = PointLinear(192, 1024)

    def local_and_global(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the points `(B, N, 192)` and of the cloud `(B, 1024)`, for `points (B, N, 3)`."""
        x = points @ self.transform(points, nearest(points, self.k))
        layers = []
        for edge in self.edges:
            x = edge(x)  # (B, N, 64)
            layers.append(x)
        local = torch.cat(layers, dim=2)
        return local, self.embed.pool(local).maximum

    def forward(self, points: Tensor) -> Tensor:
        """Embeddings `(B, 1024)` of `points (B, N, 3)`."""
        return self.local_and_global(points)[1]


class DGCNNSegmenter(nn.Module):
    """The backbone with DGCNN's part-segmentation head: 1024 ‖ 64 ‖ 192 → 256 → 256 → 128 → parts.

    Args:
        parts: Number of part labels over all categories.
        categories: Number of categories.
        k: Number of neighbours of every point.

    Example:
        >>> import torch
        >>> from crosspoint.models import DGCNNSegmenter
        >>> category = torch.eye(16)[[3, 5]]
        >>> DGCNNSegmenter(50, 16, k=8)(torch.randn(2, 64, 3), category).shape
        torch.Size([2, 64, 50])
    """

    def __init__(self, parts: int, categories: int, *, k: int = 40) -> None:
        super().__init__()
        self.config: dict[str, int | str] = {
            "architecture": "dgcnn_partseg",
            "parts": parts,
            "categories": categories,
            "k": k,
        }
        self.backbone = SegmentationBackbone(k)
        self.category = PointLinear(categories, 64)
        self.hidden = nn.ModuleList([PointLinear(1280, 256), PointLinear(256, 256), PointLinear(256, 128)])
        self.dropouts = nn.ModuleList([nn.Dropout(0.5), nn.Dropout(0.5), nn.Identity()])
        self.classify = nn.Linear(128, parts, bias=False)

    def forward(self, points: Tensor, category: Tensor) -> Tensor:
        """Logits `(B, N, parts)` of `points (B, N, 3)` and one-hot `category (B, categories)`."""
        local, cloud = self.backbone.local_and_global(points)  # (B, N, 192), (B, 1024)
        context = torch.cat([cloud, self.category(category.unsqueeze(1)).squeeze(1)], dim=1)  # (B, 1088)
        x = torch.cat([context.unsqueeze(1).expand(-1, points.shape[1], -1), local], dim=2)
        for layer, dropout in zip(self.hidden, self.dropouts, strict=True):
            x = dropout(layer(x))
        logits: Tensor = self.classify(x)
        return logits
