"""Image encoder: a torchvision ResNet with random weights and without its classifier."""

from torch import Tensor, nn
from torchvision.models import resnet18, resnet34, resnet50

DEPTHS = {18: (resnet18, 512), 34: (resnet34, 512), 50: (resnet50, 2048)}


class ImageEncoder(nn.Module):
    """ResNet features: images `(B, 3, H, W)`, normalised as for ImageNet, to `(B, dim)`.

    Args:
        depth: 18, 34 or 50; `dim` is 512, 512 or 2048. The paper uses 50.

    Raises:
        ValueError: Another depth.
    """

    def __init__(self, depth: int = 50) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"ResNet-{depth} is not available; choose a depth of {', '.join(map(str, DEPTHS))}")
        build, self.dim = DEPTHS[depth]
        self.config: dict[str, int | str] = {"architecture": "resnet", "depth": depth}
        self.resnet = build(weights=None)
        self.resnet.fc = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features of the last block."""
        features: Tensor = self.resnet(images)
        return features
