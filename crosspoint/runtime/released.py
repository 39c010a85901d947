"""The released models, which come with the package, by name: `dgcnn`, or `dgcnn@1` for exactly version 1.

`crosspoint/weights/registry.json` lists them with the SHA-256 of their files. Nothing is downloaded: a model that is
not installed cannot be used.
"""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from crosspoint.core.errors import InputError
from crosspoint.core.files import sha256
from crosspoint.core.reading import read_json, reading
from crosspoint.core.results import from_json

FOLDER = Path(__file__).parents[1] / "weights"
REGISTRY, SCHEMA = "registry.json", "crosspoint.weights/1"
DEFAULT = "dgcnn"  # the model of `crosspoint embed` and `search` if none is given
AGAIN = "install crosspoint3d again"


@dataclass(frozen=True)
class Release:
    """A released model.

    Attributes:
        name: Name, e.g. `"dgcnn"`.
        version: Version; it increases when the weights change.
        points: Points per cloud in its training and evaluation; it takes other numbers too.
        files: SHA-256 by file name: one `.safetensors` and one `.onnx` of the same weights.
    """

    name: str
    version: str
    points: int
    files: dict[str, str]

    def file(self, suffix: str) -> Path:
        """Path of its file with this suffix, after a comparison with the registry.

        Raises:
            InputError: It is missing, or is not the released file.
        """
        name = next(name for name in sorted(self.files) if name.endswith(suffix))
        path = FOLDER / name
        if not path.is_file() or sha256(path) != self.files[name]:
            raise InputError(f"{path} is missing or is not the released file of {self}; {AGAIN}")
        return path

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class RegistryEntry:
    """A released model as the registry lists it; attributes as of `Release`."""

    version: str
    points: int
    files: dict[str, str]


def releases() -> dict[str, Release]:
    """All released models by name.

    Raises:
        InputError: The registry is missing or damaged.
    """
    path = FOLDER / REGISTRY
    values = read_json(path, "the registry of released models", advice=AGAIN)
    with reading(path, "the registry of released models", advice=AGAIN):
        if values["schema"] != SCHEMA:
            raise InputError(f"its schema is {str(values['schema'])[:40]!r}; {AGAIN}")
        return {str(name): _release(name, from_json(RegistryEntry, entry)) for name, entry in values["models"].items()}


def _release(name: str, entry: RegistryEntry) -> Release:
    files = entry.files
    suffixes = sorted(Path(file).suffix for file in files)
    if suffixes != [".onnx", ".safetensors"] or any(Path(file).name != file or len(file) > 100 for file in files):
        raise InputError(f"the entry {name[:40]!r} does not list one .onnx and one .safetensors file; {AGAIN}")
    return Release(name, entry.version, entry.points, files)


def find_release(model: Path | str) -> Release | None:
    """The release with this name; None for a path. A file or folder of that name takes precedence.

    Raises:
        InputError: Another version of the release is installed.
    """
    if os.path.exists(model):  # False also for an invalid file name
        return None
    name, at, version = str(model).partition("@")
    release = releases().get(name)
    if release is not None and at and version != release.version:
        raise InputError(f"{model} is not installed, only {release}; install the version of crosspoint that has it")
    return release


def resolve(model: Path | str, suffix: str) -> Path:
    """The file to open for the name of a model; a path is returned as it is."""
    release = find_release(model)
    return Path(model) if release is None else release.file(suffix)


def trained(model: Path | str) -> Path:
    """The `.safetensors` of a released model if PyTorch is installed; a path is returned as it is.

    Without PyTorch the name is returned as it is too, and opens the ONNX file.
    """
    return resolve(model, ".safetensors") if find_spec("torch") is not None else Path(model)


def find_hash(digest: str) -> tuple[Release, str] | None:
    """The release whose file has this SHA-256, and the suffix of that file; else None."""
    found = ((release, name) for release in releases().values() for name in release.files)
    return next(((release, Path(name).suffix) for release, name in found if release.files[name] == digest), None)


def is_released(path: Path) -> bool:
    """Whether a file is one of the package's released files, unchanged."""
    digest = {file: digest for release in releases().values() for file, digest in release.files.items()}.get(path.name)
    return path.resolve().parent == FOLDER.resolve() and path.is_file() and sha256(path) == digest


def names() -> str:
    """The names of all releases for a sentence: `"dgcnn, pointnet"`."""
    return ", ".join(releases()) or "none in this installation"
