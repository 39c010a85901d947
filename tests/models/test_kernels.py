"""The kernels against literal formulas in float64 and against PyTorch's path, in Triton's interpreter or on a GPU."""

import copy
import importlib.util
import os

import pytest
import torch

from crosspoint.models import edgeconv, neighbours
from crosspoint.models.dgcnn import DGCNN
from crosspoint.models.edgeconv import EdgeConv2, edge_moments
from crosspoint.models.kernels import choice
from crosspoint.models.neighbours import flat_rows, gather_neighbours, max_over_neighbours, nearest

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed"),
    pytest.mark.skipif(
        DEVICE == "cpu" and os.environ.get("TRITON_INTERPRET") != "1", reason="no GPU, and no TRITON_INTERPRET=1"
    ),
]


@pytest.fixture
def kernels(monkeypatch):
    """The kernels compute wherever they may."""

    def anywhere(x, k=1):
        return x.dtype in choice.TYPES and 1 <= k <= choice.MOST and x.numel() > 0

    for module in (neighbours, edgeconv):
        monkeypatch.setattr(module, "fused", anywhere)


def integers(*shape, seed=0, low=-4, high=5):
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(seed)).float()


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def graph_of(batch, count, k, seed=1):
    return torch.randint(0, count, (batch, count, k), generator=torch.Generator().manual_seed(seed))


def gather(values, graph):
    return values[torch.arange(len(values), device=values.device).view(-1, 1, 1), graph]  # (B, N, k, C)


def stable_neighbours(scores, k):
    return scores.sort(dim=2, stable=True).indices[..., :k]


def by_score(x, half_norms, k):
    from crosspoint.models.kernels.nearest import nearest_by_score

    return nearest_by_score(x.to(DEVICE), half_norms.to(DEVICE), k=k).cpu()


def scores_of(x):
    return x.double().square().sum(2)[:, None] / 2 - x.double() @ x.double().transpose(1, 2)


@pytest.mark.parametrize(
    ("batch", "count", "channels", "k"),
    [(1, 1, 3, 1), (2, 7, 1, 7), (1, 31, 3, 5), (2, 33, 5, 20), (1, 65, 17, 13), (1, 70, 33, 3), (1, 67, 3, 37)],
)
def test_neighbours_with_equal_distances_are_those_of_a_stable_sort(batch, count, channels, k):
    """Integers: every score is exact in float32, and many are equal."""
    x = integers(batch, count, channels)
    assert torch.equal(by_score(x, x.square().sum(2) / 2, k), stable_neighbours(scores_of(x), k))


