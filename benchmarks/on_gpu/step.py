"""A training step of DGCNN on a GPU: the edge form, PyTorch's operators, and the fused kernels, with their floors."""

import statistics
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial

import torch
from results import Series
from torch import Tensor, nn

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.models import DGCNN
from crosspoint.models.edgeconv import edge_moments
from crosspoint.models.kernels.choice import choose_kernels, without_kernels
from crosspoint.models.neighbours import max_over_neighbours, nearest
from on_gpu.floors import Card, Cost, copy_bandwidth, find_card, require_cuda, share, times_ms

K = 20
PART = 8  # of the clouds the edge form gets one in so many: all would need 60 GB
WIDTHS = ((3, 64), (64, 64), (64, 128), (128, 256))  # channels in and out of each EdgeConv
EMBEDDING = (512, 1024)
FLOAT, INDEX, SLOT = 4, 8, 1  # bytes
Row = dict[str, str | float]


def layer_costs(points: int, count: int, *, k: int, channels: tuple[int, int]) -> dict[str, Cost]:
    """The least work of the parts of one EdgeConv, forward and backward.

    Args:
        points: Of all clouds together, P.
        count: Of a cloud, N.
        k: Neighbours.
        channels: In and out, C and D.
    """
    c, d = channels
    graph = INDEX * points * k
    return {
        # P N products of C channels; x is read, the graph written
        "neighbours": Cost(FLOAT * points * c + graph, 2.0 * points * count * c),
        # x and the graph are read, O and I written; three products of (C, P) and (P, C)
        "edge moments": Cost(3 * FLOAT * points * c + graph, 6.0 * points * c * c),
        "maximum": Cost(2 * FLOAT * points * d + SLOT * points * d + graph),
        "maximum, backward": Cost(2 * FLOAT * points * d + SLOT * points * d + graph),
        # x W of the two terms; backward again twice
        "products": Cost(3 * FLOAT * points * (c + 2 * d), 3 * 4.0 * points * c * d),
    }


def step_costs(batch: int, count: int, *, k: int = K) -> Iterator[tuple[str, str, Cost]]:
    """Layer, part and least work of a step of the point branch, part by part."""
    points = batch * count
    for i, channels in enumerate(WIDTHS, 1):
        for part, cost in layer_costs(points, count, k=k, channels=channels).items():
            yield f"EdgeConv {i}", part, cost
    c, d = EMBEDDING
    yield "embedding", "products", Cost(3 * FLOAT * points * (c + d), 3 * 2.0 * points * c * d)


def step_floor(card: Card, batch: int, count: int) -> float:
    """Milliseconds: the sum of the floors of all parts, which follow one another."""
    return sum(cost.floor_ms(card) for _, _, cost in step_costs(batch, count))


def part_works(batch: int, count: int, device: torch.device) -> Iterator[tuple[str, str, Callable[[], object]]]:
    """Layer, part, and what to call to run it, for the parts that have kernels."""
    generator = torch.Generator().manual_seed(0)
    for i, (c, d) in enumerate(WIDTHS, 1):
        x = torch.randn(batch, count, c, generator=generator).to(device)
        values = torch.randn(batch, count, d, generator=generator).to(device).requires_grad_()
        graph = nearest(x, K)
        gradient = torch.ones_like(values)
        yield f"EdgeConv {i}", "neighbours", partial(nearest, x, K)
        yield f"EdgeConv {i}", "edge moments", partial(edge_moments, x, graph)
        yield f"EdgeConv {i}", "maximum", partial(max_over_neighbours, values.detach(), graph)
        yield f"EdgeConv {i}", "maximum, backward", _backward(max_over_neighbours(values, graph), values, gradient)


def _backward(out: Tensor, values: Tensor, gradient: Tensor) -> Callable[[], object]:
    return lambda: torch.autograd.grad(out, values, gradient, retain_graph=True)


def within(context: Callable[[], AbstractContextManager[None]], work: Callable[[], object]) -> Callable[[], object]:
    """The work, in a context."""

    def run() -> object:
        with context():
            return work()

    return run


