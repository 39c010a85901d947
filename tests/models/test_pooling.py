"""The pooled last layer equals product, batch normalisation, LeakyReLU and pooling, one after the other."""

import pytest
import torch
from torch import nn

from crosspoint.models import pooling
from crosspoint.models.pooling import pooled_linear


def reference(x, weight, norm, slope):
    y = nn.functional.leaky_relu(norm((x @ weight.t()).flatten(0, 1)), slope).view(*x.shape[:2], -1)
    return y.max(dim=1)[0], y.mean(dim=1)


def norms(width, dtype, generator):
    pair = [nn.BatchNorm1d(width).to(dtype), nn.BatchNorm1d(width).to(dtype)]
    gamma, beta = torch.randn(2, width, generator=generator).to(dtype)
    for norm in pair:
        with torch.no_grad():
            norm.weight.copy_(gamma)
            norm.weight[0] = 0
            norm.bias.copy_(beta)
    return pair


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 2e-5)])
@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("size", [(2, 50, 6, 9), (5, 3, 4, 130), (1, 2, 1, 1)])
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("together", [1, 2])
def test_values_statistics_and_gradients(monkeypatch, dtype, tolerance, slope, size, offset, together):
    parts = [slice(b, b + together) for b in range(0, size[0], together)]
    monkeypatch.setattr(pooling, "clouds_at_once", lambda h: parts)
    batch, count, inputs, outputs = size
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, count, inputs, generator=generator).to(dtype) + offset
    linear = nn.Linear(inputs, outputs, bias=False).to(dtype)
    ours, theirs = norms(outputs, dtype, generator)
    directions = torch.randn(2, batch, outputs, generator=generator).to(dtype)
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    weight = linear.weight.detach().clone().requires_grad_()
    pooled, expected = pooled_linear(one, linear, norm=ours, slope=slope), reference(two, weight, theirs, slope)
    tolerance *= 1 + 20 * offset
    torch.testing.assert_close(tuple(pooled), expected, rtol=tolerance, atol=tolerance)
    sum((a * b).sum() for a, b in zip(pooled, directions, strict=True)).backward()
    sum((a * b).sum() for a, b in zip(expected, directions, strict=True)).backward()
    live = slice(1, None)  # where γ = 0 all points tie, and which one is the maximum is a choice
    pairs = [(ours.bias.grad, theirs.bias.grad), (ours.running_var, theirs.running_var)]
    pairs += [(ours.running_mean, theirs.running_mean), (linear.weight.grad, weight.grad), (one.grad, two.grad)]
    pairs += [(ours.weight.grad[live], theirs.weight.grad[live])]
    for mine, other in pairs:
        scale = 1 + other.abs().max() if other.numel() else 1
        torch.testing.assert_close(mine / scale, other / scale, rtol=0, atol=tolerance)


def test_evaluation_uses_the_running_statistics():
    linear, norm = nn.Linear(4, 7, bias=False).double(), nn.BatchNorm1d(7).double().eval()
    norm.running_mean.copy_(torch.linspace(-1, 1, 7))
    norm.running_var.copy_(torch.linspace(0.5, 2, 7))
    x = torch.randn(3, 20, 4, dtype=torch.float64)
    torch.testing.assert_close(
        tuple(pooled_linear(x, linear, norm=norm, slope=0.2)), reference(x, linear.weight, norm, 0.2)
    )


def test_gradcheck():
    torch.manual_seed(0)
    linear, norm = nn.Linear(3, 4, bias=False).double(), nn.BatchNorm1d(4).double()
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: tuple(pooled_linear(x, linear, norm=norm, slope=0.2)), (x,))


def test_bfloat16_products_keep_float32_statistics():
    torch.manual_seed(0)
    linear, norm = nn.Linear(16, 8, bias=False), nn.BatchNorm1d(8)
    x = torch.randn(4, 64, 16)
    full = pooled_linear(x, linear, norm=norm, slope=0.2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = pooled_linear(x, linear, norm=norm, slope=0.2)
    assert low.mean.dtype == torch.float32
    torch.testing.assert_close(low.maximum, full.maximum, rtol=0.05, atol=0.05)
