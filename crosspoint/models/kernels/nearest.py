"""The k nearest points of every point, without a matrix of distances.

A program has `ROWS` points of a cloud. It passes over the cloud's points in blocks of `GROUPS`, computes the scores
`½|x_j|² − x_i·x_j` of a block, and keeps of each row and each group (the columns j with the same `j mod GROUPS`) the
four smallest. That takes four comparisons a score and no exchange between threads. Then it takes the smallest entry of
all groups, k times. If a group runs out of its four, the program passes over the points again, from there on. With k =
20 nearest among 64 groups at random, this happens to one row in a thousand.

Score and column are one integer of 64 bits, the score above, in an order-preserving form. So equal scores are ordered
by the column, and the result is exactly that of a stable sort of the scores; NaN comes last.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

WARPS = 8  # of a program
CHANNELS = 16  # of a product at a time; 32 need more registers than a thread has
ABSENT = tl.constexpr((1 << 63) - 1)  # above all keys, also those of NaN
UNKNOWN = tl.constexpr(-(1 << 63))  # below all keys: the group has given away all it kept
NAN = tl.constexpr((1 << 31) - 1)


@triton.jit
def _keys(scores: tl.tensor, columns: tl.tensor) -> tl.tensor:
    """Integers in the order of (score, column): −0 equals 0, all NaN are equal and the largest."""
    bits = scores.to(tl.int32, bitcast=True)
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    ordered = tl.where(scores == 0, 0, ordered)
    ordered = tl.where(scores != scores, NAN, ordered)
    return (ordered.to(tl.int64) << 32) | columns.to(tl.int64)[None, :]


@triton.jit(do_not_specialize=["k"])
def _nearest_kernel(
    x: tl.tensor,  # (B, N, C)
    half_norms: tl.tensor,  # (B, N)
    result: tl.tensor,  # (B, N, k)
    count: tl.tensor,
    channels: tl.tensor,
    k: tl.tensor,
    ROWS: tl.constexpr,
    GROUPS: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    blocks = tl.cdiv(count, ROWS)
    cloud = (tl.program_id(0) // blocks).to(tl.int64)
    rows = (tl.program_id(0) % blocks) * ROWS + tl.arange(0, ROWS)
    x += cloud * count * channels
    half_norms += cloud * count
    result += cloud * count * k + rows.to(tl.int64) * k

    last = tl.full((ROWS,), UNKNOWN, tl.int64)  # key of the last neighbour that was found
    found = 0
    while found < k:
        first = tl.full((ROWS, GROUPS), ABSENT, tl.int64)
        second, third, fourth = first, first, first
        for start in range(0, count, GROUPS):
            columns = start + tl.arange(0, GROUPS)
            products = tl.zeros((ROWS, GROUPS), tl.float32)
            for channel in range(0, channels, CHANNELS):
                c = channel + tl.arange(0, CHANNELS)
                own = tl.load(
                    x + rows.to(tl.int64)[:, None] * channels + c[None, :],
                    mask=(rows < count)[:, None] & (c < channels)[None, :],
                    other=0.0,
                )
                others = tl.load(
                    x + columns.to(tl.int64)[None, :] * channels + c[:, None],
                    mask=(columns < count)[None, :] & (c < channels)[:, None],
                    other=0.0,
                )
                products = tl.dot(own, others, products, input_precision="ieee")
            scores = tl.load(half_norms + columns, mask=columns < count, other=0.0)[None, :] - products
            keys = _keys(scores, columns)
            keys = tl.where((columns < count)[None, :] & (keys > last[:, None]), keys, ABSENT)
            larger = tl.maximum(first, keys)
            first = tl.minimum(first, keys)
            keys = tl.maximum(second, larger)
            second = tl.minimum(second, larger)
            larger = tl.maximum(third, keys)
            third = tl.minimum(third, keys)
            fourth = tl.minimum(fourth, larger)
        smallest = tl.min(first, axis=1)  # (ROWS,)
        while (found < k) & (tl.min(smallest, axis=0) != UNKNOWN):
            tl.store(result + found, smallest & 0x7FFFFFFF, mask=rows < count)
            taken = first == smallest[:, None]
            first = tl.where(taken, second, first)
            second = tl.where(taken, third, second)
            third = tl.where(taken, fourth, third)
            fourth = tl.where(taken, UNKNOWN, fourth)
            last = smallest
            found += 1
            smallest = tl.min(first, axis=1)


def nearest_by_score(x: Tensor, half_norms: Tensor, *, k: int) -> Tensor:
    """The k points j with the smallest `half_norms_j − x_i·x_j`, smallest first; of equal ones the lower j.

    Products are float32. Nothing larger than the result is written.

    Args:
        x: `(B, N, C)`, float32, of at least k points.
        half_norms: `(B, N)`, float32.
        k: From 1 to 64.

    Returns:
        `(B, N, k)`, int64.
    """
    batch, count, channels = x.shape
    rows, groups = (32, 64) if k <= 32 else (16, 128)
    result = torch.empty((batch, count, k), dtype=torch.int64, device=x.device)
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        _nearest_kernel[(batch * triton.cdiv(count, rows),)](
            x.contiguous(),
            half_norms.contiguous(),
            result,
            count,
            channels,
            k,
            ROWS=rows,
            GROUPS=groups,
            CHANNELS=CHANNELS,
            num_warps=WARPS,
        )
    return result
