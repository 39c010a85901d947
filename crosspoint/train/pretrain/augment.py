"""Augmentation of points and images, in batches on the device, as in the official code and the paper.

All random numbers come from a `SampleRng`. It gives each sample of a batch the same numbers, whether one process holds
the whole batch or several processes hold a slice each.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
JITTER, JITTER_LIMIT = 0.01, 0.05
STRENGTH = 0.4  # largest relative change of brightness, contrast and saturation
GREY = (0.299, 0.587, 0.114)  # ITU-R 601 luma
ELASTIC_GRID, ELASTIC_STRENGTH = 4, 0.2
CROP_SCALE, CROP_RATIO = (0.6, 1.0), (3 / 4, 4 / 3)


class SampleRng:
    """Random numbers for this process's samples of a batch that `size` processes share.

    Args:
        device: Where the numbers are drawn.
        rank: Number of this process.
        size: Number of processes; each holds the same number of samples.
    """

    def __init__(self, device: torch.device, rank: int = 0, *, size: int = 1) -> None:
        self.generator = torch.Generator(device)
        self.rank = rank
        self.size = size

    def seed(self, seed: int) -> "SampleRng":
        """Restart the sequence with a seed; returns self."""
        self.generator.manual_seed(seed)
        return self

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Numbers from U(low, high) of this `shape`; the first dimension counts this process's samples."""
        whole = (shape[0] * self.size, *shape[1:])
        numbers: Tensor = torch.rand(whole, generator=self.generator, device=self.generator.device)
        return self._own(numbers.mul_(high - low).add_(low), shape[0])

    def normal(self, *shape: int) -> Tensor:
        """Numbers from N(0, 1) of this `shape`, as in `uniform`."""
        whole = (shape[0] * self.size, *shape[1:])
        return self._own(torch.randn(whole, generator=self.generator, device=self.generator.device), shape[0])

    def once(self) -> float:
        """One number from U(0, 1), the same in all processes."""
        return torch.rand(1, generator=self.generator, device=self.generator.device).item()

    def _own(self, numbers: Tensor, count: int) -> Tensor:
        return numbers[self.rank * count : (self.rank + 1) * count]


def normalise(points: Tensor) -> Tensor:
    """Centre each cloud on its mean and scale its farthest point to distance 1: `(B, N, 3)`."""
    points = points - points.mean(dim=1, keepdim=True)
    radius: Tensor = torch.linalg.vector_norm(points, dim=2).amax(dim=1)
    return points / radius.clamp_min(1e-12).view(-1, 1, 1)


def elastic(points: Tensor, rng: SampleRng) -> Tensor:
    """Elastic distortion by a smooth random displacement field, trilinear between `ELASTIC_GRID³` normal values.

    The paper gives no parameters. Here the field has a standard deviation of at most `ELASTIC_STRENGTH / 2` at its
    nodes, in units of the cloud's radius.
    """
    field = rng.normal(len(points), 3, ELASTIC_GRID, ELASTIC_GRID, ELASTIC_GRID)
    field = field * rng.uniform(len(points), 1, 1, 1, 1, high=ELASTIC_STRENGTH / 2)
    at = points.view(len(points), -1, 1, 1, 3)  # normalised clouds lie in [−1, 1]³, as grid_sample has it
    moved = functional.grid_sample(field, at, align_corners=True, padding_mode="border")  # (B, 3, N, 1, 1)
    return points + moved.flatten(2).transpose(1, 2)


def augment_points(points: Tensor, dropout: float, *, with_elastic: bool, rng: SampleRng) -> Tensor:
    """Make one view of each cloud, in the order of the official code.

    Normalisation; elastic distortion if asked for; scaling by U(0.5, 2); rotation about y by U(0, 2π); translation by
    U(−0.5, 0.5) of the bounding box's extent per axis; jitter N(0, 0.01) clipped at 0.05; and input dropout: a share
    U(0, `dropout`) of the points is replaced by the first point.

    Args:
        points: `(B, N, 3)`.
        dropout: Largest share of points that is replaced; 0.875 in the official code, 0 in the paper.
        with_elastic: Whether to apply elastic distortion, as in the paper.
        rng: Random generator on the device of `points`.
    """
    batch = len(points)
    x = normalise(points)
    if with_elastic:
        x = elastic(x, rng)
    x = turn(x * rng.uniform(batch, 1, 1, low=0.5, high=2.0), rng)
    extent = x.amax(dim=1, keepdim=True) - x.amin(dim=1, keepdim=True)  # (B, 1, 3)
    x = x + rng.uniform(batch, 1, 3, low=-0.5, high=0.5) * extent
    return drop(x + jitter(x, rng), dropout, rng=rng)


def turn(points: Tensor, rng: SampleRng) -> Tensor:
    """Rotate each cloud about y by U(0, 2π): `(B, N, 3)`."""
    angle = rng.uniform(len(points), high=2 * torch.pi)
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    rotation = torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], dim=1).view(-1, 3, 3)
    return points @ rotation.transpose(1, 2)


