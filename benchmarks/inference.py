"""Speed of the deployed forms: DGCNN's on the CPU against the edge form, or both encoders' on a GPU against its floor.

python benchmarks inference                   DGCNN, 1024 points, k = 20, batch 8, two threads
python benchmarks inference --device cuda     both in ONNX Runtime, PyTorch, torch.compile and a CUDA graph
"""

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from results import Series, add_json, write
from torch import Tensor
from train_step import EdgeDGCNN
from turns import clouds_of

from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.file import write_onnx
from crosspoint.export.onnx.fold import deploy
from crosspoint.models import DGCNN
from crosspoint.runtime.backends.onnx import OnnxEncoder

K = 20
REFERENCE = "edge form, ONNX Runtime"
Array = NDArray[np.float32]
Embed = Callable[[Array], Array]


def networks() -> tuple[DGCNN, EdgeDGCNN]:
    """One network in both forms, with random weights."""
    torch.manual_seed(0)
    ours, edge = DGCNN(k=K).eval(), EdgeDGCNN(K).eval()
    ours_state, edge_state = ours.state_dict(), edge.state_dict()  # of the same storage as the parameters
    for i in range(len(ours.edges)):
        edge_state[f"edges.{i}.layer.0.weight"].copy_(ours_state[f"edges.{i}.linear.weight"][:, :, None, None])
    edge_state["embed.0.weight"].copy_(ours_state["embed.linear.weight"][:, :, None])
    return ours, edge


def export_edge_form(edge: EdgeDGCNN, path: Path, batch: int, points: int) -> None:
    """What torch.onnx.export makes of the edge form, as it does of the official code."""
    example = torch.zeros(batch, points, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            edge, (example,), path, input_names=["points"], output_names=["embedding"], opset_version=17, dynamo=False
        )


def eager(network: torch.nn.Module) -> Embed:
    def embed(clouds: Array) -> Array:
        with torch.inference_mode():
            embedding: Tensor = network(torch.from_numpy(clouds))
        return embedding.numpy()

    return embed


def contenders(folder: Path, batch: int, points: int, threads: int) -> dict[str, Embed]:
    ours, edge = networks()
    export_edge_form(edge, folder / "edge.onnx", batch, points)
    write_onnx(folder / "ours.onnx", build(deploy(ours), points), provenance={"k": K})

    def onnx(file: str, operators: bool) -> Embed:
        return OnnxEncoder(folder / file, threads=threads, operators=operators).embed

    return {
        "edge form, PyTorch": eager(edge),
        "edge form, ONNX Runtime": onnx("edge.onnx", False),
        "factored, PyTorch": eager(ours),
        "factored, ONNX Runtime": onnx("ours.onnx", False),
        "factored, crosspoint operators": onnx("ours.onnx", True),
    }


def measure(runs: dict[str, Embed], clouds: Array, rounds: int) -> dict[str, tuple[list[float], list[float]]]:
    """Milliseconds a cloud of every run: of the clock, and of the CPUs together. Warm-up apart."""
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in runs}
    for embed in runs.values():
        embed(clouds)
    for _ in range(rounds):
        for name, embed in runs.items():
            clock, cpu = time.perf_counter(), time.process_time()
            embed(clouds)
            cost = time.perf_counter() - clock, time.process_time() - cpu
            for kept, seconds in zip(times[name], cost, strict=True):
                kept.append(seconds * 1e3 / len(clouds))
    return times


def check_equal(runs: dict[str, Embed], clouds: Array) -> None:
    """All of them compute the same embedding."""
    results = {name: embed(clouds) for name, embed in runs.items()}
    (first, expected), *others = results.items()
    for name, result in others:
        error = np.linalg.norm(result - expected) / np.linalg.norm(expected)
        assert error < 1e-3, f"{name} differs from {first} by {error:.1e}"


def rows_of(times: dict[str, tuple[list[float], list[float]]]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    medians = {name: [statistics.median(side) for side in sides] for name, sides in times.items()}
    eager_ms, naive_ms = (medians[name] for name in ("edge form, PyTorch", REFERENCE))
    for name, (clock, cpu) in medians.items():
        rows.append(
            {
                "form": name,
                "ms": clock,
                "ms_fastest": min(times[name][0]),
                "cpu_ms": cpu,
                "to_edge_onnx": naive_ms[0] / clock,
                "to_edge_onnx_cpu": naive_ms[1] / cpu,
                "to_edge_pytorch": eager_ms[0] / clock,
                "to_edge_pytorch_cpu": eager_ms[1] / cpu,
            }
        )
    return rows


def show(rows: list[dict[str, object]]) -> None:
    print("| form | ms a cloud | CPU ms | against edge form, ONNX Runtime | against edge form, PyTorch |")
    print("| --- | --- | --- | --- | --- |")
    for row in rows:
        print(
            f"| {row['form']} | {row['ms']:.1f} | {row['cpu_ms']:.1f} | {row['to_edge_onnx']:.2f} × "
            f"({row['to_edge_onnx_cpu']:.2f} × CPU) | {row['to_edge_pytorch']:.1f} × "
            f"({row['to_edge_pytorch_cpu']:.1f} × CPU) |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", action="append", choices=("dgcnn", "pointnet"), help="on a GPU; both if not given")
    add_json(parser)
    arguments = parser.parse_args()
    if arguments.device != "cpu":
        from on_gpu.inference import compare_on_gpu

        models = arguments.model or ["dgcnn", "pointnet"]
        with tempfile.TemporaryDirectory() as folder:
            sizes = {"points": arguments.points, "rounds": max(arguments.rounds, 100)}
            measured = compare_on_gpu(models, device=arguments.device, folder=Path(folder), **sizes)
        write("inference", arguments, *measured)
        return
    torch.set_num_threads(arguments.threads)
    clouds = clouds_of(arguments.batch, arguments.points)
    with tempfile.TemporaryDirectory() as folder:
        runs = contenders(Path(folder), arguments.batch, arguments.points, arguments.threads)
        check_equal(runs, clouds)
        times = measure(runs, clouds, arguments.rounds)
    rows = rows_of(times)
    show(rows)
    series = [
        Series(f"{name}, {what}", "ms", tuple(values), None if name == REFERENCE else f"{REFERENCE}, {what}")
        for name, sides in times.items()
        for what, values in zip(("clock", "CPU"), sides, strict=True)
    ]
    write("inference", arguments, series, rows)
