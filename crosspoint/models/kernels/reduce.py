"""Maximum over the neighbours of a point, sums over lists of rows, and the gradients of both.

No kernel adds to a number that another program adds to: a gradient is the sum over the list of edges that end at a
point, in the order of the edges. So all results are the same from run to run. Sums are float64, rounded once.
"""

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

POINTS = 16  # of a program of the maximum
EDGES = 8  # that are read at a time
WIDEST = 64  # channels of a program; of 128 some would not fit into a thread's registers


class EdgeLists(NamedTuple):
    """For each of P points a list of edges; those of point p are `edges[starts[p]:starts[p + 1]]`."""

    edges: Tensor  # (E,)
    starts: Tensor  # (P + 1,)


def edges_by_end(neighbours: Tensor) -> EdgeLists:
    """The edges that end at each of the B·N points, ascending.

    Edge `i k + j` goes from point i of the flattened batch to its j-th neighbour.

    Args:
        neighbours: `(B, N, k)`.
    """
    batch, count, _ = neighbours.shape
    points = batch * count
    kind = torch.int32 if points < torch.iinfo(torch.int32).max else torch.int64  # sorts twice as fast
    firsts = torch.arange(0, points, count, device=neighbours.device)
    ends, edges = (neighbours + firsts.view(batch, 1, 1)).to(kind).flatten().sort(stable=True)
    return EdgeLists(edges, torch.searchsorted(ends, torch.arange(points + 1, dtype=kind, device=ends.device)))


