"""The network that is pretrained: point branch, image branch, and their projection heads (Figure 2 of the paper)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Projections(NamedTuple):
    """Projected features, not normalised."""

    first: Tensor  # (B, 256), of the first view of each cloud
    second: Tensor  # (B, 256), of the second view
    image: Tensor | None  # (B, 256), the mean over the images of each object


class CrossPoint(nn.Module):
    """Point encoder and image encoder with their projection heads.

    Args:
        points: Encoder `(B, N, 3)` to `(B, D)`.
        point_head: `(B, D)` to `(B, 256)`.
        image: Encoder `(B, 3, H, W)` to `(B, E)`; None if only the clouds are contrasted.
        image_head: `(B, E)` to `(B, 256)`; None without an image encoder.
    """

    def __init__(
        self, points: nn.Module, point_head: nn.Module, *, image: nn.Module | None, image_head: nn.Module | None
    ) -> None:
        super().__init__()
        self.points = points
        self.point_head = point_head
        self.image = image
        self.image_head = image_head

    def forward(self, first: Tensor, second: Tensor, *, images: Tensor | None) -> Projections:
        """Project two views and the images of the same objects.

        Both views pass the encoder as one batch, so that batch normalisation uses the statistics of both.

        Args:
            first: `(B, N, 3)`.
            second: `(B, N, 3)`.
            images: `(B, n, 3, H, W)`; their projections are averaged (Table 6). None without an image encoder.
        """
        features = self.points(torch.cat([first, second]))  # (2B, D)
        one, two = self.point_head(features).chunk(2)
        if images is None or self.image is None or self.image_head is None:
            return Projections(one, two, None)
        projected = self.image_head(self.image(images.flatten(0, 1)))  # (B·n, 256)
        return Projections(one, two, projected.view(*images.shape[:2], -1).mean(dim=1))
