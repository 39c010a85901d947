"""Options that many functions share: where a model runs, and which points and seeds are drawn."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunOn:
    """Where a model runs, and how it is opened.

    Attributes:
        device: `cpu`, `cuda` or `cuda:<index>`.
        backend: `pytorch`, `onnxruntime`, `onnxruntime-tensorrt` or `tensorrt`; None: chosen from the file type.
        cache: Folder in which evaluations keep features and find them again; None: no cache.
        trust: Whether a `.plan` without a manifest may be opened. It is executable code.

    Example:
        >>> RunOn("cuda", backend="tensorrt")
        RunOn(device='cuda', backend='tensorrt', cache=None, trust=False)
    """

    device: str = "cpu"
    backend: str | None = None
    cache: Path | None = None
    trust: bool = False


@dataclass(frozen=True)
class Sampling:
    """Which points and objects are drawn.

    Attributes:
        points: Points per cloud; None: the usual number of the function.
        seed: Random seed.
        seeds: Number of random point subsets that an evaluation averages over, if more points are stored than used.
    """

    points: int | None = None
    seed: int = 0
    seeds: int = 3
