"""What a GPU computes equals what a CPU computes in float64, values and gradients."""

import copy

import pytest
import torch
from torch import nn

from crosspoint.models.dgcnn import DGCNN
from crosspoint.models.edgeconv import EdgeConv2, edge_moments
from crosspoint.models.neighbours import max_over_neighbours, nearest
from crosspoint.models.pointnet import PointNet
from crosspoint.models.pooling import pooled_linear
from crosspoint.models.segmentation import SegmentationBackbone

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no NVIDIA GPU"),
]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients(module, points):
    """Output, gradient of the input and of all parameters, of a weighted sum of the outputs."""
    points = points.clone().requires_grad_()
    out = module(points)
    out = torch.cat([part.flatten() for part in (out if isinstance(out, tuple) else (out,))])
    (out * torch.linspace(-1, 1, out.numel(), dtype=out.dtype, device=out.device)).sum().backward()
    return [out.detach(), points.grad, *(p.grad for p in module.parameters()), *module.buffers()]


@pytest.mark.parametrize("make", [lambda: DGCNN(6), PointNet, lambda: SegmentationBackbone(6)])
@pytest.mark.parametrize(("batch", "count"), [(2, 33), (5, 256)])
def test_encoders_in_float64(make, batch, count):
    torch.manual_seed(0)
    here = make().double().train()
    there = copy.deepcopy(here).cuda()
    points = random(batch, count, 3, seed=batch)
    for one, two in zip(gradients(here, points), gradients(there, points.cuda()), strict=True):
        torch.testing.assert_close(two.cpu(), one, rtol=1e-8, atol=1e-8 * (1 + one.double().abs().max().item()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("batch", "count", "channels", "k"), [(3, 40, 7, 5), (130, 1024, 256, 20), (1, 5000, 64, 20)])
def test_maximum_over_neighbours(dtype, batch, count, channels, k):
    values = random(batch, count, channels).to(dtype).cuda()
    graph = torch.randint(0, count, (batch, count, k), generator=torch.Generator().manual_seed(0)).cuda()
    x = values.clone().requires_grad_()
    out = max_over_neighbours(x, graph)
    for b in (0, batch - 1):
        assert torch.equal(out[b], values[b][graph[b]].amax(dim=1))
    out.sum().backward()
    exact = values.float().requires_grad_()
    max_over_neighbours(exact, graph).sum().backward()
    assert exact.grad.double().sum() == out.numel()
    if dtype == torch.float32:
        assert torch.equal(x.grad, exact.grad)
    else:  # 16 bits of the same winners; sums of ones are exact up to 256
        few = exact.grad <= 256
        torch.testing.assert_close(x.grad.float()[few], exact.grad[few], rtol=0, atol=0)
        assert few.double().mean() > 0.99
    assert (x.grad[-1, graph[-1].flatten().unique()].sum(dim=0) > 0).all()


@pytest.mark.parametrize(("batch", "count", "channels", "k"), [(2, 20, 3, 20), (70, 1024, 64, 20), (1, 9000, 3, 20)])
def test_nearest_neighbours(batch, count, channels, k):
    x = random(batch, count, channels)
    found = nearest(x.float().cuda(), k).cpu()
    for b in (0, batch - 1):
        distances = torch.cdist(x[b], x[b])
        expected = distances.topk(k, dim=1, largest=False).values
        torch.testing.assert_close(distances.gather(1, found[b]), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("batch", "count", "channels", "k"), [(2, 30, 3, 4), (40, 1024, 64, 20)])
def test_moments_of_edges(batch, count, channels, k):
    x = random(batch, count, channels)
    neighbours = torch.randint(0, count, (batch, count, k), generator=torch.Generator().manual_seed(1))
    here, there = x.clone().requires_grad_(), x.float().cuda().requires_grad_()
    one, two = edge_moments(here, neighbours), edge_moments(there, neighbours.cuda())
    sum(moment.square().sum() for moment in one[1:]).backward()
    sum(moment.square().sum() for moment in two[1:]).backward()
    for expected, value in [*zip(one, two, strict=True), (here.grad, there.grad)]:
        scale = expected.abs().max()
        torch.testing.assert_close(value.cpu().double() / scale, expected / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("batch", "count"), [(3, 50), (150, 1024)])
def test_pooled_layer(batch, count):
    x, norm, linear = random(batch, count, 32), nn.BatchNorm1d(96).double(), nn.Linear(32, 96, bias=False).double()
    far_norm, far_linear = copy.deepcopy(norm).float().cuda(), copy.deepcopy(linear).float().cuda()
    here, there = x.clone().requires_grad_(), x.float().cuda().requires_grad_()
    one, two = (
        pooled_linear(here, linear, norm=norm, slope=0.2),
        pooled_linear(there, far_linear, norm=far_norm, slope=0.2),
    )
    for pooled in (one, two):
        (pooled.maximum.sum() + pooled.mean.square().sum()).backward()
    torch.testing.assert_close(two.maximum.cpu().double(), one.maximum, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(two.mean.cpu().double(), one.mean, rtol=1e-4, atol=1e-5)
    expected = linear.weight.grad
    torch.testing.assert_close(
        far_linear.weight.grad.cpu().double() / expected.norm(), expected / expected.norm(), rtol=0, atol=1e-3
    )


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_low_precision_stays_close(precision):
    torch.manual_seed(0)
    network = DGCNN(8).cuda().train()
    points = random(4, 128, 3).float().cuda()
    full = network(points)
    with torch.autocast("cuda", dtype=precision):
        low = network(points)
    assert (low.float() - full).norm() / full.norm() < 0.1


def test_two_convolutions_of_an_edge():
    torch.manual_seed(0)
    here = EdgeConv2(3, 16, outputs=24, k=5).double().train()
    there = copy.deepcopy(here).cuda()
    points = random(3, 60, 3)
    for one, two in zip(gradients(here, points), gradients(there, points.cuda()), strict=True):
        torch.testing.assert_close(two.cpu(), one, rtol=1e-8, atol=1e-8 * (1 + one.double().abs().max().item()))
