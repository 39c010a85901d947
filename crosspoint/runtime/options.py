"""Options that many functions share: where a model runs, and which points and seeds are drawn."""

from dataclasses import dataclass
from pathlib import Path

from crosspoint.data.frames import Up, parse_up
from crosspoint.data.reading import Reading as Reading  # beside the other options of commands


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
    """How clouds are read: which points and objects are drawn, and which axis points up.

    Attributes:
        points: Points per cloud; None: the usual number of the function.
        seed: Random seed.
        seeds: Number of random point subsets that an evaluation averages over, if more points are stored than used.
        up: The axis that points up in the inputs, `"x"`, `"y"`, `"z"`, `"-x"`, `"-y"` or `"-z"`; they are turned to
            y-up. None for what their format or data set says, else y; of scans of objects z.
        draws: Draws of points from each cloud whose embeddings are averaged into one.

    Raises:
        InputError: `up` is no axis.

    Example:
        >>> Sampling(1024, up="z").up
        'z'
    """

    points: int | None = None
    seed: int = 0
    seeds: int = 3
    up: Up | None = None
    draws: int = 1

    def __post_init__(self) -> None:
        if self.up is not None:
            parse_up(self.up)
