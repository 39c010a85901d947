"""EdgeConv (Wang et al., Dynamic Graph CNN, 2019, eq. 8), computed exactly without forming edges, also in training.

One EdgeConv is `out_i = max_j LeakyReLU(BN(e_ij))` with `e_ij = W [x_j − x_i, x_i]` over the neighbours j of i.
With `W = [W₁ W₂]` an edge splits into two products per *point*:

    e_ij = W₁ x_j + V x_i,   V = W₂ − W₁                                                            (1)

BN maps e to `a e + b`, `a = γ / √(σ² + ε)`, `b = β − a μ`, so that with a folded into the products

    out_i = LeakyReLU(max_j (a W₁) x_j + (a V) x_i + b)                                             (2)

since adding a constant and LeakyReLU are monotone. On batch statistics μ and σ² are those of all edges. e is linear in
the pair (d, x_i) with d = x_j − x_i, so both follow from the first and second moments of that pair:

    μ = W₁ E[d] + W₂ E[x_i]
    σ²_c = w₁ᵀ Cov(d, d) w₁ + 2 w₁ᵀ Cov(d, x_i) w₂ + w₂ᵀ Cov(x_i, x_i) w₂,   w₁, w₂ the rows c of W₁, W₂    (3)

The moments follow from sums per point (`_EdgeMoments`). Neighbours are close, so d is small beside x, and a variance
from moments of (x_j, x_i) would be a small difference of large numbers; (3) has no such difference.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.distributed import ProcessGroup, get_world_size
from torch.distributed.nn.functional import all_reduce

from crosspoint.models.kernels.choice import fused
from crosspoint.models.neighbours import (
    clouds_at_once,
    flat_rows,
    gather_neighbours,
    max_over_neighbours,
    nearest,
    reverse_graph,
)
from crosspoint.models.running import track

SLOPE = 0.2  # of LeakyReLU, as in DGCNN and the official code


class Moments(NamedTuple):
    """Sums over all edges (i → j) of a batch, float64, with `d = x_j − x_i`; `edges` is their number."""

    edges: Tensor  # ()
    difference: Tensor  # Σ d (C,)
    point: Tensor  # Σ x_i (C,)
    difference_difference: Tensor  # Σ d dᵀ (C, C)
    difference_point: Tensor  # Σ d x_iᵀ (C, C)
    point_point: Tensor  # Σ x_i x_iᵀ (C, C)


class _EdgeMoments(Function):
    """Computes the sums of `Moments` from sums over points.

    Of a point p, `O_p = Σ_{j ∈ N(p)} (x_j − x_p)`, `I_p = Σ_{i: p ∈ N(i)} (x_i − x_p)` and `deg_p`, the number of
    points that have p as a neighbour:

        Σ d = Σ_p O_p,   Σ d dᵀ = −Σ_p (O_p + I_p) x_pᵀ,   Σ d x_iᵀ = Σ_p O_p x_pᵀ,   Σ x_i x_iᵀ = k Σ_p x_p x_pᵀ

    Products are of the type of x within a cloud, and summed over clouds in float64. On a GPU with Triton they are
    float32 within 32 points, and O and I are summed in float64.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, neighbours: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        k, channels = neighbours.shape[2], x.shape[2]
        if fused(x, k):
            from crosspoint.models.kernels.moments import edge_sums

            return _EdgeMoments._finish(ctx, x, k, *edge_sums(x, neighbours))
        outgoing, incoming, degree = torch.empty_like(x), torch.empty_like(x), x.new_empty((*x.shape[:2], 1))
        products = x.new_zeros((3, channels, channels), dtype=torch.float64)
        sums = x.new_zeros((2, channels), dtype=torch.float64)
        for part in clouds_at_once(x):
            own = x[part]  # (b, N, C)
            out, back, count = (
                each.view(len(own), -1, each.shape[1])
                for each in _differences(own.flatten(0, 1), flat_rows(neighbours[part]))
            )
            outgoing[part], incoming[part], degree[part] = out, back, count
            for i, left in enumerate((back.add_(out), out, own)):
                products[i] += (left.transpose(1, 2) @ own).sum(0, dtype=torch.float64)
            sums += torch.stack([each.sum((0, 1), dtype=torch.float64) for each in (out, own)])
        return _EdgeMoments._finish(ctx, x, k, outgoing, incoming, degree, products, sums)

    @staticmethod
    def _finish(
        ctx: Any, x: Tensor, k: int, outgoing: Tensor, incoming: Tensor, degree: Tensor, products: Tensor, sums: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        ctx.save_for_backward(x, outgoing, incoming, degree)
        ctx.k = k
        laplacian, mixed, squares = products  # (C, C)
        return sums[0], k * sums[1], -laplacian, mixed, k * squares

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, outgoing, incoming, degree = ctx.saved_tensors
        d, p, dd, dp, pp = (gradient.to(x.dtype) for gradient in gradients)
        k = ctx.k
        # d/dx_p = (deg_p − k) (g_d + G_dp x_p) + (G_dp − G_dd − G_ddᵀ) I_p + (G_dpᵀ − G_dd − G_ddᵀ) O_p
        #          + k (g_p + (G_pp + G_ppᵀ) x_p)
        both = dd + dd.t()
        result = torch.empty_like(x)
        for part in clouds_at_once(x):
            own, out, back, count = (each[part].flatten(0, 1) for each in (x, outgoing, incoming, degree))  # (b·N, C)
            rows = torch.addmm(d, own, dp.t()).mul_(count - k)
            rows.addmm_(back, dp.t() - both).addmm_(out, dp - both)
            rows.addmm_(own, k * (pp + pp.t())).add_(k * p)
            result[part] = rows.view_as(result[part])
        return result, None


def _differences(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`O (P, C)`, `I (P, C)` and `deg (P, 1)` of `_EdgeMoments`, to the rounding of the differences themselves.

    Sums of x would lose what they have in common: of k equal points, `Σ x_j − k x_i` is not 0 in floating point. So x
    is split into a part on a grid so coarse that all sums of it are exact, and the rest, which is small.

    Args:
        x: `(P, C)`.
        rows: `(P, k)`.
    """
    sources, starts = reverse_graph(rows)
    degree = torch.diff(starts, append=starts.new_full((1,), len(sources)))
    exact = 22 if x.dtype == torch.float32 else 51  # bits of a sum on the grid; the rest is for rounding to it
    exponent = torch.frexp(x.abs().amax() * degree.amax()).exponent - exact  # of the grid
    magic = torch.ldexp(x.new_tensor(1.5), exponent + exact + 1)  # x + magic has no bits finer than the grid
    coarse = (x + magic).sub_(magic)
    fine = x - coarse
    weight = degree.to(x.dtype).unsqueeze(1)  # (P, 1)
    outgoing, incoming = torch.zeros_like(x), torch.zeros_like(x)
    for part in (coarse, fine):
        outgoing += nn.functional.embedding_bag(rows, part, mode="sum").sub_(part, alpha=rows.shape[1])
        incoming += nn.functional.embedding_bag(sources, part, starts, mode="sum").addcmul_(part, weight, value=-1)
    return outgoing, incoming, weight


def edge_moments(x: Tensor, neighbours: Tensor) -> Moments:
    """Compute the moments of all edges of a batch.

    Args:
        x: `(B, N, C)`, float32 or float64.
        neighbours: `(B, N, k)`.
    """
    edges = torch.tensor(float(neighbours.numel()), dtype=torch.float64, device=x.device)
    return Moments(edges, *_EdgeMoments.apply(x, neighbours))


def _reduce(moments: Moments, group: ProcessGroup | None) -> Moments:
    """Sums over all processes, in one message."""
    flat = torch.cat([moment.flatten() for moment in moments])
    total = all_reduce(flat, group=group)  # type: ignore[no-untyped-call]
    parts = total.split([moment.numel() for moment in moments])
    return Moments(*(part.view(moment.shape) for part, moment in zip(parts, moments, strict=True)))


class EdgeNorm(nn.BatchNorm1d):
    """Batch normalisation over edges that are never formed: computes the scale and shift it applies.

    If `synchronised`, the statistics include the edges of all processes of `group`.
    """

    synchronised = False
    group: ProcessGroup | None = None

    def fold(
        self, x: Tensor, neighbours: Tensor, *, first: Tensor, second: Tensor, constant: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Scale a and shift b of `BN(e) = a e + b` for `e = W₁ (x_j − x_i) + W₂ x_i`, by equation 3 over all edges.

        Args:
            x: `(B, N, C)`.
            neighbours: `(B, N, k)`.
            first: W₁ `(D, C)`.
            second: W₂ `(D, C)`.
            constant: `(D,)`, constant part of e, needed only for the running mean.

        Returns:
            a and b, `(D,)` each.
        """
        moments = edge_moments(x, neighbours)
        if self.synchronised:
            moments = _reduce(moments, self.group)
        n = moments.edges
        w1, w2 = first.double(), second.double()
        difference, point = moments.difference / n, moments.point / n  # (C,)
        mean = w1 @ difference + w2 @ point  # (D,)
        cov_dd = moments.difference_difference / n - torch.outer(difference, difference)
        cov_dp = moments.difference_point / n - torch.outer(difference, point)
        cov_pp = moments.point_point / n - torch.outer(point, point)
        variance = ((w1 @ cov_dd) * w1 + 2 * (w1 @ cov_dp) * w2 + (w2 @ cov_pp) * w2).sum(1).clamp_min(0)
        track(self, mean + constant, variance=variance, count=n)
        scale = self.weight * torch.rsqrt(variance + self.eps)  # float64
        return scale.to(x.dtype), (self.bias - scale * mean).to(x.dtype)

    def centre(self, x: Tensor) -> Tensor:
        """Mean point `(C,)` of the batch `x (B, N, C)`, over all processes."""
        mean = x.mean(dim=(0, 1))
        if self.synchronised:
            mean = all_reduce(mean, group=self.group) / get_world_size(self.group)  # type: ignore[no-untyped-call]
        return mean

    def frozen(self) -> tuple[Tensor, Tensor]:
        """Scale a and shift b from the running statistics, each `(D,)`."""
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - scale * self.running_mean


class EdgeLinear(nn.Module):
    """`BN(W [x_j − x_i, x_i])` of an EdgeConv, as the two per-point terms of equation 2.

    Args:
        inputs: Channels of the points.
        outputs: Channels of the result.
        maximum: Whether the maximum over the edges is taken directly of the result. In channels with γ = 0 all edges
            are equal; the gradient of γ is then that of the edge to the point itself, where the neighbour term is 0.
    """

    def __init__(self, inputs: int, outputs: int, *, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        self.weight = nn.Parameter(torch.empty(outputs, 2 * inputs))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)
        self.norm = EdgeNorm(outputs)

    def forward(self, x: Tensor, neighbours: Tensor) -> tuple[Tensor, Tensor]:
        """Compute `neighbour_term` and `center_term`, with `BN(e_ij) = neighbour_term_j + center_term_i`.

        Args:
            x: `(B, N, C)`.
            neighbours: `(B, N, k)`.

        Returns:
            Two tensors `(B, N, D)`.
        """
        first, second = self.weight.chunk(2, dim=1)  # W₁, W₂ (D, C)
        if self.training:
            with torch.autocast(x.device.type, enabled=False):
                x = x.to(self.weight.dtype)
                # BN removes what W₂ makes of a constant offset, so the products are taken relative to the batch's mean
                centre = self.norm.centre(x.detach())
                x = x - centre
                scale, shift = self.norm.fold(
                    x, neighbours, first=first, second=second, constant=second.detach() @ centre
                )
        else:
            scale, shift = self.norm.frozen()
        if self.maximum:
            first = (self.norm.weight != 0).to(first.dtype).unsqueeze(1) * first
        scale = scale.unsqueeze(1)  # (D, 1)
        neighbour_term = nn.functional.linear(x, scale * first)
        center_term = nn.functional.linear(x, scale * (second - first), shift)
        return neighbour_term, center_term


class EdgeConv(nn.Module):
    """An EdgeConv with one convolution: `(B, N, inputs)` to `(B, N, outputs)`.

    Args:
        inputs: Channels of the points.
        outputs: Channels of the result.
        k: Number of neighbours. The graph is built in the feature space of the input.
    """

    def __init__(self, inputs: int, outputs: int, *, k: int) -> None:
        super().__init__()
        self.k = k
        self.linear = EdgeLinear(inputs, outputs, maximum=True)

    def forward(self, x: Tensor, neighbours: Tensor | None = None) -> Tensor:
        """Equation 2. If `neighbours (B, N, k)` is None, they are found in x."""
        if neighbours is None:
            neighbours = nearest(x, self.k)
        neighbour_term, center_term = self.linear(x, neighbours)
        y = max_over_neighbours(neighbour_term, neighbours).add_(center_term)
        return nn.functional.leaky_relu(y, SLOPE, inplace=True)


class EdgeConv2(nn.Module):
    """An EdgeConv with two convolutions, `max_j h₂(h₁(e_ij))`. Only the first splits into per-point terms.

    Args:
        inputs: Channels of the points.
        hidden: Channels of the first convolution.
        outputs: Channels of the second.
        k: Neighbours in the graph.
    """

    def __init__(self, inputs: int, hidden: int, *, outputs: int, k: int) -> None:
        super().__init__()
        self.k = k
        self.first = EdgeLinear(inputs, hidden, maximum=False)
        self.second = nn.Linear(hidden, outputs, bias=False)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor, neighbours: Tensor | None = None) -> Tensor:
        """`(B, N, inputs)` to `(B, N, outputs)`. If `neighbours (B, N, k)` is None, they are found in x."""
        if neighbours is None:
            neighbours = nearest(x, self.k)
        batch, count, k = neighbours.shape
        neighbour_term, center_term = self.first(x, neighbours)  # (B, N, hidden)
        edges = gather_neighbours(neighbour_term.flatten(0, 1), flat_rows(neighbours)).view(batch * count, k, -1)
        edges = nn.functional.leaky_relu(edges + center_term.flatten(0, 1).unsqueeze(1), SLOPE)  # (B·N, k, hidden)
        edges = self.norm(self.second(edges.flatten(0, 1)))  # (B·N·k, outputs)
        return nn.functional.leaky_relu(edges.view(batch, count, k, -1).amax(dim=2), SLOPE)
