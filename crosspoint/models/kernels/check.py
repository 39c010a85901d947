"""Compares every kernel with its formula in float64, on the device that is to use it.

Where the values are integers that float32 computes with exactly, nothing may differ: neighbours with equal distances,
maxima, gradients. Elsewhere the bound is 1e-5 of the largest value; products in TensorFloat-32 would miss it by far.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from crosspoint.models.kernels.moments import edge_sums
from crosspoint.models.kernels.nearest import nearest_by_score
from crosspoint.models.kernels.reduce import edges_by_end, max_by_slot, max_gradient, sum_rows

BOUND = 1e-5
Comparison = tuple[str, Tensor, Tensor, float]  # what, found, expected, largest relative difference


@torch.no_grad()
def find_fault(device: torch.device) -> str | None:
    """What a kernel computes wrongly on a device, or why it does not run there; None if all is right.

    Compiling the kernels takes seconds the first time; Triton keeps what it has compiled.
    """
    try:
        with torch.autocast(device.type, enabled=False):
            for what, found, expected, bound in _comparisons(device):
                found = found.cpu().to(expected.dtype)
                if bound == 0 and not torch.equal(found.nan_to_num(), expected.nan_to_num()):
                    return f"{what} differ from the reference"
                if not (found - expected).abs().max() <= bound * expected.abs().max() and bound > 0:
                    return f"{what} differ from the reference by more than {bound:g}"
    except Exception as error:  # compilers and drivers raise all kinds
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return None


def _comparisons(device: torch.device) -> Iterator[Comparison]:
    generator = torch.Generator().manual_seed(0)

    def integers(*shape: int, low: int = -4, high: int = 5) -> Tensor:
        return torch.randint(low, high, shape, generator=generator).float()

    # many equal distances; a cloud with NaN; odd numbers above 2048, which TensorFloat-32 would round
    some_nan = integers(2, 35, 5)
    some_nan[1, 3] = torch.nan
    for k, x in ((20, some_nan), (40, integers(1, 50, 3)), (7, integers(1, 67, 1, low=2049, high=2300))):
        norms = x.square().sum(2) / 2
        scores = norms.double()[:, None] - x.double() @ x.double().transpose(1, 2)
        expected = scores.sort(dim=2, stable=True).indices[..., :k]
        yield "neighbours", nearest_by_score(x.to(device), norms.to(device), k=k), expected, 0.0

    for dtype, channels in ((torch.float32, 130), (torch.bfloat16, 5), (torch.float16, 5)):
        values, gradient = integers(2, 9, channels), integers(2, 9, channels)
        graph = torch.randint(0, 9, (2, 9, 6), generator=generator)
        near = values[torch.arange(2).view(2, 1, 1), graph]  # (2, 9, 6, C)
        best = near.max(dim=2, keepdim=True).values
        slots = (near == best).to(torch.int8).argmax(dim=2)  # the first
        winners = graph.gather(2, slots)
        there = torch.zeros_like(gradient).scatter_add_(1, winners, gradient)
        maxima, found = max_by_slot(values.to(device, dtype), graph.to(device))
        yield "maxima over neighbours", maxima, best.squeeze(2), 0.0
        yield "winners of maxima", found, slots, 0.0
        on_values = max_gradient(gradient.to(device, dtype), found, neighbours=graph.to(device))
        yield "gradients of maxima", on_values, there, 0.0
        lists = edges_by_end(graph.to(device))
        edges = integers(2 * 9 * 6, 11)
        ends = (graph + torch.tensor([0, 9]).view(2, 1, 1)).flatten()
        summed = torch.zeros(2 * 9, 11).index_add_(0, ends, edges)
        yield "sums over neighbours", sum_rows(edges.to(device, dtype), lists), summed, 0.0

    x = torch.randn(3, 11, 40, generator=generator)
    graph = torch.randint(0, 11, (3, 11, 5), generator=generator)
    own = x.double()
    differences = own[torch.arange(3).view(3, 1, 1), graph] - own[:, :, None]  # (3, 11, 5, 40)
    sums = edge_sums(x.to(device), graph.to(device))
    squares = torch.einsum("bnkc,bnkd->cd", differences, differences)  # Σ d dᵀ
    yield "differences of neighbours", sums.outgoing, differences.sum(2), BOUND
    yield "products of differences", sums.products[0], -squares, BOUND
    yield "products with points", sums.products[1], torch.einsum("bnc,bnd->cd", differences.sum(2), own), BOUND
    yield "products of points", sums.products[2], torch.einsum("bnc,bnd->cd", own, own), BOUND
    yield "sums of points", sums.sums[1], own.sum((0, 1)), BOUND
