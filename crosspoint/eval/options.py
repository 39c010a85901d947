"""Options that the protocols share: where a model runs, and which points and seeds are used."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOn:
    """Where a model runs.

    Attributes:
        device: `cpu`, `cuda` or `cuda:<index>`.
        backend: `pytorch`, `onnxruntime`, `onnxruntime-tensorrt` or `tensorrt`; None: chosen from the file type.
        cache: Folder in which features are stored and found again; None: no cache.
    """

    device: str = "cpu"
    backend: str | None = None
    cache: Path | None = None


@dataclass(frozen=True)
class Sampling:
    """Which points and objects are drawn.

    Attributes:
        points: Points per cloud; None: the usual number of the protocol.
        seed: Random seed.
        seeds: Number of random point subsets to average over, if more points are stored than used.
    """

    points: int | None = None
    seed: int = 0
    seeds: int = 3
