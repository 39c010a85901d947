"""Options that many functions share: where a model runs, and which points and seeds are drawn."""

from dataclasses import dataclass
from pathlib import Path

from crosspoint.data.io.folders import Patterns


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


@dataclass(frozen=True)
class Reading:
    """How files are found and read.

    Attributes:
        columns: Of text, the columns of x, y and z, `"x,y,z"` or `"2,3,4"`; of `.bin`, the number of columns, `"5"`.
        include: Patterns such as `*.ply`: of folders, read only files that match one of them.
        exclude: Of folders, read no files that match one of these.
        readers: Processes that read; 0 for threads of this one.
    """

    columns: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    readers: int = 0

    @property
    def patterns(self) -> Patterns:
        """Which files of folders are read."""
        return Patterns(self.include, self.exclude)
