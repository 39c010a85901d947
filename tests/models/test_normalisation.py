"""Synchronised batch normalisation against float64, in one process: the statistics are wide whatever the input is."""

import pytest
import torch
from torch import distributed, nn

from crosspoint.models import DGCNN
from crosspoint.models.edgeconv import EdgeNorm
from crosspoint.models.normalisation import SyncNorm, synchronise


@pytest.fixture
def one_process(tmp_path):
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def by_hand(x, weight, bias, eps):
    """In float64: the output, the mean and the unbiased variance of every channel."""
    over = [d for d in range(x.ndim) if d != 1]
    x = x.double()
    mean, variance = x.mean(over, keepdim=True), x.var(over, correction=0, keepdim=True)
    shape = [1, -1, *[1] * (x.ndim - 2)]
    y = (x - mean) / (variance + eps).sqrt() * weight.double().view(shape) + bias.double().view(shape)
    return y, mean.flatten(), x.var(over, correction=1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(4096, 5), (64, 5, 9, 7)])
def test_statistics_are_float32_at_least(one_process, dtype, shape):
    generator = torch.Generator().manual_seed(0)
    norm = nn.BatchNorm2d(5) if len(shape) == 4 else nn.BatchNorm1d(5)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(5, generator=generator))
        norm.bias.copy_(torch.randn(5, generator=generator))
    if dtype == torch.float64:
        norm.double()
    x = (torch.randn(shape, generator=generator) * 0.5 + 3).to(dtype)
    found = SyncNorm(norm).train()
    y = found(x)
    expected, mean, variance = by_hand(x, norm.weight, norm.bias, norm.eps)
    exact = 1e-12 if dtype == torch.float64 else 2e-5
    torch.testing.assert_close(found.running_mean.double(), 0.1 * mean, rtol=exact, atol=exact)
    torch.testing.assert_close(found.running_var.double(), 0.9 + 0.1 * variance, rtol=exact, atol=exact)
    last_digit = max(exact, torch.finfo(dtype).eps)
    torch.testing.assert_close(y.double(), expected, rtol=2 * last_digit, atol=4 * last_digit)
    assert y.dtype == dtype


def test_gradients_are_those_of_batch_norm(one_process):
    x = torch.randn(30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    own = nn.BatchNorm1d(4).double()
    (expected,) = torch.autograd.grad((own(x) ** 3).sum(), x)
    (found,) = torch.autograd.grad((SyncNorm(nn.BatchNorm1d(4).double()).train()(x) ** 3).sum(), x)
    torch.testing.assert_close(found, expected)


def test_all_statistics_of_a_network_become_those_of_all_processes(one_process):
    network, group = DGCNN(), distributed.group.WORLD
    names = [name for name, _ in network.named_parameters()]
    synchronise(network, group)
    edges = [module for module in network.modules() if isinstance(module, EdgeNorm)]
    assert len(edges) == 4
    assert all(norm.synchronised and norm.group is group for norm in edges)
    others = [module for module in network.modules() if isinstance(module, SyncNorm)]
    assert len(others) == 1
    assert others[0].group is group
    assert not any(type(module) in (nn.BatchNorm1d, nn.BatchNorm2d) for module in network.modules())
    assert [name for name, _ in network.named_parameters()] == names
