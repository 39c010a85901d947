"""Models that come with the package, by name: `dgcnn`, or `dgcnn@1` for one version and no other.

`crosspoint/weights/registry.json` lists them with their files' SHA-256. Nothing is ever fetched: what is not installed
is not there.
"""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from crosspoint.core.errors import InputError
from crosspoint.core.files import sha256
from crosspoint.core.reading import read_json, reading

FOLDER = Path(__file__).parents[1] / "weights"
REGISTRY, SCHEMA = "registry.json", "crosspoint.weights/1"
DEFAULT = "dgcnn"  # what `crosspoint embed` and `search` use when no model is given
AGAIN = "install crosspoint3d again"


@dataclass(frozen=True)
class Release:
    """A released model.

    Attributes:
        name: E.g. `"dgcnn"`.
        version: Counts up when the weights change.
        points: Points of a cloud that it was trained and measured at; it takes other numbers too.
        files: SHA-256 by file name: one `.safetensors`, one `.onnx` of the same weights.
    """

    name: str
    version: str
    points: int
    files: dict[str, str]

    def file(self, suffix: str) -> Path:
        """Its file with this suffix, after it has been compared with the registry.

        Raises:
            InputError: It is missing or not the one that was released.
        """
        name = next(name for name in sorted(self.files) if name.endswith(suffix))
        path = FOLDER / name
        if not path.is_file() or sha256(path) != self.files[name]:
            raise InputError(f"{path} is missing or not the file that was released as {self}; {AGAIN}")
        return path

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


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
        return {str(name): _release(name, entry) for name, entry in values["models"].items()}


def _release(name: str, entry: dict[str, Any]) -> Release:
    files = {str(file): str(digest) for file, digest in entry["files"].items()}
    suffixes = sorted(Path(file).suffix for file in files)
    if suffixes != [".onnx", ".safetensors"] or any(Path(file).name != file or len(file) > 100 for file in files):
        raise InputError(f"the files of {name[:40]!r} are not one .onnx and one .safetensors beside it; {AGAIN}")
    return Release(name, str(entry["version"]), int(entry["points"]), files)


def find_release(model: Path | str) -> Release | None:
    """The release that `model` names; None of a path. A file or folder of that name comes before the release.

    Raises:
        InputError: The name is that of a release, and another version of it is installed.
    """
    if os.path.exists(model):  # also False for a name that no file can have
        return None
    name, at, version = str(model).partition("@")
    release = releases().get(name)
    if release is not None and at and version != release.version:
        raise InputError(f"{model} is not in this installation, which has {release}; install the one that has it")
    return release


def resolve(model: Path | str, suffix: str) -> Path:
    """The file to open for a model's name; a path stays as it is."""
    release = find_release(model)
    return Path(model) if release is None else release.file(suffix)


def trained(model: Path | str) -> Path:
    """The trained network of a model's name, its `.safetensors`, where PyTorch is installed; a path stays as it is.

    Without PyTorch the name stays too, and opens the ONNX file.
    """
    return resolve(model, ".safetensors") if find_spec("torch") is not None else Path(model)


def find_hash(digest: str) -> tuple[Release, str] | None:
    """The release, and the suffix of its file, that has this SHA-256."""
    found = ((release, name) for release in releases().values() for name in release.files)
    return next(((release, Path(name).suffix) for release, name in found if release.files[name] == digest), None)


def is_released(path: Path) -> bool:
    """Whether a file is the package's own, as it was released."""
    digest = {file: digest for release in releases().values() for file, digest in release.files.items()}.get(path.name)
    return path.resolve().parent == FOLDER.resolve() and path.is_file() and sha256(path) == digest


def names() -> str:
    """The names for a sentence: `"dgcnn, pointnet"`."""
    return ", ".join(releases()) or "none in this installation"
