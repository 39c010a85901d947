"""One measurement in a process of its own, so that its peak memory is its own.

    cd benchmarks && python -m scaling.work '{"task": "embed", "model": "dgcnn", …}' dgcnn.onnx

It runs once to warm up, prints a line, waits for a line, and prints a Measured as JSON. Several processes that get
their line together run at the same time. The peak is Linux's `VmHWM`, which begins anew with each program;
`ru_maxrss` of a child begins with that of its parent.
"""

import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from turns import clouds_of, wall_ms

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
MILLISECONDS, MOST = 400, 20  # of calls after the warm-up, at least one

Task = Literal["embed", "train"]


@dataclass(frozen=True)
class Setting:
    """What is run: calls of `batch` clouds of `points` points."""

    task: Task
    model: str
    points: int = 1024
    batch: int = 1
    k: int = 20
    threads: int = 1
    processes: int = 1


@dataclass(frozen=True)
class Measured:
    """Of one process.

    Attributes:
        call_ms: Median of a call, in milliseconds.
        peak_mb: Largest resident set of the process, libraries and weights included, in 10⁶ bytes.
        work_mb: How much of it was added after the model was opened.
    """

    call_ms: float
    peak_mb: float
    work_mb: float


def resident(field: str) -> float:
    """`VmRSS` or its peak `VmHWM` of this process, in 10⁶ bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024 / 1e6


def embedding(setting: Setting, model: Path) -> Callable[[], object]:
    """A call of the runtime. PyTorch is not imported."""
    from crosspoint.runtime.backends.onnx import OnnxEncoder

    encoder = OnnxEncoder(model, threads=setting.threads)
    clouds = clouds_of(setting.batch, setting.points)
    return lambda: encoder.embed(clouds)


def training(setting: Setting) -> Callable[[], object]:
    """A forward and a backward pass of the point branch."""
    import torch

    from crosspoint.models import DGCNN, PointNet

    torch.set_num_threads(setting.threads)
    torch.manual_seed(0)
    network = DGCNN(k=setting.k) if setting.model == "dgcnn" else PointNet()
    clouds = torch.from_numpy(clouds_of(setting.batch, setting.points))

    def step() -> None:
        network.zero_grad(set_to_none=True)
        network(clouds).square().mean().backward()

    return step


def measure(call: Callable[[], object], wait: Callable[[], object]) -> Measured:
    """Warm up, wait, and measure."""
    before_all = resident("VmHWM")
    CLEAR.write_text("5")  # sets VmHWM to the present VmRSS
    opened = resident("VmRSS")
    first = wall_ms(call)
    wait()
    times = [wall_ms(call) for _ in range(max(1, min(MOST, round(MILLISECONDS / first))))]
    peak = resident("VmHWM")
    return Measured(statistics.median(times), max(before_all, peak), peak - opened)


def main() -> None:
    setting = Setting(**json.loads(sys.argv[1]))
    call = embedding(setting, Path(sys.argv[2])) if setting.task == "embed" else training(setting)

    def wait() -> None:
        print("ready", flush=True)
        sys.stdin.readline()

    print(json.dumps(asdict(measure(call, wait))))


if __name__ == "__main__":
    main()
