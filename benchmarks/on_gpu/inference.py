"""Inference on a GPU: ONNX Runtime, PyTorch, `torch.compile` and CUDA graphs, from numpy to numpy, beside the floor."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from results import Series
from torch import Tensor, nn
from turns import clouds_of, in_turns

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.file import write_onnx
from crosspoint.export.onnx.fold import deploy
from crosspoint.models import DGCNN, PointNet
from crosspoint.models.kernels.choice import choose_kernels
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.bench.roofline import roofline_of
from on_gpu.floors import Card, copy_bandwidth, find_card, percentiles, require_cuda, share

K = 20
BATCHES = (1, 8, 32, 256)
LARGEST_DIFFERENCE = 1e-3
Array = NDArray[np.float32]
Embed = Callable[[Array], Array]
Row = dict[str, str | float]


def make_network(model: str) -> DGCNN | PointNet:
    """The encoder in evaluation mode, with random weights.

    Raises:
        InputError: There is none of this name.
    """
    torch.manual_seed(0)
    if model not in ("dgcnn", "pointnet"):
        raise InputError(f"--model {model}: is no encoder; give dgcnn or pointnet")
    return (DGCNN(K) if model == "dgcnn" else PointNet()).eval()


def in_pytorch(network: Callable[[Tensor], Tensor], device: torch.device) -> Embed:
    """Copy to the device, run, copy back."""

    def embed(clouds: Array) -> Array:
        with torch.inference_mode():
            embedding = network(torch.from_numpy(clouds).to(device))
        result: Array = embedding.cpu().numpy()
        return result

    return embed


def as_graph(network: nn.Module, example: Array, *, device: torch.device) -> Embed:
    """The same as one CUDA graph, captured for the shape of the example."""
    with torch.inference_mode():
        points = torch.from_numpy(example).to(device)
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):  # before capture everything must have run once, on another stream
            for _ in range(3):
                network(points)
        torch.cuda.current_stream(device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            embedding: Tensor = network(points)

    def embed(clouds: Array) -> Array:
        with torch.inference_mode():
            points.copy_(torch.from_numpy(clouds))
            graph.replay()
            result: Array = embedding.cpu().numpy()
        return result

    return embed


def forms(model: str, example: Array, *, device: torch.device, folder: Path) -> dict[str, Callable[[], Embed]]:
    """What makes each form of a network, for clouds of the example's shape."""
    network = make_network(model)
    path = folder / f"{model}-{example.shape[1]}.onnx"
    if not path.exists():  # the same for each batch
        write_onnx(path, build(deploy(network), example.shape[1]), provenance={"k": K} if model == "dgcnn" else {})
    there = make_network(model).to(device)

    def onnx() -> Embed:
        return OnnxEncoder(path, "cpu" if device.type == "cpu" else str(device)).embed

    made: dict[str, Callable[[], Embed]] = {
        "ONNX Runtime": onnx,
        "PyTorch": lambda: in_pytorch(there, device),
        "torch.compile": lambda: in_pytorch(torch.compile(there, dynamic=False), device),
    }
    if device.type == "cuda":
        made["CUDA graph"] = partial(as_graph, there, example, device=device)
    return made


def check_equal(runs: dict[str, Embed], clouds: Array) -> None:
    """All forms compute the same embeddings.

    Raises:
        CheckFailed: They do not, to 1e-3.
    """
    (first, expected), *others = ((name, embed(clouds)) for name, embed in runs.items())
    for name, found in others:
        error = float(np.linalg.norm(found - expected) / np.linalg.norm(expected))
        if not error < LARGEST_DIFFERENCE:
            raise CheckFailed(f"{name} differs from {first} by {error:.1e}, more than {LARGEST_DIFFERENCE:g}")


def floor_ms(card: Card, model: str, points: int, *, dim: int, batch: int) -> float:
    """Shortest time of a call: of the operations or of the bytes, whichever is longer."""
    work = roofline_of(model, points, dim=dim, precision="fp32", batch=batch)
    assert work is not None
    arithmetic = 0.0 if card.peak is None else work.operations / card.peak
    return 1e3 * batch * max(arithmetic, work.bytes / card.bandwidth)


def measure_batch(
    model: str, clouds: Array, *, card: Card, device: torch.device, folder: Path, rounds: int, skip: Sequence[str] = ()
) -> tuple[list[Row], list[Series]]:
    """The forms of a network on one batch: rows of the table, and all times."""
    made = forms(model, clouds, device=device, folder=folder)
    runs = {name: make() for name, make in made.items() if name not in skip}
    check_equal(runs, clouds)
    batch, points, _ = clouds.shape
    dim = make_network(model).dim
    shortest = floor_ms(card, model, points, dim=dim, batch=batch)
    rows: list[Row] = []
    series = []
    calls = {name: partial(embed, clouds) for name, embed in runs.items()}
    for name, times in in_turns(calls, rounds, warm=3).items():
        p50, p90, p99 = percentiles(times)
        row: Row = {"model": model, "batch": batch, "form": name, "p50_ms": p50, "p90_ms": p90, "p99_ms": p99}
        rows.append({**row, "clouds_per_second": 1e3 * batch / p50, "floor_ms": shortest})
        series.append(Series(f"{model}, batch {batch}, {name}", "ms", tuple(times)))
    return rows, series


def table(rows: Iterable[Row]) -> list[str]:
    """Lines of the table."""
    heads = ("model", "batch", "form", "p50", "p90", "p99", "clouds/s", "floor", "floor's share")
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for row in rows:
        p50, p90, p99, floor = (float(row[name]) for name in ("p50_ms", "p90_ms", "p99_ms", "floor_ms"))
        lines.append(
            f"| {row['model']} | {row['batch']} | {row['form']} | {p50:.2f} ms | {p90:.2f} ms | {p99:.2f} ms | "
            f"{float(row['clouds_per_second']):,.0f} | {floor:.3f} ms | {share(floor, p50):.0%} |"
        )
    return lines


def compare_on_gpu(
    models: Sequence[str], *, device: str, points: int, rounds: int, folder: Path
) -> tuple[list[Series], list[Row]]:
    """Print the forms of each network at batch 1, 8, 32 and 256.

    Raises:
        InputError: There is no such GPU.
        CheckFailed: Two forms compute different embeddings.
    """
    where = require_cuda(device)
    torch.cuda.set_device(where)
    card = find_card(torch.cuda.get_device_name(where), partial(copy_bandwidth, where))
    print(f"{card.name}, {card.bandwidth / 1e12:.2f} TB/s ({card.source}), fused kernels: {choose_kernels(where)}")
    all_rows: list[Row] = []
    all_series: list[Series] = []
    for model in models:
        for batch in BATCHES:
            clouds = clouds_of(batch, points)
            rows, series = measure_batch(model, clouds, card=card, device=where, folder=folder, rounds=rounds)
            all_rows += rows
            all_series += series
            torch.compiler.reset()
    print("\n".join(table(all_rows)))
    return all_series, all_rows