def jitter(points: Tensor, rng: SampleRng) -> Tensor:
    """Noise N(0, 0.01), clipped at 0.05, for each coordinate: `(B, N, 3)`."""
    return (JITTER * rng.normal(*points.shape)).clamp_(-JITTER_LIMIT, JITTER_LIMIT)


def drop(points: Tensor, most: float, *, rng: SampleRng) -> Tensor:
    """Replace a share U(0, `most`) of each cloud's points by its first point: `(B, N, 3)`."""
    if most == 0:
        return points
    dropped = rng.uniform(*points.shape[:2]) <= rng.uniform(len(points), 1, high=most)
    return torch.where(dropped.unsqueeze(2), points[:, :1], points)


def thin(points: Tensor, left: int, *, copied: bool, rng: SampleRng) -> Tensor:
    """Leave random points of each cloud, `(B, left, 3)`, or fill up with copies of these, `(B, N, 3)`.

    Args:
        points: `(B, N, 3)`.
        left: How many, from 1 to N.
        copied: Whether copies of points that are left, chosen at random, take the place of the others.
        rng: Random generator on the device of `points`.
    """
    batch, count, _ = points.shape
    chosen = rng.uniform(batch, count).argsort(dim=1)[:, :left]  # (B, left)
    if copied:
        copies = (rng.uniform(batch, count - left) * left).long().clamp_max(left - 1)  # (B, N − left)
        chosen = torch.cat([chosen, chosen.gather(1, copies)], dim=1)  # (B, N)
    return points.gather(1, chosen.unsqueeze(2).expand(-1, -1, 3))


def _blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    return (factor.view(-1, 1, 1, 1) * images + (1 - factor.view(-1, 1, 1, 1)) * other).clamp_(0, 1)


def _grey(images: Tensor) -> Tensor:
    return (images * images.new_tensor(GREY).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)  # (B, 1, H, W)


def _brightness(images: Tensor, factor: Tensor) -> Tensor:
    return _blend(images, torch.zeros_like(images), factor)


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    return _blend(images, _grey(images).mean(dim=(2, 3), keepdim=True), factor)


def _saturation(images: Tensor, factor: Tensor) -> Tensor:
    return _blend(images, _grey(images), factor)


COLOUR = (_brightness, _contrast, _saturation)


def colour_jitter(images: Tensor, rng: SampleRng) -> Tensor:
    """Change brightness, contrast and saturation by factors U(0.6, 1.4), in a random order for each image.

    Args:
        images: `(B, 3, H, W)` in [0, 1].
        rng: Random generator on the device of `images`.
    """
    batch = len(images)
    factors = rng.uniform(batch, 3, low=1 - STRENGTH, high=1 + STRENGTH)
    order = rng.uniform(batch, 3).argsort(dim=1)
    images = images.clone()
    for turn in range(3):
        for number, change in enumerate(COLOUR):
            chosen = (order[:, turn] == number).nonzero().squeeze(1)
            images[chosen] = change(images[chosen], factors[chosen, number])
    return images


def random_crop(images: Tensor, rng: SampleRng) -> Tensor:
    """Random crops with 60 to 100 % of the area and aspect ratios 3:4 to 4:3, resized bilinearly to the same size."""
    batch = len(images)
    area = rng.uniform(batch, low=CROP_SCALE[0], high=CROP_SCALE[1])
    ratio = rng.uniform(batch, low=math.log(CROP_RATIO[0]), high=math.log(CROP_RATIO[1])).exp()
    width, height = (area * ratio).sqrt().clamp_max(1), (area / ratio).sqrt().clamp_max(1)
    x = rng.uniform(batch, low=-1.0) * (1 - width)
    y = rng.uniform(batch, low=-1.0) * (1 - height)
    zero = torch.zeros_like(x)
    affine = torch.stack([width, zero, x, zero, height, y], dim=1).view(batch, 2, 3)
    grid = functional.affine_grid(affine, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False, padding_mode="border")


def augment_images(images: Tensor, crop: bool, *, rng: SampleRng) -> Tensor:
    """Crop if asked for, jitter colours, flip half of the images horizontally, and normalise as for ImageNet.

    Args:
        images: `(B, n, 3, H, W)`, uint8.
        crop: Whether to crop, as in the paper.
        rng: Random generator on the device of `images`.

    Returns:
        `(B, n, 3, H, W)`, float32.
    """
    x = images.flatten(0, 1).float().div_(255)
    if crop:
        x = random_crop(x, rng)
    x = colour_jitter(x, rng)
    flipped = rng.uniform(len(x)) < 0.5
    x = torch.where(flipped.view(-1, 1, 1, 1), x.flip(3), x)
    mean, std = x.new_tensor(MEAN).view(1, 3, 1, 1), x.new_tensor(STD).view(1, 3, 1, 1)
    return x.sub_(mean).div_(std).view(images.shape)
