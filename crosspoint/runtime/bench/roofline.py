"""Least work of a model per cloud, in operations and bytes, and the measured speed of this machine."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from crosspoint.core.system.processes import available_cpus, cpu_name

DGCNN_EDGES = ((3, 64), (64, 64), (64, 128), (128, 256))
DGCNN_EMBED = (512, 1024)
POINTNET = (3, 64, 64, 64, 128, 1024)
BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}


@dataclass(frozen=True)
class Roofline:
    """The least work for one cloud.

    Attributes:
        operations: Floating-point operations of the matrix products; a multiplication and an addition count as two.
            bytes: Points, embedding and the share of the weights, each moved once.
    """

    operations: int
    bytes: int


def roofline_of(architecture: str, points: int, *, dim: int, precision: str, batch: int) -> Roofline | None:
    """The least work of an exact evaluation; None for an unknown architecture.

    An EdgeConv `(N, C)` to `(N, D)` needs two products per point, `2 · 2NCD`, and the products of all pairs of points,
    `2N²C`, of which symmetry saves half: `N²C`.
    """
    if architecture == "dgcnn":
        products = [(a, 2 * b) for a, b in DGCNN_EDGES] + [DGCNN_EMBED]
        pairs = points**2 * sum(a for a, _ in DGCNN_EDGES)
    elif architecture == "pointnet":
        products, pairs = list(itertools.pairwise(POINTNET)), 0
    else:
        return None
    weights = sum(a * b for a, b in products)
    size = BYTES.get(precision.split("+")[0], 4)
    return Roofline(2 * points * weights + pairs, 4 * (3 * points + dim) + size * weights // batch)


@dataclass(frozen=True)
class CpuSpeed:
    """Measured speed of the CPU, from one matrix product and one copy that do not fit into the cache.

    Attributes:
        gflops: Speed of a float32 matrix product, 10⁹ operations per second.
        gigabytes: Speed of a copy, 10⁹ bytes per second, counting both the read and the write.
    """

    gflops: float
    gigabytes: float

    def seconds(self, floor: Roofline) -> float:
        """Shortest time for a cloud, in seconds: that of products or memory, whichever is longer."""
        return max(floor.operations / self.gflops, floor.bytes / self.gigabytes) / 1e9


def measure_machine(threads: int, repeats: int = 15) -> CpuSpeed:
    """Measure the CPU of this machine; the fastest of `repeats` runs counts."""
    from threadpoolctl import threadpool_limits

    a, b = np.ones((4096, 512), np.float32), np.ones((512, 1024), np.float32)
    product, source = np.empty((4096, 1024), np.float32), np.ones(2**24, np.float32)
    copy = np.empty_like(source)
    with threadpool_limits(threads, user_api="blas"):
        multiply = _fastest(lambda: np.matmul(a, b, out=product), repeats)
    move = _fastest(lambda: np.copyto(copy, source), repeats)
    return CpuSpeed(2 * a.size * b.shape[1] / multiply / 1e9, 2 * source.nbytes / move / 1e9)


def _fastest(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def processor() -> str:
    """Name of the CPU and number of cores."""
    return f"{cpu_name()}, {available_cpus()} cores"
