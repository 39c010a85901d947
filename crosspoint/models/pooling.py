"""The last layer of an encoder, `LeakyReLU(BN(W x))` of every point, and the pooling over points, computed together.

Only the products `h = W x` are kept. Everything else is computed for one cloud at a time on a CPU, while it is in the
cache, and for many on a GPU. With `u = γ ĥ + β`, `ĥ = (h − μ) / √(σ² + ε)` and `s = LeakyReLU'(u)`, the mean of a cloud
is `Σ_p s u / N`, and the backward pass of BN needs only sums of s and s ĥ over points. So it too needs only one pass
over h.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.distributed import all_reduce

from crosspoint.models.neighbours import ROW_BITS, clouds_at_once
from crosspoint.models.normalisation import SyncNorm
from crosspoint.models.running import track


class Pooled(NamedTuple):
    """Pooled features of clouds."""

    maximum: Tensor  # (B, D)
    mean: Tensor  # (B, D)


class _PooledLinear(Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor, slope: float, norm: nn.BatchNorm1d | SyncNorm
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        batch, count, _ = x.shape
        h = torch.matmul(x, weight.t())  # (B, N, D)
        n, mean, variance = _statistics(h, gamma.dtype, norm)
        root = torch.rsqrt(variance + norm.eps)
        maximum, slopes, moments = (gamma.new_empty(batch, len(gamma)) for _ in range(3))
        winners = torch.empty(maximum.shape, dtype=torch.int64, device=x.device)
        for part in clouds_at_once(h):
            normed = (h[part].to(gamma.dtype) - mean).mul_(root)  # ĥ (b, N, D)
            u = torch.addcmul(beta, normed, gamma)
            s = torch.ops.aten.leaky_relu_backward(gamma.new_ones(1).expand_as(u), u, slope, False)
            slopes[part] = s.sum(1)
            moments[part] = s.mul_(normed).sum(1)
            best, winners[part] = _maximum(u)
            maximum[part] = nn.functional.leaky_relu(best, slope)
        average = (gamma * moments + beta * slopes) / count
        ctx.save_for_backward(x, weight, h, gamma, beta, mean, root, n, maximum, winners, slopes, moments)
        ctx.slope, ctx.norm = slope, norm
        ctx.mark_non_differentiable(mean, variance, n)
        return maximum, average, mean, variance, n

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, h, gamma, beta, mean, root, n, maximum, winners, slopes, moments = ctx.saved_tensors
        on_maximum, on_mean = gradients[0], gradients[1] / x.shape[1]  # (B, D)
        at_maximum = torch.where(maximum > 0, on_maximum, ctx.slope * on_maximum)  # d/du at the winning point
        best = (torch.gather(h, 1, winners.unsqueeze(1)).squeeze(1).to(gamma.dtype) - mean) * root  # ĥ there (B, D)
        on_beta = (on_mean * slopes + at_maximum).sum(0)  # Σ g, with g = dL/du
        on_gamma = (on_mean * moments + at_maximum * best).sum(0)  # Σ g ĥ
        total = torch.stack([on_beta, on_gamma])
        if isinstance(ctx.norm, SyncNorm):
            all_reduce(total, group=ctx.norm.group)
        # dL/dh = γ/√(σ² + ε) (g − Σ g / n − ĥ Σ g ĥ / n)
        scale = gamma * root
        constant, linear = -scale * total[0] / n, -scale * total[1] / n
        on_x = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        on_weight = torch.zeros_like(weight, dtype=gamma.dtype)
        for part in clouds_at_once(h):
            normed = (h[part].to(gamma.dtype) - mean).mul_(root)  # ĥ (b, N, D)
            u = torch.addcmul(beta, normed, gamma)
            below = (scale * on_mean[part]).unsqueeze(1).expand_as(u)
            on_h = torch.ops.aten.leaky_relu_backward(below, u, ctx.slope, False)
            on_h.addcmul_(normed, linear).add_(constant)
            on_h.scatter_add_(1, winners[part].unsqueeze(1), (scale * at_maximum[part]).unsqueeze(1))
            low = on_h.to(x.dtype).flatten(0, 1)  # (b·N, D)
            torch.mm(low, weight, out=on_x[part].view(len(low), -1))
            on_weight += low.t() @ x[part].flatten(0, 1)
        return on_x, on_weight.to(weight.dtype), on_gamma, on_beta, None, None


def _statistics(h: Tensor, dtype: torch.dtype, norm: nn.BatchNorm1d | SyncNorm) -> tuple[Tensor, Tensor, Tensor]:
    """Number of values, mean and biased variance of `h (B, N, D)` over all points of all processes.

    They are computed for each cloud and then merged: `Σ (h − μ)² = Σ_b Σ_p (h − μ_b)² + N Σ_b (μ_b − μ)²`.
    """
    batch, count, width = h.shape
    means, squares = h.new_empty(batch, width, dtype=dtype), h.new_zeros(width, dtype=dtype)
    for part in clouds_at_once(h):
        values = h[part].to(dtype)
        means[part] = values.mean(1)
        squares += (values - means[part].unsqueeze(1)).square_().sum((0, 1))
    n = torch.tensor(float(batch * count), dtype=dtype, device=h.device)
    mean = means.mean(0)
    if isinstance(norm, SyncNorm):
        sums = torch.cat([mean * n, n.view(1)])
        all_reduce(sums, group=norm.group)
        n, mean = sums[-1], sums[:-1] / sums[-1]
    squares += count * (means - mean).square().sum(0)
    if isinstance(norm, SyncNorm):
        all_reduce(squares, group=norm.group)
    return n, mean, squares / n


def _maximum(u: Tensor) -> tuple[Tensor, Tensor]:
    """Maxima over points, and the points that have them: `(b, N, D)` to two tensors `(b, D)`."""
    if u.device.type != "cpu" or u.dtype != torch.float32:
        best = u.max(dim=1)
        return best.values, best.indices
    packed = u.double()  # the row number is stored in the low bits, as in `max_over_neighbours`
    packed.view(torch.int64).bitwise_or_(torch.arange(u.shape[1]).unsqueeze(1))
    maxima = packed.amax(dim=1)
    return maxima.float(), maxima.view(torch.int64).bitwise_and_(ROW_BITS)


def pooled_linear(x: Tensor, linear: nn.Module, *, norm: nn.BatchNorm1d | SyncNorm, slope: float) -> Pooled:
    """`LeakyReLU(BN(W x))` of every point, pooled over the points of each cloud.

    Args:
        x: `(B, N, C)`.
        linear: W, without bias.
        norm: A `BatchNorm1d` or `SyncNorm`; its running statistics are updated in training.
        slope: Slope of LeakyReLU below 0; 0 is ReLU.

    Returns:
        Maximum and mean over the points, `(B, D)` each.
    """
    if not norm.training:
        y = nn.functional.leaky_relu(norm(linear(x.flatten(0, 1))), slope).view(*x.shape[:2], -1)
        return Pooled(y.amax(dim=1), y.mean(dim=1))
    weight: Tensor = linear.get_parameter("weight")
    device = x.device.type
    if torch.is_autocast_enabled(device):
        low = torch.get_autocast_dtype(device)
        x, weight = x.to(low), weight.to(low)
    with torch.autocast(device, enabled=False):
        arguments = (x.to(weight.dtype), weight, norm.weight, norm.bias, slope, norm)
        maximum, average, mean, variance, n = _PooledLinear.apply(*arguments)
    track(norm, mean, variance=variance, count=n)
    return Pooled(maximum, average)
