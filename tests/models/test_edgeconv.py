"""The factored convolutions equal the edge form in outputs, running statistics and every gradient."""

import pytest
import torch
from torch import nn

from crosspoint.models import edgeconv
from crosspoint.models.edgeconv import EdgeConv, EdgeConv2
from crosspoint.models.official import convert

SIZES = [(3, 64, 3, 8, 5), (2, 96, 16, 32, 20), (4, 40, 7, 9, 1), (1, 200, 5, 6, 12), (2, 50, 3, 4, 50)]


def edge_form(x, neighbours, weight, norm):
    """`max_j LeakyReLU(BN(W [x_j − x_i, x_i]))`, literally: `(B, N, C)` to `(B, N, D)`; the first of equals wins."""
    near = x[torch.arange(len(x)).view(-1, 1, 1), neighbours]  # (B, N, k, C)
    own = x[:, :, None].expand_as(near)
    edges = torch.cat([near - own, own], dim=-1) @ weight.t()  # (B, N, k, D)
    edges = norm(edges.flatten(0, 2)).view(edges.shape)
    return nn.functional.leaky_relu(edges, 0.2).max(dim=2)[0]


def make(batch, count, inputs, outputs, k, dtype, seed=0, duplicates=False):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    conv = EdgeConv(inputs, outputs, k=k).to(dtype)
    x = torch.randn(batch, count, inputs, generator=generator).to(dtype)
    if duplicates:
        x[:, count // 2 :] = x[:, : count - count // 2]
    norm = nn.BatchNorm1d(outputs).to(dtype)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(outputs, generator=generator))
        norm.weight[0] = 0
        norm.bias.copy_(torch.randn(outputs, generator=generator))
        conv.linear.norm.weight.copy_(norm.weight)
        conv.linear.norm.bias.copy_(norm.bias)
    return conv, norm, x, torch.randn(batch, count, outputs, generator=generator).to(dtype)


def graph(x, k):
    return (x[:, :, None] - x[:, None]).square().sum(-1).sort(dim=-1, stable=True).indices[..., :k]


def compare(sizes, dtype, tolerance, duplicates=False):
    k = sizes[-1]
    conv, norm, x, direction = make(*sizes, dtype, duplicates=duplicates)
    weight = conv.linear.weight.detach().clone().requires_grad_()
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out = conv(ours)
    expected = edge_form(theirs, graph(x, k), weight, norm)
    (out * direction).sum().backward()
    (expected * direction).sum().backward()
    pairs = {
        "output": (out, expected),
        "running mean": (conv.linear.norm.running_mean, norm.running_mean),
        "running variance": (conv.linear.norm.running_var, norm.running_var),
        "weight": (conv.linear.weight.grad, weight.grad),
        "gamma": (conv.linear.norm.weight.grad, norm.weight.grad),
        "beta": (conv.linear.norm.bias.grad, norm.bias.grad),
    }
    if not duplicates:
        pairs["input"] = (ours.grad, theirs.grad)
    for name, (mine, reference) in pairs.items():
        error = (mine - reference).abs().max() / reference.abs().max()
        assert error <= tolerance, f"{name}: {error:.1e}"
    return ours.grad, theirs.grad


@pytest.mark.parametrize("sizes", SIZES)
def test_float64_equals_the_edge_form_in_values_and_gradients(sizes):
    compare(sizes, torch.float64, 1e-9)


@pytest.mark.parametrize("sizes", SIZES)
def test_float32_equals_the_edge_form_to_rounding(sizes):
    compare(sizes, torch.float32, 5e-5)


def test_duplicate_points_share_the_gradient_of_their_place():
    count = 60
    mine, reference = compare((2, count, 3, 8, 7), torch.float64, 1e-9, duplicates=True)
    half = count // 2
    torch.testing.assert_close(mine[:, :half] + mine[:, half:], reference[:, :half] + reference[:, half:])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 5e-5)])