def test_more_of_the_nearest_in_one_group_of_columns_than_it_keeps_are_found_by_passing_again():
    """Points 64 apart in the file are neighbours in space: the five nearest of the first one are in its own group."""
    i = torch.arange(260)
    x = torch.stack([i % 64 * 9, i // 64], dim=1).float()[None]
    expected = stable_neighbours(scores_of(x), 6)
    assert expected[0, 0, :5].tolist() == [0, 64, 128, 192, 256]
    assert torch.equal(by_score(x, x.square().sum(2) / 2, 6), expected)


def test_equal_points_have_the_first_points_as_neighbours():
    x = torch.full((1, 70, 3), 0.3)
    assert torch.equal(by_score(x, x.square().sum(2) / 2, 9), torch.arange(9).expand(1, 70, 9))


@pytest.mark.parametrize("value", [float("nan"), -float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_no_numbers_come_last_as_in_a_sort(value):
    """NaN above infinity, as `topk` and `sort` have it."""
    x = integers(2, 19, 3)
    half_norms = x.square().sum(2) / 2
    half_norms[0, 4], half_norms[0, 9], half_norms[1, 11] = value, float("inf"), value
    products = x @ x.transpose(1, 2)
    assert torch.equal(by_score(x, half_norms, 19), stable_neighbours(half_norms[:, None] - products, 19))


def test_zeros_of_both_signs_are_equal():
    half_norms = torch.tensor([[0.0, -0.0, 0.0, -0.0, 1.0, -1.0]])
    assert by_score(torch.zeros(1, 6, 2), half_norms, 6)[0, 0].tolist() == [5, 0, 1, 2, 3, 4]


def test_products_are_float32_and_not_tensorfloat32():
    x = integers(1, 67, 1, low=2049, high=2300)
    assert torch.equal(by_score(x, x.square().sum(2) / 2, 9), stable_neighbours(scores_of(x), 9))


@pytest.mark.parametrize(("count", "channels", "k"), [(45, 3, 7), (41, 64, 20)])
def test_neighbours_are_as_near_as_those_of_a_full_sort(kernels, count, channels, k):
    """The order of two points may differ where their distances do by rounding alone."""
    x = normal(2, count, channels)
    found = nearest(x.to(DEVICE), k).cpu()
    distances = torch.cdist(x.double(), x.double()).square()
    torch.testing.assert_close(
        distances.gather(2, found), distances.sort(dim=2).values[..., :k], rtol=1e-5, atol=1e-6 * channels
    )
    assert (found.sort(dim=2).values.diff(dim=2) > 0).all()  # no point twice


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_neighbours_of_short_floats_are_those_of_the_same_float32(kernels, dtype):
    x = normal(1, 33, 5).to(dtype).to(DEVICE)
    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        assert torch.equal(nearest(x, 6), nearest(x.float(), 6))


def test_a_view_with_other_strides_has_the_neighbours_of_its_copy(kernels):
    x = integers(2, 3, 37).to(DEVICE).transpose(1, 2)
    assert not x.is_contiguous()
    assert torch.equal(nearest(x, 5), nearest(x.contiguous(), 5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("batch", "count", "channels", "k"), [(1, 1, 1, 1), (2, 9, 5, 3), (3, 17, 64, 20), (1, 5, 130, 7)]
)
def test_maxima_and_their_gradients_go_to_the_first_of_equal_neighbours(kernels, dtype, batch, count, channels, k):
    values, direction, graph = integers(batch, count, channels), integers(batch, count, channels, seed=2), None
    graph = graph_of(batch, count, k)
    x = values.to(DEVICE, dtype).requires_grad_()
    out = max_over_neighbours(x, graph.to(DEVICE))
    near = gather(values, graph)
    assert torch.equal(out.cpu().float(), near.amax(dim=2))
    out.backward(direction.to(DEVICE, dtype))
    slots = (near == near.amax(dim=2, keepdim=True)).to(torch.int8).argmax(dim=2)
    expected = torch.zeros(values.shape).scatter_add_(1, graph.gather(2, slots), direction)
    assert torch.equal(x.grad.cpu().float(), expected)


def test_the_largest_of_numbers_and_nan_is_nan(kernels):
    values, graph = integers(1, 9, 3), graph_of(1, 9, 4)
    values[0, 2], values[0, 5] = float("nan"), -float("inf")
    out = max_over_neighbours(values.to(DEVICE), graph.to(DEVICE)).cpu()
    torch.testing.assert_close(out, gather(values, graph).amax(dim=2), rtol=0, atol=0, equal_nan=True)


def test_a_maximum_of_minus_infinity_is_kept(kernels):
    values = torch.full((1, 5, 2), -float("inf"))
    assert torch.equal(max_over_neighbours(values.to(DEVICE), graph_of(1, 5, 3).to(DEVICE)).cpu(), values)


def test_strides_of_values_graph_and_gradient_make_no_difference(kernels):
    values, graph = integers(2, 6, 11).to(DEVICE).transpose(1, 2), graph_of(2, 4, 11).to(DEVICE).transpose(1, 2)
    results = []
    for v, g in ((values, graph), (values.contiguous(), graph.contiguous())):
        x = v.detach().requires_grad_()
        out = max_over_neighbours(x, g[:, :, :3] % 11)
        out.sum().backward()  # its gradient is one number with strides of 0
        results.append((out.detach(), x.grad))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize(("batch", "count", "channels", "k"), [(1, 1, 3, 1), (2, 9, 5, 4), (2, 13, 70, 3)])
def test_the_gradient_of_gathered_rows_is_summed_over_their_edges(kernels, batch, count, channels, k):
    rows = flat_rows(graph_of(batch, count, k))
    direction = integers(batch * count * k, channels)
    x = integers(batch * count, channels).to(DEVICE).requires_grad_()
    gather_neighbours(x, rows.to(DEVICE)).backward(direction.to(DEVICE))
    expected = torch.zeros(batch * count, channels).index_add_(0, rows.flatten(), direction)
    assert torch.equal(x.grad.cpu(), expected)


@pytest.mark.parametrize(
    ("batch", "count", "channels", "k"), [(1, 1, 3, 1), (2, 9, 5, 4), (3, 23, 33, 5), (1, 40, 64, 20)]
)
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_moments_of_edges_and_their_gradients(kernels, batch, count, channels, k, offset):
    """The literal edges, in float64. Far from the origin the differences keep their digits."""
    x, graph = normal(batch, count, channels) + offset, graph_of(batch, count, k)
    here, there = x.double().requires_grad_(), x.to(DEVICE).requires_grad_()
    d, own = gather(here, graph) - here[:, :, None], here[:, :, None].expand(-1, -1, k, -1)
    expected = [d.sum((0, 1, 2)), own.sum((0, 1, 2))]
    expected += [torch.einsum("bnkc,bnkd->cd", a, b) for a, b in ((d, d), (d, own), (own, own))]
    found = edge_moments(there, graph.to(DEVICE))[1:]
    for mine, literal in zip(found, expected, strict=True):
        assert mine.dtype == torch.float64
        size = literal.abs().max() + offset * d.abs().max()  # Σ d dᵀ comes from products with x
        assert (mine.cpu() - literal).abs().max() <= 2e-6 * size * (1 + offset)
    directions = [normal(*each.shape, seed=i).double() for i, each in enumerate(expected)]
    sum((m.cpu() * w).sum() for m, w in zip(found, directions, strict=True)).backward()
    sum((m * w).sum() for m, w in zip(expected, directions, strict=True)).backward()
    assert (there.grad.cpu() - here.grad).norm() <= 1e-5 * here.grad.norm()


def test_points_without_incoming_edges_have_sums_of_zero(kernels):
    from crosspoint.models.kernels.moments import edge_sums

    x, graph = integers(1, 6, 3).to(DEVICE), torch.zeros(1, 6, 2, dtype=torch.int64, device=DEVICE)
    sums = edge_sums(x, graph)
    assert sums.degree.flatten().tolist() == [12, 0, 0, 0, 0, 0]
    assert torch.equal(sums.incoming[0, 1:], torch.zeros(5, 3, device=DEVICE))
    assert torch.equal(sums.outgoing, 2 * (x[:, :1] - x))


def results_of(network, points):
    """Output, gradients of the points and of the parameters, and running statistics."""
    points = points.clone().requires_grad_()
    out = network(points)
    (out * torch.linspace(-1, 1, out.numel(), device=out.device).view_as(out)).sum().backward()
    return [out.detach(), points.grad, *(p.grad for p in network.parameters()), *network.buffers()]


@pytest.mark.parametrize("make", [lambda: DGCNN(3), lambda: EdgeConv2(3, 8, outputs=9, k=4)])
def test_a_network_trains_as_on_pytorchs_path(make, monkeypatch, request):
    torch.manual_seed(0)
    network = make().to(DEVICE).train()
    points = integers(2, 9, 3, low=-50, high=50).div(64).to(DEVICE)
    with choice.without_kernels():
        expected = results_of(copy.deepcopy(network), points)
    request.getfixturevalue("kernels")
    for mine, other in zip(results_of(network, points), expected, strict=True):
        assert (mine.double() - other.double()).norm() <= 1e-3 * other.double().norm() + 1e-5


@pytest.mark.parametrize("shape", [(0, 9, 3), (2, 9, 0)])
def test_empty_batches_keep_pytorchs_path(kernels, shape):
    x = torch.zeros(shape, device=DEVICE)
    assert max_over_neighbours(x, graph_of(shape[0], 9, 3).to(DEVICE)).shape == shape


def test_the_check_finds_nothing_wrong_with_the_kernels():
    from crosspoint.models.kernels.check import find_fault

    assert find_fault(torch.device(DEVICE)) is None


def test_the_check_finds_a_winner_that_is_not_the_first(monkeypatch):
    from crosspoint.models.kernels import check

    def last(values, graph):
        return max_by_slot(values, graph.flip(2))

    max_by_slot = check.max_by_slot
    monkeypatch.setattr(check, "max_by_slot", last)
    monkeypatch.setattr(check, "nearest_by_score", exact_neighbours)
    assert check.find_fault(torch.device(DEVICE)) == "winners of maxima differ from the reference"


def exact_neighbours(x, half_norms, *, k):
    return stable_neighbours(half_norms.double()[:, None] - x.double() @ x.double().transpose(1, 2), k)


def test_the_check_finds_neighbours_in_another_order(monkeypatch):
    from crosspoint.models.kernels import check

    def other(x, half_norms, *, k):
        return exact_neighbours(x, half_norms, k=k).flip(2)

    monkeypatch.setattr(check, "nearest_by_score", other)
    assert check.find_fault(torch.device(DEVICE)) == "neighbours differ from the reference"


def test_a_kernel_that_does_not_compile_is_a_fault(monkeypatch):
    from crosspoint.models.kernels import check

    def broken(*_, **__):
        raise RuntimeError("PassManager::run failed\n")

    monkeypatch.setattr(check, "nearest_by_score", broken)
    assert check.find_fault(torch.device(DEVICE)) == "RuntimeError: PassManager::run failed"


def test_wrong_kernels_are_named_once_and_not_used(monkeypatch, capsys):
    from crosspoint.models.kernels import check

    monkeypatch.setattr(check, "find_fault", lambda device: "maxima over neighbours differ from the reference")
    monkeypatch.setattr(choice, "_choices", {})
    device = torch.device("cuda:1")
    chosen = [choice.choose_kernels(device) for _ in range(2)]
    assert not any(each.used for each in chosen)
    assert str(chosen[0]) == "none: maxima over neighbours differ from the reference"
    said = capsys.readouterr().err
    assert said.count("the fused kernels are not used (maxima over neighbours differ from the reference)") == 1


def test_right_kernels_are_used_and_name_their_compiler(monkeypatch):
    from crosspoint.models.kernels import check

    monkeypatch.setattr(check, "find_fault", lambda device: None)
    monkeypatch.setattr(choice, "_choices", {})
    assert str(choice.choose_kernels(torch.device("cuda:1"))).startswith("triton ")


def test_a_cpu_never_uses_them():
    assert str(choice.choose_kernels(torch.device("cpu"))) == "none: not on a GPU"
    assert not choice.fused(torch.zeros(2, 3))


def test_without_triton_they_are_not_used(monkeypatch):
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)
    assert str(choice.choose_kernels(torch.device("cuda"))) == "none: Triton is not installed"
