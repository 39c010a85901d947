"""Sums over edges and products over points for the statistics of `EdgeNorm`, accumulated in float64."""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from crosspoint.models.kernels.reduce import EdgeLists, edges_by_end, sum_rows

SIDE = 32  # of the square of products that a program computes
POINTS = 32  # whose products are summed in float32, before float64
PROGRAMS = 1024
MOST_SPLITS = 256


class EdgeSums(NamedTuple):
    """What `_EdgeMoments` needs of a batch, in its notation.

    Attributes:
        outgoing: O `(B, N, C)`, float32.
        incoming: I `(B, N, C)`, float32.
        degree: deg `(B, N, 1)`, float32.
        products: `Σ_p (O_p + I_p) x_pᵀ`, `Σ_p O_p x_pᵀ` and `Σ_p x_p x_pᵀ`, `(3, C, C)`, float64.
        sums: `Σ_p O_p` and `Σ_p x_p`, `(2, C)`, float64.
    """

    outgoing: Tensor
    incoming: Tensor
    degree: Tensor
    products: Tensor
    sums: Tensor


@triton.jit
def _products_kernel(
    x: tl.tensor,  # (P, C)
    outgoing: tl.tensor,  # (P, C)
    incoming: tl.tensor,  # (P, C)
    partial: tl.tensor,  # (S, 3, C, C)
    points: tl.tensor,
    channels: tl.tensor,
    step: tl.tensor,
    POINTS: tl.constexpr,
    SIDE: tl.constexpr,
) -> None:
    split = tl.program_id(0).to(tl.int64)
    left = tl.program_id(1) * SIDE + tl.arange(0, SIDE)
    right = tl.program_id(2) * SIDE + tl.arange(0, SIDE)
    end = tl.minimum((split + 1) * step, points)
    laplacian = tl.zeros((SIDE, SIDE), tl.float64)
    mixed = tl.zeros((SIDE, SIDE), tl.float64)
    squares = tl.zeros((SIDE, SIDE), tl.float64)
    for start in range(split * step, end, POINTS):
        p = start + tl.arange(0, POINTS)
        at = p[None, :] * channels + left[:, None]
        inside = (p < end)[None, :] & (left < channels)[:, None]
        others = tl.load(
            x + p[:, None] * channels + right[None, :],
            mask=(p < end)[:, None] & (right < channels)[None, :],
            other=0.0,
        )
        out = tl.load(outgoing + at, mask=inside, other=0.0)
        both = out + tl.load(incoming + at, mask=inside, other=0.0)
        own = tl.load(x + at, mask=inside, other=0.0)
        laplacian += tl.dot(both, others, input_precision="ieee").to(tl.float64)
        mixed += tl.dot(out, others, input_precision="ieee").to(tl.float64)
        squares += tl.dot(own, others, input_precision="ieee").to(tl.float64)
    to = partial + split * 3 * channels * channels + left[:, None] * channels + right[None, :]
    inside = (left < channels)[:, None] & (right < channels)[None, :]
    tl.store(to, laplacian, mask=inside)
    tl.store(to + channels * channels, mixed, mask=inside)
    tl.store(to + 2 * channels * channels, squares, mask=inside)


def edge_sums(x: Tensor, neighbours: Tensor) -> EdgeSums:
    """Sums over the edges of each point, and their products summed over all points.

    Differences are summed in float64 and rounded once. Products are float32 over 32 points at a time and float64 over
    these, in an order that depends on the sizes only.

    Args:
        x: `(B, N, C)`, float32.
        neighbours: `(B, N, k)`, k from 1 to 64.
    """
    batch, count, channels = x.shape
    points, k = batch * count, neighbours.shape[2]
    rows = x.flatten(0, 1).contiguous()
    firsts = torch.arange(0, points, count, device=x.device).view(batch, 1, 1)
    starts = torch.arange(0, points * k + 1, k, device=x.device)
    back = edges_by_end(neighbours)
    outgoing = sum_rows(rows, EdgeLists((neighbours + firsts).flatten(), starts), relative=True)
    incoming = sum_rows(rows, EdgeLists(back.edges // k, back.starts), relative=True)
    blocks = triton.cdiv(channels, SIDE)
    splits = min(MOST_SPLITS, max(1, PROGRAMS // blocks**2), triton.cdiv(points, POINTS))
    step = triton.cdiv(triton.cdiv(points, splits), POINTS) * POINTS
    partial = x.new_empty((splits, 3, channels, channels), dtype=torch.float64)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        _products_kernel[(splits, blocks, blocks)](
            rows, outgoing, incoming, partial, points, channels, step, POINTS=POINTS, SIDE=SIDE, num_warps=8
        )
    return EdgeSums(
        outgoing.view_as(x),
        incoming.view_as(x),
        back.starts.diff().to(x.dtype).view(batch, count, 1),
        partial.sum(0),
        torch.stack([each.sum(0, dtype=torch.float64) for each in (outgoing, rows)]),
    )