def test_far_from_the_origin_nothing_but_the_running_mean_moves(dtype, tolerance):
    conv, norm, x, direction = make(2, 64, 3, 16, 8, dtype)
    x = (x * 64).round() / 64  # exact in float32 after the move, so that it is the same cloud
    ours = (x + 1024.0).requires_grad_()
    theirs = x.clone().requires_grad_()
    weight = conv.linear.weight.detach().clone().requires_grad_()
    out, expected = conv(ours), edge_form(theirs, graph(x, 8), weight, norm)
    (out * direction).sum().backward()
    (expected * direction).sum().backward()
    moved = norm.running_mean + 0.1 * 1024.0 * weight[:, 3:].sum(dim=1)
    for mine, reference in [
        (out, expected),
        (ours.grad, theirs.grad),
        (conv.linear.weight.grad, weight.grad),
        (conv.linear.norm.running_var, norm.running_var),
        (conv.linear.norm.running_mean, moved),
    ]:
        assert (mine - reference).abs().max() <= tolerance * reference.abs().max()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_evaluation_uses_the_running_statistics(dtype):
    conv, norm, x, _ = make(2, 64, 5, 12, 6, dtype)
    for module in (conv.linear.norm, norm):
        module.running_mean.copy_(torch.linspace(-1, 1, 12))
        module.running_var.copy_(torch.linspace(0.5, 2, 12))
    conv.eval()
    norm.eval()
    with torch.no_grad():
        expected = edge_form(x, graph(x, 6), conv.linear.weight, norm)
        tolerance = 1e-12 if dtype == torch.float64 else 1e-5
        torch.testing.assert_close(conv(x), expected, rtol=tolerance, atol=tolerance)


def test_two_convolutions_equal_the_edge_form():
    torch.manual_seed(0)
    conv = EdgeConv2(4, 8, outputs=6, k=5).double()
    x = torch.randn(2, 30, 4, dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    weight, second = conv.first.weight.detach().clone().requires_grad_(), conv.second.weight.detach().clone()
    norms = nn.BatchNorm1d(8).double(), nn.BatchNorm1d(6).double()
    near = theirs[torch.arange(2).view(-1, 1, 1), graph(x, 5)]
    own = theirs[:, :, None].expand_as(near)
    hidden = nn.functional.leaky_relu(norms[0]((torch.cat([near - own, own], -1) @ weight.t()).flatten(0, 2)), 0.2)
    expected = nn.functional.leaky_relu(norms[1](hidden @ second.t()), 0.2).view(2, 30, 5, 6).max(dim=2)[0]
    out = conv(ours)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)
    out.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(conv.first.weight.grad, weight.grad, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(conv.first.norm.running_var, norms[0].running_var)


def test_the_gradient_of_a_scale_that_is_zero_before_a_second_convolution():
    """The other channels decide which edge is the maximum, and the gradient is that edge's."""
    torch.manual_seed(0)
    conv = EdgeConv2(3, 4, outputs=5, k=3).double()
    with torch.no_grad():
        conv.first.norm.weight[1] = 0
        conv.first.norm.bias[1] = 0.7
    x = torch.randn(2, 12, 3, dtype=torch.float64)
    direction = torch.randn(2, 12, 5, dtype=torch.float64)
    gamma = conv.first.norm.weight.detach()

    def loss(weight):
        return (torch.func.functional_call(conv, {"first.norm.weight": weight}, (x,)) * direction).sum()

    (gradient,) = torch.autograd.grad(loss(given := gamma.clone().requires_grad_()), given)
    step = 1e-6 * torch.eye(4, dtype=torch.float64)
    differences = torch.stack([loss(gamma + one) - loss(gamma - one) for one in step]) / 2e-6
    torch.testing.assert_close(gradient, differences, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["dgcnn", "dgcnn_seg"])
def test_whole_networks_train_like_the_edge_form(reference, name):
    network = reference(name, 6).double().train()
    model = convert(network.state_dict(), 6, source="test").model.double().train()
    x = torch.randn(3, 40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = model(ours), network(theirs)
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)
    out.square().mean().backward()
    expected.square().mean().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-7, atol=1e-9)
    after = convert(network.state_dict(), 6, source="test").model.double().state_dict()
    for key, value in model.state_dict().items():
        # `convert` gives float32
        torch.testing.assert_close(
            value.float(), after[key].float(), rtol=1e-6, atol=1e-7, msg=lambda text, key=key: f"{key}: {text}"
        )


def test_gradcheck():
    torch.manual_seed(0)
    conv = EdgeConv(3, 4, k=3).double()
    x = torch.randn(1, 8, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(conv, (x,))


def test_the_centre_is_the_mean_over_all_processes(monkeypatch):
    """Three processes whose means are 1, 2 and 6 times this one's."""
    monkeypatch.setattr(edgeconv, "all_reduce", lambda values, group: values * (1 + 2 + 6))
    monkeypatch.setattr(edgeconv, "get_world_size", lambda group: 3)
    norm = edgeconv.EdgeNorm(4)
    x = torch.arange(24.0).view(2, 3, 4)
    own = torch.tensor([10.0, 11.0, 12.0, 13.0])
    torch.testing.assert_close(norm.centre(x), own)
    norm.synchronised = True
    torch.testing.assert_close(norm.centre(x), 3 * own)
