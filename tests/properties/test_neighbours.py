"""Neighbours, and the reductions over them, against brute force over shapes, k and ties."""

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from crosspoint.models.neighbours import (
    flat_rows,
    gather_neighbours,
    max_over_neighbours,
    nearest,
    reverse_graph,
)


@st.composite
def clouds(draw, kinds=("random", "lattice", "duplicates", "equal"), dtype=torch.float32):
    """`(B, N, C)` and k, with every kind of tie."""
    batch, channels = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    # of multiples of 8 few neighbours are chosen in two stages
    count = 8 * draw(st.integers(2, 40)) if draw(st.booleans()) else draw(st.integers(1, 96))
    k = draw(st.integers(1, max(1, count // 16)) | st.integers(1, count))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(kinds))
    shape = (batch, count, channels)
    if kind == "random":
        x = rng.standard_normal(shape)
    elif kind == "lattice":
        x = rng.integers(-3, 4, shape).astype(np.float64)
    elif kind == "duplicates":
        x = rng.standard_normal(shape)[:, rng.integers(0, count, count)]
    else:
        x = np.broadcast_to(rng.standard_normal((batch, 1, channels)), shape).copy()
    return torch.tensor(x, dtype=dtype), k


@st.composite
def graphs(draw, dtype=torch.float32):
    """Values `(B, N, C)` with ties among them, and a graph `(B, N, k)` with repeated neighbours."""
    batch, count, channels = draw(st.integers(1, 3)), draw(st.integers(1, 40)), draw(st.integers(1, 140))
    k = draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (batch, count, channels)
    values = rng.integers(-2, 3, shape) if draw(st.booleans()) else rng.standard_normal(shape)
    return torch.tensor(values, dtype=dtype), torch.tensor(rng.integers(0, count, (batch, count, k)))


def distances(x):
    """Squared, of all pairs, by differences: `(B, N, N)` float64."""
    return (x.double()[:, :, None] - x.double()[:, None]).square().sum(-1)


def edges(values, graph):
    """The neighbours' values, one by one: `(B, N, k, C)`."""
    return torch.stack([value[rows] for value, rows in zip(values, graph, strict=True)])


def size(x):
    """Of the squared distances, for tolerances."""
    return float(x.double().sub(x.double().mean(1, keepdim=True)).square().sum(-1).max()) + 1e-30


@given(clouds())
def test_neighbours_are_different_points_with_the_distances_of_a_full_sort(case):
    x, k = case
    found = nearest(x, k)
    assert (found.shape, found.dtype) == ((*x.shape[:2], k), torch.int64)
    assert all(len(set(row.tolist())) == k for row in found.flatten(0, 1))
    own = distances(x).gather(2, found)
    expected = distances(x).sort(dim=-1).values[..., :k]
    torch.testing.assert_close(own, expected, rtol=0, atol=4e-6 * size(x))


@given(clouds(dtype=torch.float64))
def test_in_float64_neighbours_are_those_of_a_full_sort_to_its_last_digits(case):
    x, k = case
    own = distances(x).gather(2, nearest(x, k))
    torch.testing.assert_close(own, distances(x).sort(dim=-1).values[..., :k], rtol=0, atol=1e-14 * size(x))


@given(clouds(kinds=("random",)))
def test_a_point_is_its_own_first_neighbour(case):
    x, k = case
    others = distances(x)[~torch.eye(x.shape[1], dtype=torch.bool).expand(len(x), -1, -1)]
    assume((others > 4e-6 * size(x)).all())  # nearer than that is the same place to float32
    assert (nearest(x, k)[..., 0] == torch.arange(x.shape[1])).all()


@given(clouds(), st.randoms(use_true_random=False))
def test_neighbours_of_permuted_points_are_as_far(case, random):
    x, k = case
    order = torch.tensor(random.sample(range(x.shape[1]), x.shape[1]))
    here, there = (distances(y).gather(2, nearest(y, k)) for y in (x, x[:, order]))
    torch.testing.assert_close(there, here[:, order], rtol=0, atol=4e-6 * size(x))


@given(clouds())
def test_neighbours_of_a_cloud_are_as_far_whatever_its_batch(case):
    x, k = case
    together = distances(x).gather(2, nearest(x, k))
    alone = torch.cat([distances(cloud).gather(2, nearest(cloud, k)) for cloud in x.split(1)])
    torch.testing.assert_close(together, alone, rtol=0, atol=4e-6 * size(x))


@given(st.sampled_from([torch.float32, torch.float64, torch.bfloat16]), st.data())
def test_the_maximum_over_neighbours_is_exact_and_its_gradient_goes_to_one_of_the_largest(dtype, data):
    values, graph = data.draw(graphs(dtype))
    x = values.clone().requires_grad_()
    out = max_over_neighbours(x, graph)
    gathered = edges(values, graph)
    assert torch.equal(out, gathered.amax(dim=2))
    out.sum().backward()
    # what a point gets is between the maxima that it alone holds and all those that it holds or shares
    largest = gathered == gathered.amax(dim=2, keepdim=True)  # (B, N, k, C)
    most, least = torch.zeros_like(values), torch.zeros_like(values)
    for b, i in np.ndindex(*graph.shape[:2]):
        holders = {j: largest[b, i, graph[b, i] == j].any(dim=0) for j in set(graph[b, i].tolist())}  # each (C,)
        shared = torch.stack([*holders.values()]).sum(dim=0) > 1
        for j, holds in holders.items():
            most[b, j] += holds
            least[b, j] += holds & ~shared
    assert (least <= x.grad).all()
    assert (x.grad <= most).all()
    torch.testing.assert_close(x.grad.sum(1), torch.full_like(x.grad[:, 0], graph.shape[1]))


@given(graphs(torch.float64), st.integers(0, 2**32))
def test_gathered_rows_and_their_gradient_are_those_of_every_edge(case, seed):
    values, graph = case
    batch, count, _ = graph.shape
    ours, theirs = (values.flatten(0, 1).clone().requires_grad_() for _ in range(2))
    rows = flat_rows(graph)
    assert torch.equal(rows, torch.cat([graph[b] + b * count for b in range(batch)]))
    expected = theirs[rows.flatten()]  # (P·k, C)
    assert torch.equal(gather_neighbours(ours, rows), expected)
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(seed))
    (gather_neighbours(ours, rows) * direction).sum().backward()
    (expected * direction).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-10, atol=1e-10)


@given(graphs())
def test_the_reversed_graph_has_every_edge_once(case):
    rows = flat_rows(case[1])
    sources, starts = reverse_graph(rows)
    ends = [*starts.tolist()[1:], len(sources)]
    found = [(i, p) for p, (a, b) in enumerate(zip(starts.tolist(), ends, strict=True)) for i in sources[a:b].tolist()]
    assert sorted(found) == sorted((i, p) for i, row in enumerate(rows.tolist()) for p in row)
