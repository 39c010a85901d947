"""Nearest neighbours, and the reductions over them that an edge convolution is made of.

A neighbour graph is an integer tensor `neighbours (B, N, k)`: entry `(b, i, j)` is the j-th nearest point of point i,
itself included, within cloud b. No tensor of shape `(B, N, k, C)` is ever whole: on a GPU there are pieces of it, on a
CPU none.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

CACHED = 1 << 21  # entries of a temporary tensor on a CPU: they stay in its cache
LAUNCHED = 1 << 26  # on a GPU: few launches, and 256 MB as float32
CHANNELS = 128  # channels reduced at a time on a CPU
ROW_BITS = (1 << 29) - 1  # a float64 has 29 mantissa bits more than a float32


def entries_at_once(device: torch.device) -> int:
    """Size up to which a temporary tensor is made in one piece."""
    return CACHED if device.type == "cpu" else LAUNCHED


def clouds_at_once(x: Tensor) -> Iterator[slice]:
    """Which clouds of `x (B, N, C)` to work on together: one after the other on a CPU, many on a GPU."""
    clouds = 1 if x.device.type == "cpu" else max(1, LAUNCHED // x[0].numel())
    return (slice(b, b + clouds) for b in range(0, len(x), clouds))


@torch.no_grad()
def nearest(features: Tensor, k: int) -> Tensor:
    """The k nearest points of every point in feature space, nearest first, the point itself included.

    Distances are float32 (float64 for float64 input) whatever the autocast state, on features from which each cloud's
    mean is subtracted: that changes no distance, and keeps `|x|² + |y|² − 2xy` from cancelling.

    Args:
        features: `(B, N, C)`.
        k: Number of neighbours.

    Returns:
        Neighbours `(B, N, k)`, int64.

    Raises:
        ValueError: A cloud has fewer than k points.
    """
    batch, count, _ = features.shape
    if count < k:
        raise ValueError(f"{k} neighbours were asked of clouds of {count} points; give more points or a smaller k")
    with torch.autocast(features.device.type, enabled=False):
        x = features if features.dtype == torch.float64 else features.float()
        x = x - x.mean(dim=1, keepdim=True)
        half_norms = x.square().sum(dim=2).mul_(0.5)  # (B, N)
        budget = entries_at_once(x.device)
        clouds = max(1, budget // (count * count))
        rows = max(1, min(count, budget // count))
        result = x.new_empty((batch, count, k), dtype=torch.int64)
        for b in range(0, batch, clouds):
            others = x[b : b + clouds].transpose(1, 2)  # (b, C, N)
            for r in range(0, count, rows):
                # ½|x_i − x_j|² − ½|x_i|² = ½|x_j|² − x_i·x_j, the same order as the distance
                scores = torch.baddbmm(
                    half_norms[b : b + clouds, None, :], x[b : b + clouds, r : r + rows], others, alpha=-1
                )  # (b, r, N)
                result[b : b + clouds, r : r + rows] = _smallest(scores, k)
    return result


def _smallest(scores: Tensor, k: int) -> Tensor:
    """Positions of the k smallest entries of the last dimension, ascending: `(…, N)` to `(…, k)`.

    Two exact stages on a CPU. The columns are dealt into groups; the k smallest entries can only lie in the k groups
    with the smallest minima, since any other group is preceded by k smaller entries.
    """
    groups = scores.shape[-1] // 8
    if scores.device.type != "cpu" or scores.shape[-1] % 8 or groups < 2 * k:
        return scores.topk(k, dim=-1, largest=False).indices
    minima = scores.view(*scores.shape[:-1], 8, groups).amin(dim=-2)  # (…, groups)
    chosen = minima.topk(k, dim=-1, largest=False, sorted=False).indices  # (…, k)
    members = torch.arange(8, device=scores.device).mul_(groups).unsqueeze(1)  # (8, 1)
    candidates = (chosen.unsqueeze(-2) + members).flatten(-2)  # (…, 8k)
    best = scores.gather(-1, candidates).topk(k, dim=-1, largest=False).indices
    return candidates.gather(-1, best)


class _MaxOverNeighbours(Function):
    """Forward keeps, for every point and channel, which row won; backward adds the gradient there."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, neighbours: Tensor) -> Tensor:
        winners = torch.empty(values.shape, dtype=torch.int64, device=values.device)
        maxima = torch.empty(values.shape, dtype=values.dtype, device=values.device)
        if values.device.type == "cpu" and values.dtype in (torch.float32, torch.bfloat16):
            for b in range(len(values)):
                _max_packed(values[b], neighbours[b], maxima[b], winners[b])
        else:
            _max_gathered(values, neighbours, maxima, winners)
        small = torch.int16 if values.shape[1] <= torch.iinfo(torch.int16).max else torch.int32
        ctx.save_for_backward(winners.to(small))
        return maxima

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (winners,) = ctx.saved_tensors
        (gradient,) = gradients
        result = torch.zeros_like(gradient)
        for part in clouds_at_once(gradient):
            result[part].scatter_add_(1, winners[part].long(), gradient[part])
        return result, None


