"""Neighbours and the reductions over them, against brute force."""

import pytest
import torch

from crosspoint.models import neighbours as module
from crosspoint.models.neighbours import (
    flat_rows,
    gather_neighbours,
    max_over_neighbours,
    nearest,
    reverse_graph,
)


def brute_force(x, k):
    return (x.double()[:, :, None] - x.double()[:, None]).square().sum(-1).sort(dim=-1).values[..., :k]


def distances(x, found):
    near = x.double()[torch.arange(len(x)).view(-1, 1, 1), found]
    return (near - x.double()[:, :, None]).square().sum(-1)


@pytest.mark.parametrize(
    ("batch", "count", "channels", "k"),
    [(2, 64, 3, 4), (1, 1024, 8, 20), (3, 100, 64, 100), (2, 1, 3, 1), (1, 3000, 3, 20)],
)
def test_distances_are_those_of_a_full_sort(batch, count, channels, k):
    x = torch.randn(batch, count, channels, generator=torch.Generator().manual_seed(count))
    found = nearest(x, k)
    assert found.shape == (batch, count, k)
    torch.testing.assert_close(distances(x, found), brute_force(x, k), rtol=1e-4, atol=1e-5)


def test_far_from_the_origin_the_graph_is_the_same():
    x = torch.randn(2, 256, 3, generator=torch.Generator().manual_seed(0)).mul(64).round() / 64
    torch.testing.assert_close(distances(x, nearest(x + 4096.0, 10)), brute_force(x, 10), rtol=1e-4, atol=1e-5)


def test_clouds_of_a_batch_far_from_each_other_keep_their_own_graphs():
    """Each cloud is centred on its own mean: centred on the batch's, both would be as far off as without centring."""
    x = torch.randn(2, 256, 3, generator=torch.Generator().manual_seed(0)).mul(64).round() / 64
    apart = x + torch.tensor([4096.0, -4096.0]).view(2, 1, 1)
    torch.testing.assert_close(distances(x, nearest(apart, 10)), brute_force(x, 10), rtol=1e-4, atol=1e-5)


def test_rows_and_clouds_are_chunked_without_a_difference(monkeypatch):
    x = torch.randn(3, 50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = nearest(x, 7)
    monkeypatch.setattr(module, "CACHED", 300)
    assert torch.equal(nearest(x, 7), whole)


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="20 neighbours were asked of clouds of 10 points"):
        nearest(torch.zeros(1, 10, 3), 20)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 5, 300])
def test_maximum_and_its_gradient(dtype, channels):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 40, channels, generator=generator).to(dtype)
    graph = torch.randint(0, 40, (2, 40, 6), generator=generator)
    values[0, 0] = 0.0
    values[1, 3] = -0.0
    x = values.clone().requires_grad_()
    out = max_over_neighbours(x, graph)
    gathered = values[torch.arange(2).view(-1, 1, 1), graph]  # (2, 40, 6, C)
    assert torch.equal(out, gathered.amax(dim=2))
    out.sum().backward()
    assert x.grad.sum() == out.numel()
    expected = torch.zeros(2, 40, channels, dtype=torch.float64)
    for b in range(2):
        for i in range(40):
            for c in range(channels):
                winners = [int(j) for j in graph[b, i] if values[b, j, c] == out[b, i, c]]
                if len(set(winners)) == 1:
                    expected[b, winners[0], c] += 1
    assert (x.grad.double() >= expected).all()


@pytest.mark.parametrize("count", [32_767, 32_768, 40_000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_finds_its_winner_among_more_points_than_a_short_integer_counts(count, dtype):
    values = torch.zeros(1, count, 1, dtype=dtype)
    values[0, -1] = 1.0
    graph = torch.stack([torch.arange(count), torch.full((count,), count - 1)], dim=1)[None]  # itself and the last one
    x = values.requires_grad_()
    max_over_neighbours(x, graph).sum().backward()
    assert x.grad[0, -1].item() == count
    assert x.grad.sum() == count


def test_many_clouds_at_a_time_make_no_difference(monkeypatch):
    values, graph = torch.randn(5, 30, 4, dtype=torch.float64), torch.randint(0, 30, (5, 30, 6))
    results = []
    for entries in (1 << 21, 300):
        monkeypatch.setattr(module, "CACHED", entries)
        x = values.clone().requires_grad_()
        out = max_over_neighbours(x, graph)
        out.square().sum().backward()
        results.append((out.detach(), x.grad))
        monkeypatch.setattr(module, "clouds_at_once", lambda x: [slice(0, 3), slice(3, 5)])
    torch.testing.assert_close(results[0], results[1])


def test_gathered_rows_and_their_gradient_are_those_of_every_edge():
    generator = torch.Generator().manual_seed(0)
    rows = flat_rows(torch.randint(0, 9, (2, 9, 4), generator=generator))
    values = torch.randn(18, 5, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: gather_neighbours(v, rows), (values,))
    assert torch.equal(gather_neighbours(values, rows), values[rows.flatten()])


def test_reversed_graph_lists_every_edge_once():
    rows = torch.tensor([[0, 2], [2, 1], [2, 0], [0, 3]])
    sources, starts = reverse_graph(rows)
    ends = [*starts.tolist()[1:], len(sources)]
    found = sorted((int(s), p) for p in range(4) for s in sources[starts[p] : ends[p]])
    assert found == sorted((i, int(p)) for i in range(4) for p in rows[i])


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_rows_of_the_flattened_batch_stay_on_the_device(device):
    neighbours = torch.tensor([[[0, 1], [1, 2], [2, 0]], [[1, 0], [0, 2], [2, 1]]], device=device)
    rows = flat_rows(neighbours)
    assert (rows.device.type, tuple(rows.shape)) == (device, (6, 2))
    if device == "cpu":
        assert rows.tolist() == [[0, 1], [1, 2], [2, 0], [4, 3], [3, 5], [5, 4]]
