"""Speed and memory of a training step against the edge form, interleaved in one process.

python benchmarks train_step                  the point branch, forward and backward, at 1024 and 2048 points
python benchmarks train_step --device cuda    the same on a GPU, with PyTorch's operators and with the fused kernels,
                                              part by part beside the floor
python benchmarks train_step --whole          a whole step of the `clean` recipe, as a profile
python benchmarks train_step --whole --device cuda --set batch=128
"""

import argparse
import statistics
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from results import Series, add_json, write
from torch import Tensor, nn
from turns import in_turns, wall_ms

from crosspoint.models import DGCNN


class EdgeConvolution(nn.Module):
    """EdgeConv as it is usually written: every edge is formed, `(B, 2C, N, k)`."""

    def __init__(self, inputs: int, outputs: int, k: int) -> None:
        super().__init__()
        self.k = k
        self.layer = nn.Sequential(
            nn.Conv2d(2 * inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, count = x.shape
        squares = x.square().sum(dim=1, keepdim=True)
        distances = squares + squares.transpose(1, 2) - 2 * x.transpose(1, 2) @ x  # (B, N, N)
        neighbours = distances.topk(self.k, largest=False).indices
        rows = (neighbours + torch.arange(batch, device=x.device).view(-1, 1, 1) * count).flatten()
        points = x.transpose(1, 2).reshape(-1, channels)
        near = points[rows].view(batch, count, self.k, channels)
        own = points.view(batch, count, 1, channels).expand_as(near)
        edges = torch.cat([near - own, own], dim=3).permute(0, 3, 1, 2).contiguous()
        of_edges: Tensor = self.layer(edges)
        return of_edges.max(dim=-1)[0]


class EdgeDGCNN(nn.Module):
    """DGCNN in the edge form; the same network as `crosspoint.models.DGCNN`."""

    def __init__(self, k: int) -> None:
        super().__init__()
        widths = [(3, 64), (64, 64), (64, 128), (128, 256)]
        self.edges = nn.ModuleList(EdgeConvolution(a, b, k) for a, b in widths)
        self.embed = nn.Sequential(nn.Conv1d(512, 1024, 1, bias=False), nn.BatchNorm1d(1024), nn.LeakyReLU(0.2))

    def forward(self, points: Tensor) -> Tensor:
        x, layers = points.transpose(1, 2).contiguous(), []
        for edge in self.edges:
            x = edge(x)
            layers.append(x)
        x = self.embed(torch.cat(layers, dim=1))
        return torch.cat([x.max(dim=-1)[0], x.mean(dim=-1)], dim=1)


def step(network: nn.Module, points: Tensor) -> None:
    network.zero_grad(set_to_none=True)
    network(points).square().mean().backward()


def peak_memory(network: nn.Module, points: Tensor) -> int:
    """Largest growth of the resident set during a step, in bytes, as the kernel accounts it."""

    def status(field: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024

    network.zero_grad(set_to_none=True)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = status("VmRSS")
    step(network, points)
    return status("VmHWM") - before


def point_branch(rounds: int) -> tuple[list[Series], list[dict[str, float]]]:
    """What was measured, and the rows of the table."""
    series, rows = [], []
    for count in (1024, 2048):
        torch.manual_seed(0)
        points = torch.randn(16, count, 3)
        points = points / points.norm(dim=2, keepdim=True).amax(dim=1, keepdim=True)
        ours, edge = DGCNN(k=20), EdgeDGCNN(20)
        memory = peak_memory(ours, points), peak_memory(edge, points)
        works = {"factored": partial(step, ours, points), "edge form": partial(step, edge, points)}
        factored, edges = ([spent / 1e3 for spent in each] for each in in_turns(works, rounds, warm=0).values())
        edge_form = f"edge form, {count} points"
        series += [Series(edge_form, "s", tuple(edges))]
        series += [Series(f"factored, {count} points", "s", tuple(factored), edge_form)]
        fast, slow = statistics.median(factored), statistics.median(edges)
        rows.append(
            {
                "points": count,
                "factored_s": fast,
                "edge_s": slow,
                "speed_ratio": slow / fast,
                "factored_bytes": memory[0],
                "edge_bytes": memory[1],
                "memory_ratio": memory[1] / memory[0],
            }
        )
        print(
            f"{count:5d} points  factored {fast:6.2f} s  edge form {slow:6.2f} s  {slow / fast:5.1f} times as fast   "
            f"peak {memory[0] / 1e9:5.2f} GB against {memory[1] / 1e9:5.2f} GB, 1/{memory[1] / memory[0]:.1f}"
        )
    return series, rows


class Objects:
    """Clouds and pictures held in memory, so that the profile shows the step and not a disk."""

    def __init__(self, count: int, points: int, size: int) -> None:
        rng = np.random.default_rng(0)
        self.keys = [f"c/{i}" for i in range(count)]
        self.clouds = rng.normal(size=(count, points, 3)).astype(np.float32)
        self.pictures = rng.integers(0, 256, (count, size, size, 4), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.keys)

    def points(self, i: int) -> NDArray[np.float32]:
        cloud: NDArray[np.float32] = self.clouds[i]
        return cloud

    def views(self, i: int) -> int:
        return 1

    def image(self, i: int, view: int) -> NDArray[np.uint8]:
        picture: NDArray[np.uint8] = self.pictures[i]
        return picture

    def files(self) -> Iterator[Path]:
        return iter(())


def whole_step(overrides: list[str], device: str, rounds: int) -> list[Series]:
    from torch.profiler import ProfilerActivity, profile

    from crosspoint.train.engine.distributed import ProcessGroup
    from crosspoint.train.pretrain.pairs import StepSampler, make_loader
    from crosspoint.train.pretrain.pretrain import PretrainRun
    from crosspoint.train.pretrain.recipes import make_recipe

    recipe = make_recipe("clean", ["batch=10", *overrides])
    source = Objects(recipe.batch, recipe.points, recipe.image_size)
    run = PretrainRun(recipe, source, out=Path("profile"), device=torch.device(device), group=ProcessGroup())
    batches = iter(make_loader(source, recipe, steps=StepSampler(len(source), recipe), workers=1))
    first, *times = (wall_ms(partial(run.train_step, next(batches), 1e-3)) / 1e3 for _ in range(rounds + 1))
    on_gpu = device != "cpu"
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]) as recorded:
        run.train_step(next(batches), 1e-3)
    del batches  # ends the process that reads; left in the frame of an error it would never end
    spent = {
        event.key: event.self_device_time_total if on_gpu else event.self_cpu_time_total
        for event in recorded.key_averages()
        if event.key.startswith("aten::") or not on_gpu  # on a GPU a kernel is listed beside the operator it belongs to
    }
    median = statistics.median(times)
    print(
        f"whole step, {recipe.backbone}, {recipe.batch} pairs, {recipe.points} points, ResNet-{recipe.image_depth}, "
        f"{recipe.precision}, on {device}: {median:.4g} s, {recipe.batch / median:.4g} pairs/s; the first {first:.2f} s"
    )
    for name, time_spent in sorted(spent.items(), key=lambda item: -item[1])[:16]:
        print(f"  {time_spent / sum(spent.values()):6.1%}  {name}")
    return [Series("whole step", "s", tuple(times))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    add_json(parser)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=256, help="clouds on a GPU, a multiple of 8")
    parser.add_argument("--points", type=int, default=1024, help="of a cloud on a GPU")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.whole:
        write("train_step", arguments, whole_step(arguments.set, arguments.device, arguments.rounds))
    elif arguments.device != "cpu":
        from on_gpu.step import compare_on_gpu

        sizes = {"batch": arguments.batch, "count": arguments.points, "rounds": arguments.rounds}
        write("train_step", arguments, *compare_on_gpu(EdgeDGCNN(20), step, device=arguments.device, **sizes))
    else:
        write("train_step", arguments, *point_branch(arguments.rounds))