@triton.jit
def _max_kernel(
    values: tl.tensor,  # (B·N, C)
    neighbours: tl.tensor,  # (B·N, k)
    maxima: tl.tensor,  # (B·N, C)
    slots: tl.tensor,  # (B·N, C)
    points: tl.tensor,
    count: tl.tensor,
    channels: tl.tensor,
    k: tl.tensor,
    POINTS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    p = tl.program_id(0).to(tl.int64) * POINTS + tl.arange(0, POINTS)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    live = (p < points)[:, None] & (c < channels)[None, :]
    first = p // count * count  # of the point's cloud
    near = first + tl.load(neighbours + p * k, mask=p < points, other=0)
    best = tl.load(values + near[:, None] * channels + c[None, :], mask=live, other=0.0).to(tl.float32)
    slot = tl.zeros((POINTS, CHANNELS), tl.int32)
    for j in range(1, k):
        near = first + tl.load(neighbours + p * k + j, mask=p < points, other=0)
        value = tl.load(values + near[:, None] * channels + c[None, :], mask=live, other=0.0).to(tl.float32)
        better = (value > best) | ((value != value) & (best == best))  # NaN is larger than all numbers
        best = tl.where(better, value, best)
        slot = tl.where(better, j, slot)
    at = p[:, None] * channels + c[None, :]
    tl.store(maxima + at, best.to(maxima.dtype.element_ty), mask=live)
    tl.store(slots + at, slot.to(tl.int8), mask=live)


@triton.jit
def _max_backward_kernel(
    gradient: tl.tensor,  # (B·N, C)
    slots: tl.tensor,  # (B·N, C)
    edges: tl.tensor,
    starts: tl.tensor,
    result: tl.tensor,  # (B·N, C)
    channels: tl.tensor,
    k: tl.tensor,
    EDGES: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    p = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    end = tl.load(starts + p + 1)
    total = tl.zeros((CHANNELS,), tl.float64)
    for start in range(tl.load(starts + p), end, EDGES):
        e = start + tl.arange(0, EDGES)
        edge = tl.load(edges + e, mask=e < end, other=0)
        at = (edge // k)[:, None] * channels + c[None, :]
        live = (e < end)[:, None] & (c < channels)[None, :]
        won = live & (tl.load(slots + at, mask=live, other=0) == (edge % k)[:, None])
        total += tl.sum(tl.load(gradient + at, mask=won, other=0.0).to(tl.float64), axis=0)
    tl.store(result + p * channels + c, total.to(tl.float32).to(result.dtype.element_ty), mask=c < channels)


@triton.jit
def _sum_kernel(
    values: tl.tensor,  # (R, C)
    rows: tl.tensor,
    starts: tl.tensor,
    result: tl.tensor,  # (P, C)
    channels: tl.tensor,
    RELATIVE: tl.constexpr,
    EDGES: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    p = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    end = tl.load(starts + p + 1)
    own = tl.zeros((CHANNELS,), tl.float64)
    if RELATIVE:
        own = tl.load(values + p * channels + c, mask=c < channels, other=0.0).to(tl.float64)
    total = tl.zeros((CHANNELS,), tl.float64)
    for start in range(tl.load(starts + p), end, EDGES):
        e = start + tl.arange(0, EDGES)
        row = tl.load(rows + e, mask=e < end, other=0)
        live = (e < end)[:, None] & (c < channels)[None, :]
        value = tl.load(values + row[:, None] * channels + c[None, :], mask=live, other=0.0).to(tl.float64)
        total += tl.sum(tl.where(live, value - own[None, :], 0.0), axis=0)
    tl.store(result + p * channels + c, total.to(tl.float32).to(result.dtype.element_ty), mask=c < channels)


def max_by_slot(values: Tensor, neighbours: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima over the neighbours, and which neighbour has each: the first of equal ones. NaN is the largest.

    Args:
        values: `(B, N, C)`, float32, bfloat16 or float16.
        neighbours: `(B, N, k)`, k from 1 to 64.

    Returns:
        Maxima `(B, N, C)`, and slots `(B, N, C)`, int8 from 0 to k − 1.
    """
    batch, count, channels = values.shape
    width = _width(channels)
    maxima = torch.empty_like(values, memory_format=torch.contiguous_format)
    slots = torch.empty_like(maxima, dtype=torch.int8)
    with torch.cuda.device_of(values):  # type: ignore[no-untyped-call]
        _max_kernel[(triton.cdiv(batch * count, POINTS), triton.cdiv(channels, width))](
            values.contiguous(),
            neighbours.contiguous(),
            maxima,
            slots,
            batch * count,
            count,
            channels,
            neighbours.shape[2],
            POINTS=POINTS,
            CHANNELS=width,
        )
    return maxima, slots


def max_gradient(gradient: Tensor, slots: Tensor, *, neighbours: Tensor) -> Tensor:
    """Gradient of the values `(B, N, C)` of `max_by_slot` from that of the maxima."""
    batch, count, channels = gradient.shape
    lists, width = edges_by_end(neighbours), _width(channels)
    result = torch.empty_like(gradient, memory_format=torch.contiguous_format)
    with torch.cuda.device_of(gradient):  # type: ignore[no-untyped-call]
        _max_backward_kernel[(batch * count, triton.cdiv(channels, width))](
            gradient.contiguous(),
            slots,
            *lists,
            result,
            channels,
            neighbours.shape[2],
            EDGES=EDGES,
            CHANNELS=width,
            num_warps=1,
        )
    return result


def sum_rows(values: Tensor, lists: EdgeLists, *, relative: bool = False) -> Tensor:
    """For every point the sum of the rows that its list names: `values (R, C)` to `(P, C)`.

    Args:
        values: float32, bfloat16 or float16.
        lists: Lists of rows.
        relative: Sum `values[row] − values[p]` instead, for point p; the differences are float64.
    """
    channels = values.shape[1]
    points, width = len(lists.starts) - 1, _width(channels)
    result = values.new_empty((points, channels))
    with torch.cuda.device_of(values):  # type: ignore[no-untyped-call]
        _sum_kernel[(points, triton.cdiv(channels, width))](
            values.contiguous(),
            *lists,
            result,
            channels,
            RELATIVE=relative,
            EDGES=EDGES,
            CHANNELS=width,
            num_warps=1,
        )
    return result


def _width(channels: int) -> int:
    width: int = triton.next_power_of_2(channels)
    return min(WIDEST, width)


class _MaxBySlot(Function):
    """Forward stores which neighbour won; backward sums over the edges that end at each point and won."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, neighbours: Tensor) -> Tensor:
        maxima, slots = max_by_slot(values, neighbours)
        ctx.save_for_backward(slots, neighbours)
        return maxima

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        slots, neighbours = ctx.saved_tensors
        return max_gradient(gradients[0], slots, neighbours=neighbours), None


def fused_max(values: Tensor, neighbours: Tensor) -> Tensor:
    """`m_i = max_j values_j` over the neighbours j of i: `(B, N, C)` to `(B, N, C)`, with its gradient."""
    result: Tensor = _MaxBySlot.apply(values, neighbours)
    return result
