"""Statistics over edges in float32, against the literal edges in float64, on clouds that make rounding errors large."""

import pytest
import torch

from crosspoint.models.edgeconv import EdgeNorm
from crosspoint.models.neighbours import nearest

DROPPED = ("none", "half", "seven eighths")


def clouds(dropped, channels):
    """Flat ellipsoids off the origin, `(6, 512, channels)`; a dropped point takes the place of the first one."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(6, 512, 3, generator=generator)
    x = x / x.norm(dim=2, keepdim=True) * torch.tensor([1.0, 0.5, 0.1])
    x = x * (0.7 + 0.8 * torch.rand(6, 1, 3, generator=generator)) + 0.2 * torch.randn(6, 1, 3, generator=generator)
    gone = torch.rand(6, 512, 1, generator=generator) < {"none": 0, "half": 0.5, "seven eighths": 0.875}[dropped]
    x = torch.where(gone, x[:, :1], x)
    if channels != 3:
        x = torch.nn.functional.leaky_relu(x @ torch.randn(3, channels, generator=generator), 0.2)
    return x - x.mean(dim=(0, 1))


def weights(channels, blind):
    """W₁ and W₂ `(16, channels)`; where `blind`, the first eight rows do not see where the point is."""
    first, second = torch.randn(2, 16, channels, generator=torch.Generator().manual_seed(4))
    if blind:
        second[:8] = 0
    return first, second


def literal(x, neighbours, first, second, eps):
    """Mean, unbiased variance, scale and shift over all edges, each formed."""
    near = x[torch.arange(len(x)).view(-1, 1, 1), neighbours]  # (B, N, k, C)
    own = x[:, :, None].expand_as(near)
    edges = ((near - own) @ first.t() + own @ second.t()).flatten(0, 2)  # (B·N·k, D)
    mean, variance = edges.mean(0), edges.var(0, unbiased=False)
    scale = (variance + eps).rsqrt()
    return mean, edges.var(0), scale, -mean * scale


@pytest.mark.parametrize("dropped", DROPPED)
@pytest.mark.parametrize("blind", [False, True])
@pytest.mark.parametrize("channels", [3, 64])
def test_float32_statistics_and_their_gradients_are_right_to_rounding(dropped, blind, channels):
    x, (first, second) = clouds(dropped, channels), weights(channels, blind)
    neighbours = nearest(x, 20)
    wide = [tensor.double().requires_grad_() for tensor in (x, first, second)]
    narrow = [tensor.clone().requires_grad_() for tensor in (x, first, second)]
    norm = EdgeNorm(16)
    norm.momentum = 1.0  # what is kept is the batch's own
    mean, variance, scale, shift = literal(wide[0], neighbours, wide[1], wide[2], norm.eps)
    found = norm.fold(narrow[0], neighbours, first=narrow[1], second=narrow[2], constant=torch.zeros(16))

    torch.testing.assert_close(norm.running_var.double(), variance.detach(), rtol=1e-5, atol=0)
    assert (norm.running_mean - mean).abs().max() <= 2e-6 * variance.max().sqrt()
    torch.testing.assert_close(found[0].double(), scale, rtol=1e-5, atol=0)
    assert (found[1] - shift).abs().max() <= 1e-5 * max(1, float(shift.abs().max()))

    direction = torch.randn(2, 16, generator=torch.Generator().manual_seed(5))
    (found[0] * direction[0] + found[1] * direction[1]).sum().backward()
    (scale * direction[0] + shift * direction[1]).sum().backward()
    for mine, reference in zip(narrow, wide, strict=True):
        error = (mine.grad - reference.grad).norm() / reference.grad.norm()
        assert error <= 1e-5, f"{error:.1e}"


def test_equal_points_have_no_variance_at_all():
    x = torch.full((2, 40, 3), 0.3) + torch.arange(2).view(2, 1, 1) * torch.tensor([0.1, 0.7, 0.3])
    norm = EdgeNorm(4)
    norm.momentum = 1.0
    first = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    norm.fold(x, nearest(x, 7), first=first, second=torch.zeros(4, 3), constant=torch.zeros(4))
    assert norm.running_var.tolist() == [0, 0, 0, 0]
