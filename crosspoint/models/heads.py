"""The projection heads, which map both modalities into the common space of the losses (256 dimensions)."""

from torch import nn

PROJECTION = 256


def point_head(dim: int) -> nn.Sequential:
    """`Linear(dim, 1024) BN ReLU Linear(1024, 256)`, as in the official code."""
    return nn.Sequential(nn.Linear(dim, 1024), nn.BatchNorm1d(1024), nn.ReLU(inplace=True), nn.Linear(1024, PROJECTION))


def image_head(dim: int) -> nn.Sequential:
    """`Linear(dim, 512) BN ReLU Linear(512, 256)` without biases, as in the official code."""
    return nn.Sequential(
        nn.Linear(dim, 512, bias=False),
        nn.BatchNorm1d(512),
        nn.ReLU(inplace=True),
        nn.Linear(512, PROJECTION, bias=False),
    )
