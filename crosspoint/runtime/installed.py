"""The released models that are installed, with what each is."""

from dataclasses import dataclass
from typing import ClassVar

from crosspoint.core.results import Result
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.released import DEFAULT, releases


@dataclass(frozen=True)
class InstalledFile:
    """A file of a released model: its SHA-256, which was compared with the registry, and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class InstalledModel:
    """A released model.

    Attributes:
        name: What a command takes, e.g. `"dgcnn"`.
        version: `NAME@VERSION` takes exactly this one.
        architecture: Of the network.
        dim: Width of the embedding.
        points: Points per cloud in its training; it takes other numbers too.
        least_points: Least number of points of a cloud.
        default: Whether `crosspoint embed` takes it if no model is given.
        files: By suffix: `.safetensors` for training and export, `.onnx` for the runtime.
    """

    name: str
    version: str
    architecture: str
    dim: int
    points: int
    least_points: int
    default: bool
    files: dict[str, InstalledFile]


@dataclass(frozen=True)
class ModelsResult(Result):
    """The released models that are installed."""

    schema: ClassVar[str] = "crosspoint.models/1"

    models: tuple[InstalledModel, ...]


def installed_models() -> ModelsResult:
    """Open each released model, and describe it.

    Raises:
        InputError: The registry or a file is missing or damaged.
    """
    found = []
    for release in releases().values():
        paths = {suffix: release.file(suffix) for suffix in (".safetensors", ".onnx")}
        with load_encoder(paths[".onnx"]) as encoder:
            known = encoder.specification
        files = {end: InstalledFile(release.files[path.name], path.stat().st_size) for end, path in paths.items()}
        about = (known.architecture, known.dim, release.points, known.min_points, release.name == DEFAULT, files)
        found.append(InstalledModel(release.name, release.version, *about))
    return ModelsResult(tuple(found))
