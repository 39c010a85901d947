"""What the protocols take in common: where a model runs, and which points and seeds it is measured with."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOn:
    """Where a model runs.

    Attributes:
        device: `cpu`, `cuda` or `cuda:<index>`.
        backend: `pytorch`, `onnxruntime`, `onnxruntime-tensorrt` or `tensorrt`; None: chosen by the type of the file.
        cache: Folder in which features are kept and found again; None for no cache.
    """

    device: str = "cpu"
    backend: str | None = None
    cache: Path | None = None


@dataclass(frozen=True)
class Sampling:
    """Which points and objects are drawn.

    Attributes:
        points: Points per cloud; None for the usual number of the protocol.
        seed: Of every random choice.
        seeds: Random choices of points to average over, where more points are stored than used.
    """

    points: int | None = None
    seed: int = 0
    seeds: int = 3