def table(rows: Iterable[Row]) -> list[str]:
    """Lines of the table of parts."""
    lines = ["| layer | part | PyTorch | kernels | faster | floor | floor's share |", f"|{' --- |' * 7}"]
    for row in rows:
        today, kernels, floor = (float(row[name]) for name in ("pytorch_ms", "kernels_ms", "floor_ms"))
        lines.append(
            f"| {row['layer']} | {row['part']} | {today:.3f} ms | {kernels:.3f} ms | {today / kernels:.1f} × | "
            f"{floor:.3f} ms | {share(floor, kernels):.0%} |"
        )
    return lines


def measure_parts(card: Card, batch: int, count: int, *, device: torch.device, rounds: int) -> list[Row]:
    """Every part that has a kernel, on PyTorch's path and by the kernel, in turns."""
    floors = {(layer, part): cost.floor_ms(card) for layer, part, cost in step_costs(batch, count)}
    with without_kernels():
        slow = {(layer, part): work for layer, part, work in part_works(batch, count, device)}
    rows: list[Row] = []
    for layer, part, work in part_works(batch, count, device):
        pytorch = within(without_kernels, slow[layer, part])
        measured_ms = times_ms({"p": pytorch, "k": work}, rounds, device=device)
        times = {name: statistics.median(of) for name, of in measured_ms.items()}
        measured = {"pytorch_ms": times["p"], "kernels_ms": times["k"], "floor_ms": floors[layer, part]}
        rows.append({"layer": layer, "part": part, **measured})
    return rows


def check_equal(one: nn.Module, points: Tensor) -> float:
    """Relative difference of a network's output with and without the kernels.

    Raises:
        CheckFailed: It is more than 1e-3: neighbours with distances equal to rounding are few.
    """
    with torch.no_grad():
        fast = one(points)
        with without_kernels():
            slow = one(points)
    error = float((fast - slow).norm() / slow.norm())
    if not error < 1e-3:
        raise CheckFailed(f"with the kernels the embeddings differ by {error:.1e}; report it with the card's name")
    return error


def compare_on_gpu(
    edge_form: nn.Module, step: Callable[[nn.Module, Tensor], None], *, device: str, batch: int, count: int, rounds: int
) -> tuple[list[Series], list[Row]]:
    """Print the three forms of a step and the parts, each beside its floor.

    Args:
        edge_form: The network that forms all edges; it gets an eighth of the clouds, and its time counts eight times.
        step: Runs a network forward and backward.
        device: `cuda` or `cuda:i`.
        batch: Clouds, a multiple of 8.
        count: Points of a cloud.
        rounds: How often each is measured.

    Raises:
        InputError: There is no such GPU.
        CheckFailed: The kernels are not used on it, or compute something else.
    """
    if batch % PART:
        raise InputError(f"--batch {batch}: is no multiple of {PART}, as the edge form gets 1/{PART} of the clouds")
    where = require_cuda(device)
    torch.cuda.set_device(where)
    chosen = choose_kernels(where)
    if not chosen.used:
        raise CheckFailed(f"the fused kernels are not used on {device}: {chosen.reason}")
    card = find_card(torch.cuda.get_device_name(where), lambda: copy_bandwidth(where))
    points = torch.randn(batch, count, 3, generator=torch.Generator().manual_seed(0)).to(where)
    torch.manual_seed(0)
    ours, edge_form = DGCNN(K).to(where), edge_form.to(where)
    error = check_equal(ours, points)
    few = points[: batch // PART]
    works: dict[str, Callable[[], object]] = {
        "edge form": lambda: step(edge_form, few),
        "factored, PyTorch": within(without_kernels, lambda: step(ours, points)),
        "factored, kernels": lambda: step(ours, points),
    }
    times = times_ms(works, rounds, device=where)
    times["edge form"] = [PART * one for one in times["edge form"]]
    floor = step_floor(card, batch, count)
    print(f"{card.name}, {card.bandwidth / 1e12:.2f} TB/s ({card.source}), {chosen}, embeddings differ by {error:.0e}")
    print(f"DGCNN, k = {K}, {batch} clouds of {count} points, forward and backward; floor {floor:.1f} ms")
    print(f"edge form: {PART} times the time of {len(few)} clouds")
    for name, of in times.items():
        print(f"  {name:22} {statistics.median(of):8.1f} ms")
    rows = measure_parts(card, batch, count, device=where, rounds=rounds)
    print("\n".join(table(rows)))
    reference = "factored, PyTorch"
    series = [Series(name, "ms", tuple(of), None if name == reference else reference) for name, of in times.items()]
    return series, rows
