"""The shortest time that a GPU's memory and arithmetic allow, and times on its clock."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from turns import Work, in_turns, wall_ms

from crosspoint.core.errors import InputError

CARDS = {  # part of the name that PyTorch gives: bytes/s, float32 operations/s (no tensor cores), of the data sheets
    "H200": (4.8e12, 67e12),
    "H100 NVL": (3.9e12, 60e12),
    "H100 PCIe": (2.0e12, 51e12),
    "H100 80GB HBM3": (3.35e12, 67e12),
    "A100-SXM4-80GB": (2.04e12, 19.5e12),
    "A100-SXM4-40GB": (1.56e12, 19.5e12),
    "A100 80GB PCIe": (1.94e12, 19.5e12),
    "L40S": (0.864e12, 91.6e12),
    "L4": (0.3e12, 30.3e12),
    "RTX 4090": (1.01e12, 82.6e12),
}


@dataclass(frozen=True)
class Card:
    """A GPU.

    Attributes:
        name: As PyTorch has it.
        bandwidth: Of its memory, bytes a second.
        peak: Operations a second in float32, without tensor cores; None if the card is not in the table.
        source: Where the two are from.
    """

    name: str
    bandwidth: float
    peak: float | None
    source: str


@dataclass(frozen=True)
class Cost:
    """The least that has to be done: every input read once, every output written once, and the products."""

    bytes: float
    operations: float = 0.0

    def __add__(self, other: "Cost") -> "Cost":
        """One after the other."""
        return Cost(self.bytes + other.bytes, self.operations + other.operations)

    def floor_ms(self, card: Card) -> float:
        """`max(bytes / bandwidth, operations / peak)`; of an unknown card, of the bytes alone."""
        arithmetic = 0.0 if card.peak is None else self.operations / card.peak
        return 1e3 * max(self.bytes / card.bandwidth, arithmetic)


def require_cuda(device: str) -> torch.device:
    """The device with this name.

    Raises:
        InputError: It is no GPU that PyTorch sees.
    """
    if not torch.cuda.is_available():
        raise InputError(f"--device {device}: PyTorch sees no NVIDIA GPU; leave out --device, or run it on a GPU")
    chosen = torch.device(device)
    if chosen.type != "cuda" or (chosen.index or 0) >= torch.cuda.device_count():
        raise InputError(f"--device {device}: is none of the {torch.cuda.device_count()} GPUs; give cuda or cuda:0")
    return chosen


def find_card(name: str, copy_bandwidth: Callable[[], float]) -> Card:
    """A card by its name; the bandwidth of one that is not in the table is that of a copy."""
    for part, (bandwidth, peak) in CARDS.items():
        if f" {part} " in f" {name} ":
            return Card(name, bandwidth, peak, "data sheet")
    return Card(name, copy_bandwidth(), None, "bandwidth of a copy; operations unknown")


def copy_bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, of a copy of 1 GiB."""
    source = torch.empty(1 << 28, device=device)
    target = torch.empty_like(source)
    times = times_ms({"copy": lambda: target.copy_(source)}, rounds=9, device=device)["copy"]
    return 2 * source.numel() * source.element_size() / (1e-3 * statistics.median(times))


def times_ms(works: dict[str, Work], rounds: int, *, device: torch.device) -> dict[str, list[float]]:
    """Milliseconds of each work on the device's clock, in turns, after two rounds that are not kept."""
    return in_turns(works, rounds, warm=2, clock=wall_ms if device.type == "cpu" else _gpu_ms)


def _gpu_ms(work: Work) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    begin.record()
    work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The 50th, 90th and 99th."""
    p50, p90, p99 = np.percentile(values, [50, 90, 99])
    return float(p50), float(p90), float(p99)


def share(floor: float, measured: float) -> float:
    """Of the time that is measured, the part that the floor takes."""
    return floor / measured if measured > 0 else math.nan
