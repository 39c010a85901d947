"""Projection heads, which map both modalities into the common 256-dimensional space of the losses."""

from torch import nn

PROJECTION = 256


class PointHead(nn.Sequential):
    """`Linear(dim, 1024) BN ReLU Linear(1024, 256)`, as in the official code: `(B, dim)` to `(B, 256)`."""

    def __init__(self, dim: int) -> None:
        layers = (nn.Linear(dim, 1024), nn.BatchNorm1d(1024), nn.ReLU(inplace=True), nn.Linear(1024, PROJECTION))
        super().__init__(*layers)
        self.config: dict[str, int | str] = {"architecture": "point_head", "dim": dim}


def point_head(dim: int) -> PointHead:
    """The projection head of a point encoder with `dim` features."""
    return PointHead(dim)


def image_head(dim: int) -> nn.Sequential:
    """`Linear(dim, 512) BN ReLU Linear(512, 256)` without biases, as in the official code."""
    return nn.Sequential(
        nn.Linear(dim, 512, bias=False),
        nn.BatchNorm1d(512),
        nn.ReLU(inplace=True),
        nn.Linear(512, PROJECTION, bias=False),
    )
