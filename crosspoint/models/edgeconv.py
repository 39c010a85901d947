"""EdgeConv (Wang et al., Dynamic Graph CNN, 2019, eq. 8), computed exactly without forming edges, also in training.

One EdgeConv is `out_i = max_j LeakyReLU(BN(e_ij))` with `e_ij = W [x_j − x_i, x_i]` over the neighbours j of i.
With `W = [W₁ W₂]` an edge splits into two products per *point*:

    e_ij = W₁ x_j + V x_i,   V = W₂ − W₁                                                            (1)

BN maps e to `a e + b`, `a = γ / √(σ² + ε)`, `b = β − a μ`, so that with a folded into the products

    out_i = LeakyReLU(max_j (a W₁) x_j + (a V) x_i + b)                                             (2)

since adding a constant and LeakyReLU are monotone. In training, μ and σ² are taken over all edges. As e is linear in
the pair (x_j, x_i), both follow from the first and second moments of that pair, before any product is computed.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.distributed import ProcessGroup, get_world_size
from torch.distributed.nn.functional import all_reduce

from crosspoint.models.neighbours import (
    flat_rows,
    gather_neighbours,
    max_over_neighbours,
    nearest,
    reverse_graph,
)
from crosspoint.models.running import track

SLOPE = 0.2  # of LeakyReLU, as in DGCNN and the official code


class Moments(NamedTuple):
    """Sums over all edges (i → j) of a batch; `edges` is the number of edges."""

    edges: Tensor  # ()
    neighbour: Tensor  # Σ x_j (C,)
    point: Tensor  # Σ x_i (C,)
    neighbour_neighbour: Tensor  # Σ x_j x_jᵀ (C, C)
    neighbour_point: Tensor  # Σ x_j x_iᵀ (C, C)
    point_point: Tensor  # Σ x_i x_iᵀ (C, C)


class _EdgeMoments(Function):
    """Computes the sums of `Moments` from sums over points.

    `deg_p` is the number of points that have p as a neighbour, and `S_i = Σ_j x_j`:
    `Σ x_j x_jᵀ = Σ_p deg_p x_p x_pᵀ`, `Σ x_j x_iᵀ = Σ_i S_i x_iᵀ`, `Σ x_i x_iᵀ = k Σ_i x_i x_iᵀ`.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        k = rows.shape[1]
        degree = torch.bincount(rows.flatten(), minlength=len(x)).to(x.dtype).unsqueeze(1)  # (P, 1)
        sums = nn.functional.embedding_bag(rows, x, mode="sum")  # (P, C)
        ctx.save_for_backward(x, rows, degree, sums)
        weighted = x * degree
        return weighted.sum(0), k * x.sum(0), weighted.t() @ x, sums.t() @ x, k * (x.t() @ x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, rows, degree, sums = ctx.saved_tensors
        neighbour, point, nn_, np_, pp = gradients
        k = rows.shape[1]
        # d/dx_p = deg_p (g_n + (G_nn + G_nnᵀ) x_p) + k (g_p + (G_pp + G_ppᵀ) x_p)
        #          + G_npᵀ S_p + Σ_{i: p ∈ N(i)} G_np x_i
        result = torch.addmm(neighbour, x, nn_ + nn_.t()).mul_(degree)
        result.addmm_(x, k * (pp + pp.t())).addmm_(sums, np_).add_(k * point)
        sources, starts = reverse_graph(rows)
        return result.add_(nn.functional.embedding_bag(sources, x @ np_.t(), starts, mode="sum")), None


def edge_moments(x: Tensor, rows: Tensor) -> Moments:
    """Compute the moments of all edges of a batch.

    Args:
        x: `(P, C)`, float32 or float64.
        rows: Row numbers of the neighbours, `(P, k)`.
    """
    edges = torch.tensor(float(rows.numel()), dtype=x.dtype, device=x.device)
    return Moments(edges, *_EdgeMoments.apply(x, rows))


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

    def fold(self, x: Tensor, rows: Tensor, *, w: Tensor, v: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
        """Scale a and shift b of `BN(e) = a e + b` for `e = w x_j + v x_i`, with the statistics of all edges.

        Args:
            x: `(P, C)`.
            rows: `(P, k)`.
            w: `(D, C)`.
            v: `(D, C)`.
            constant: `(D,)`, constant part of e, needed only for the running mean.

        Returns:
            a and b, `(D,)` each.
        """
        moments = edge_moments(x, rows)
        if self.synchronised:
            moments = _reduce(moments, self.group)
        n = moments.edges
        near, point = moments.neighbour / n, moments.point / n
        mean = w @ near + v @ point  # (D,)
        # Var e_d = w_dᵀ Cov(x_j) w_d + 2 w_dᵀ Cov(x_j, x_i) v_d + v_dᵀ Cov(x_i) v_d
        cov_nn = moments.neighbour_neighbour / n - torch.outer(near, near)
        cov_np = moments.neighbour_point / n - torch.outer(near, point)
        cov_pp = moments.point_point / n - torch.outer(point, point)
        variance = ((w @ cov_nn + 2 * (v @ cov_np.t())) * w + (v @ cov_pp) * v).sum(1).clamp_min(0)
        track(self, mean + constant, variance=variance, count=n)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return scale, self.bias - scale * mean

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
                    x.flatten(0, 1), flat_rows(neighbours), w=first, v=second - first, constant=second.detach() @ centre
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
