"""The factored convolutions and the pooled layer equal their literal forms in float64, over shapes, with gradients."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from crosspoint.models.edgeconv import EdgeConv, EdgeConv2
from crosspoint.models.normalisation import SyncNorm
from crosspoint.models.pooling import pooled_linear


@st.composite
def cases(draw):
    """`x (B, N, C)` in float64, sizes of the layers, k and a generator; no two points are equally far."""
    batch, count, inputs = draw(st.integers(1, 3)), draw(st.integers(1, 24)), draw(st.integers(1, 5))
    outputs, k = draw(st.integers(1, 9)), draw(st.integers(1, count))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    x = torch.randn(batch, max(count, 2), inputs, dtype=torch.float64, generator=generator)
    return x, outputs, k, generator


def literal_graph(x, k):
    """Neighbours `(B, N, k)` by differences."""
    return (x[:, :, None] - x[:, None]).square().sum(-1).sort(dim=-1, stable=True).indices[..., :k]


def literal_edges(x, neighbours):
    """`[x_j − x_i, x_i]`: `(B, N, k, 2C)`."""
    near = torch.stack([cloud[rows] for cloud, rows in zip(x, neighbours, strict=True)])
    own = x[:, :, None].expand_as(near)
    return torch.cat([near - own, own], dim=-1)


def literal_layer(edges, weight, norm):
    """`LeakyReLU(BN(W e))` of every edge."""
    return nn.functional.leaky_relu(norm((edges @ weight.t()).flatten(0, 2)), 0.2).view(*edges.shape[:3], -1)


def random_norm(width, generator):
    """γ of every sign and zero; running statistics that are not those at the start."""
    norm = nn.BatchNorm1d(width).double()
    with torch.no_grad():
        norm.weight.copy_(torch.randn(width, generator=generator))
        norm.weight[torch.rand(width, generator=generator) < 0.2] = 0
        norm.bias.copy_(torch.randn(width, generator=generator))
        norm.running_mean.copy_(torch.randn(width, generator=generator))
        norm.running_var.copy_(torch.rand(width, generator=generator) + 0.5)
    return norm


def assert_near(mine, other, name):
    error = (mine - other).abs().max() / (1 + other.abs().max())
    assert error <= 1e-7, f"{name}: {error:.1e}"


def compare(ours, expected, pairs, norms, generator):
    """Outputs, gradients of `pairs` (ours, literal), and running statistics."""
    direction = torch.randn(expected.shape, dtype=torch.float64, generator=generator)
    assert_near(ours, expected, "output")
    (ours * direction).sum().backward()
    (expected * direction).sum().backward()
    for name, (mine, other) in pairs.items():
        assert_near(mine.grad, other.grad, f"gradient of {name}")
    for own, norm in norms:
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            assert_near(getattr(own, name).double(), getattr(norm, name).double(), name)


@given(cases(), st.booleans())
def test_an_edge_convolution_is_the_maximum_over_its_edges(case, training):
    x, outputs, k, generator = case
    conv, norm = EdgeConv(x.shape[2], outputs, k=k).double().train(training), random_norm(outputs, generator)
    with torch.no_grad():
        conv.linear.weight.copy_(torch.randn(conv.linear.weight.shape, generator=generator))
    conv.linear.norm.load_state_dict(norm.state_dict())
    norm.train(training)
    ours, theirs, weight = (t.detach().clone().requires_grad_() for t in (x, x, conv.linear.weight))
    expected = literal_layer(literal_edges(theirs, literal_graph(x, k)), weight, norm).amax(dim=2)
    own = conv.linear.norm
    pairs = {"input": (ours, theirs), "weight": (conv.linear.weight, weight), "β": (own.bias, norm.bias)}
    compare(conv(ours), expected, pairs, [(own, norm)], generator)
    # with γ = 0 all edges tie, and which of them is the maximum is a choice
    live = norm.weight != 0
    assert_near(own.weight.grad * live, norm.weight.grad * live, "gradient of γ")


@given(cases(), st.integers(1, 7), st.booleans())
def test_two_edge_convolutions_are_the_maximum_over_their_edges(case, hidden, training):
    x, outputs, k, generator = case
    conv = EdgeConv2(x.shape[2], hidden, outputs=outputs, k=k).double().train(training)
    norms = random_norm(hidden, generator).train(training), random_norm(outputs, generator).train(training)
    with torch.no_grad():
        for parameter in (conv.first.weight, conv.second.weight):
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    conv.first.norm.load_state_dict(norms[0].state_dict())
    conv.norm.load_state_dict(norms[1].state_dict())
    ours, theirs, first, second = (
        t.detach().clone().requires_grad_() for t in (x, x, conv.first.weight, conv.second.weight)
    )
    between = literal_layer(literal_edges(theirs, literal_graph(x, k)), first, norms[0])
    expected = literal_layer(between, second, norms[1]).amax(dim=2)
    pairs = {"input": (ours, theirs), "second": (conv.second.weight, second), "β": (conv.norm.bias, norms[1].bias)}
    pairs |= {"first": (conv.first.weight, first)}
    compare(conv(ours), expected, pairs, [(conv.first.norm, norms[0]), (conv.norm, norms[1])], generator)
    if norms[0].weight.any():  # else all edges tie
        assert_near(conv.first.norm.weight.grad, norms[0].weight.grad, "gradient of the first γ")


@given(cases(), st.sampled_from([0.0, 0.2]), st.sampled_from(["plain", "frozen", "synchronised"]))
def test_the_pooled_layer_is_product_normalisation_activation_and_pooling_one_after_the_other(case, slope, kind):
    x, outputs, _, generator = case
    linear, norm = nn.Linear(x.shape[2], outputs, bias=False).double(), random_norm(outputs, generator)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(linear.weight.shape, generator=generator))
    own = random_norm(outputs, generator)
    own.load_state_dict(norm.state_dict())
    for module in (own, norm):
        module.train(kind != "frozen")
    ours, theirs, weight = (t.detach().clone().requires_grad_() for t in (x, x, linear.weight))
    y = nn.functional.leaky_relu(norm((theirs @ weight.t()).flatten(0, 1)), slope).view(*x.shape[:2], -1)
    expected = torch.cat([y.amax(dim=1), y.mean(dim=1)])
    if kind == "synchronised":
        import torch.distributed as dist

        store = dist.HashStore()
        dist.init_process_group("gloo", store=store, rank=0, world_size=1)
        try:
            synchronised = SyncNorm(own).double().train()
            result = torch.cat([*pooled_linear(ours, linear, norm=synchronised, slope=slope)])
            compare(result, expected, {"input": (ours, theirs)}, [(synchronised, norm)], generator)
        finally:
            dist.destroy_process_group()
    else:
        result = torch.cat([*pooled_linear(ours, linear, norm=own, slope=slope)])
        compare(
            result, expected, {"weight": (linear.weight, weight), "β": (own.bias, norm.bias)}, [(own, norm)], generator
        )
        assert_near(ours.grad, theirs.grad, "gradient of input")