def _max_gathered(values: Tensor, neighbours: Tensor, maxima: Tensor, winners: Tensor) -> None:
    """`values (B, N, C)`, `neighbours (B, N, k)`: write the maxima and the winning points, the first of equals."""
    k, channels = neighbours.shape[2], values.shape[2]
    points, near, rows = values.flatten(0, 1), neighbours.flatten(0, 1), flat_rows(neighbours)  # (P, C), (P, k), (P, k)
    to, by = maxima.view(-1, channels), winners.view(-1, channels)
    step = max(1, entries_at_once(values.device) // (k * channels))
    for r in range(0, len(rows), step):
        part = slice(r, r + step)
        best = points[rows[part]].max(dim=1)  # (r, k, C) → (r, C)
        to[part] = best.values
        by[part] = near[part].gather(1, best.indices)


def _max_packed(values: Tensor, neighbours: Tensor, maxima: Tensor, winners: Tensor) -> None:
    """The same for float32 on a CPU, without a branch: ties go to the highest row (the lowest, for negative values).

    A float32 widened to float64 leaves 29 low bits zero. They take the row's number, so that a plain maximum of
    float64 carries the winner along, and rounding back gives the float32 exactly.
    """
    columns = neighbours.t().contiguous()  # (k, N)
    row = torch.arange(len(values)).unsqueeze(1)  # (N, 1)
    for c in range(0, values.shape[1], CHANNELS):
        packed = values[:, c : c + CHANNELS].double()
        packed.view(torch.int64).bitwise_or_(row)
        best = packed.index_select(0, columns[0])
        other = torch.empty_like(best)
        for column in columns[1:]:
            torch.index_select(packed, 0, column, out=other)
            torch.maximum(best, other, out=best)
        maxima[:, c : c + CHANNELS] = best
        winners[:, c : c + CHANNELS] = best.view(torch.int64).bitwise_and_(ROW_BITS)


def max_over_neighbours(values: Tensor, neighbours: Tensor) -> Tensor:
    """`m_i = max_j values_j` over the neighbours j of i, channel by channel: `(B, N, C)` to `(B, N, C)`.

    The gradient goes to one winner for each point and channel.
    """
    result: Tensor = _MaxOverNeighbours.apply(values, neighbours)
    return result


def reverse_graph(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Of a graph `rows (P, k)`: which points have p as a neighbour, in one list, and where p's part of it starts."""
    points, k = rows.shape
    flat = rows.flatten()
    narrow = flat.to(torch.int32) if points <= torch.iinfo(torch.int32).max else flat  # sorts twice as fast
    sources = narrow.argsort(stable=True).div_(k, rounding_mode="floor")  # (P·k,)
    degree = torch.bincount(flat, minlength=points)
    return sources, degree.cumsum(0) - degree


def flat_rows(neighbours: Tensor) -> Tensor:
    """Neighbours `(B, N, k)` as row numbers of the flattened batch, `(B·N, k)`."""
    batch, count, _ = neighbours.shape
    first = torch.arange(0, batch * count, count, device=neighbours.device)
    return (neighbours + first.view(batch, 1, 1)).flatten(0, 1)


class _Gather(Function):
    """Forward copies rows to edges; backward sums the edges of the reversed graph."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return values.index_select(0, rows.flatten())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        (gradient,) = gradients
        flat = rows.flatten()
        degree = torch.bincount(flat, minlength=len(rows))
        summed = torch.nn.functional.embedding_bag(
            flat.argsort(stable=True), gradient, degree.cumsum(0) - degree, mode="sum"
        )
        return summed, None


def gather_neighbours(values: Tensor, rows: Tensor) -> Tensor:
    """The neighbours' values edge by edge: `values (P, C)`, `rows (P, k)` to `(P·k, C)`."""
    result: Tensor = _Gather.apply(values, rows)
    return result
