"""Nearest neighbours, and the reductions over them that EdgeConv needs.

A neighbour graph is an integer tensor `neighbours (B, N, k)`: entry `(b, i, j)` is the j-th nearest point of point i
within cloud b; the first is the point itself. A tensor of shape `(B, N, k, C)` is never formed as a whole: a GPU
forms pieces of it, a CPU none. On a GPU with Triton, `crosspoint.models.kernels` forms neither it nor all distances.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from crosspoint.models.kernels.choice import fused

CACHED = 1 << 20  # entries of a temporary tensor on a CPU, so that it stays in the cache
LAUNCHED = 1 << 26  # entries on a GPU: few launches, and 256 MB as float32
CHANNELS = 128  # channels that are reduced at a time on a CPU
ROW_BITS = (1 << 29) - 1  # a float64 has 29 mantissa bits more than a float32


def entries_at_once(device: torch.device) -> int:
    """Largest number of entries of a temporary tensor."""
    return CACHED if device.type == "cpu" else LAUNCHED


def clouds_at_once(x: Tensor) -> Iterator[slice]:
    """Slices of the clouds in `x (B, N, C)` that are processed together: few on a CPU, many on a GPU."""
    clouds = max(1, entries_at_once(x.device) // x[0].numel())
    return (slice(b, b + clouds) for b in range(0, len(x), clouds))


@torch.no_grad()
def nearest(features: Tensor, k: int) -> Tensor:
    """The k nearest points of every point in feature space, nearest first, including the point itself.

    Distances are computed in float32 (float64 for float64 input), also under autocast. The mean of each cloud is
    subtracted first: this changes no distance, and `|x|² + |y|² − 2xy` loses fewer digits. Of equal distances the fused
    kernel takes the lower index, `topk` any.

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
        if fused(x, k):
            from crosspoint.models.kernels.nearest import nearest_by_score

            return nearest_by_score(x, half_norms, k=k)
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

    On a CPU this is done in two exact stages. The columns are split into groups. The k smallest entries can only lie in
    the k groups with the smallest minima, because every other group has k smaller entries before it.
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
    """Forward stores which row won for every point and channel; backward adds the gradient there."""

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
    """For `values (B, N, C)` and `neighbours (B, N, k)`, write the maxima and the winning points, the first of ties."""
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
    """The same for float32 on a CPU, without branches. Ties go to the highest row (the lowest, for negative values).

    A float32 converted to float64 has 29 zero bits at its end. They store the row number, so that the maximum of
    float64 values also gives the winner; rounding back gives the exact float32.
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
    if fused(values, neighbours.shape[2]):
        from crosspoint.models.kernels.reduce import fused_max

        return fused_max(values, neighbours)
    result: Tensor = _MaxOverNeighbours.apply(values, neighbours)
    return result


def reverse_graph(rows: Tensor) -> tuple[Tensor, Tensor]:
    """For a graph `rows (P, k)`: one list of the points that have p as a neighbour, and where p's part of it begins."""
    points, k = rows.shape
    flat = rows.flatten()
    narrow = flat.to(torch.int32) if points <= torch.iinfo(torch.int32).max else flat  # sorts twice as fast
    sources = narrow.argsort(stable=True).div_(k, rounding_mode="floor")  # (P·k,)
    degree = torch.bincount(flat, minlength=points)
    return sources, degree.cumsum(0) - degree


def flat_rows(neighbours: Tensor) -> Tensor:
    """Convert neighbours `(B, N, k)` to row numbers of the flattened batch, `(B·N, k)`."""
    batch, count, _ = neighbours.shape
    first = torch.arange(0, batch * count, count, device=neighbours.device)
    return (neighbours + first.view(batch, 1, 1)).flatten(0, 1)


class _Gather(Function):
    """Forward copies rows to edges; backward sums over the edges of the reversed graph."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return values.index_select(0, rows.flatten())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (rows,) = ctx.saved_tensors
        (gradient,) = gradients
        if fused(gradient, rows.shape[1]):
            from crosspoint.models.kernels.reduce import edges_by_end, sum_rows

            return sum_rows(gradient, edges_by_end(rows.unsqueeze(0))), None
        flat = rows.flatten()
        degree = torch.bincount(flat, minlength=len(rows))
        summed = torch.nn.functional.embedding_bag(
            flat.argsort(stable=True), gradient, degree.cumsum(0) - degree, mode="sum"
        )
        return summed, None


def gather_neighbours(values: Tensor, rows: Tensor) -> Tensor:
    """Values of the neighbours, edge by edge: `values (P, C)`, `rows (P, k)` to `(P·k, C)`."""
    result: Tensor = _Gather.apply(values, rows)
    return result
