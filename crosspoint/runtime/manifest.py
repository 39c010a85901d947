"""Reads a bundle's manifest, and checks the bundle's files against it before they are opened."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from crosspoint.core.errors import InputError
from crosspoint.core.reading import JSON_BYTES, read_bytes, reading, regular
from crosspoint.core.results import from_json
from crosspoint.data.sets.taxonomy import Taxonomy
from crosspoint.runtime.classifier import ClassifierInfo
from crosspoint.runtime.signing import SIGNATURE, KeyFiles, SigningKey, VerifyKeys, find_verify_keys

NAME = "manifest.json"
SCHEMA = "crosspoint.manifest/1"
SCRIPT = "build_on_device.sh"
KIND, AGAIN = "a manifest of crosspoint export", "copy the bundle again, or export the model again"
REBUILD = "rebuild it here: crosspoint export MODEL --out BUNDLE --trt"
T = TypeVar("T")
Range = tuple[int, int, int]  # smallest, usual, largest


@dataclass(frozen=True)
class FileEntry:
    """The manifest's entry for a file."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class EngineInfo:
    """The manifest's entry for a TensorRT engine.

    Attributes:
        builder: `"tensorrt"` or `"tensorrt-rtx"`.
        version: Version of the builder.
        targets: Compute capabilities that it was built for, e.g. `"sm86"`.
        executed: Whether it was executed on the machine that built it.
        status: What was done with it, in words.
    """

    builder: str
    version: str
    targets: tuple[str, ...]
    executed: bool
    status: str


@dataclass(frozen=True)
class Manifest:
    """A bundle's `manifest.json`.

    Attributes:
        folder: Folder of the bundle.
        files: Entries of the files, by name.
        model: Description of the network.
        precision: Precision, as read back from the files.
        batch: Smallest, optimal and largest batch of the engine; None without a profile.
        points: Smallest, optimal and largest number of points; None if it is fixed.
        engine: The TensorRT engine; None if there is none.
        content: The bytes of `manifest.json`.
        classifier: Classes and threshold of a classifier; None for others.
        taxonomy: Categories and parts of a part segmenter; None if they are not known.
    """

    folder: Path
    files: dict[str, FileEntry]
    model: dict[str, int | str]
    precision: str
    batch: Range | None
    points: Range | None
    engine: EngineInfo | None
    content: bytes = field(repr=False)
    classifier: ClassifierInfo | None = None
    taxonomy: Taxonomy | None = None

    @property
    def rebuild(self) -> str:
        """Advice for an engine that does not load on this machine."""
        return f"rebuild it here: sh {self.folder / SCRIPT}" if SCRIPT in self.files else REBUILD

    def find(self, suffix: str) -> Path | None:
        """The bundle's first file with this suffix, or None."""
        return next((self.folder / name for name in sorted(self.files) if name.endswith(suffix)), None)

    def read(self, path: Path) -> bytes:
        """Read a file of the bundle after comparing it with the manifest.

        Raises:
            InputError: The file is not listed, is missing, or differs from the manifest.
        """
        entry = self.files.get(path.name)
        if entry is None:
            raise self._refusal(path, f"is not listed in the bundle's {NAME}")
        size = regular(path).st_size
        if size != entry.bytes:
            raise self._refusal(path, f"has {size} bytes, but the bundle's {NAME} says {entry.bytes}")
        content = read_bytes(path)
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            raise self._refusal(path, f"is not the exported file: its SHA-256 differs from the bundle's {NAME}")
        return content

    def verify(self, path: Path) -> str:
        """Compare a file of the bundle with the manifest and return its SHA-256. To open it, use `read`.

        Raises:
            InputError: The file is not listed, is missing, or differs from the manifest.
        """
        self.read(path)
        return self.files[path.name].sha256

    def _refusal(self, path: Path, trouble: str) -> InputError:
        return InputError(f"{path} {trouble}; nothing was loaded: copy the bundle again, or export the model again")


def verify_files(manifest: Manifest, names: Iterable[str] | None = None) -> dict[str, str]:
    """SHA-256 of the bundle's files (all, or those named), each compared with the manifest.

    Raises:
        InputError: A file is not listed, is missing, or differs from the manifest.
    """
    chosen = sorted(manifest.files) if names is None else names
    return {name: manifest.verify(manifest.folder / name) for name in chosen}


def load_manifest(folder: Path, verify_key: KeyFiles | None = None) -> Manifest:
    """Read `manifest.json` of a bundle that may come from elsewhere, and check its signature if a key is set.

    Args:
        folder: Folder of the bundle.
        verify_key: Public key files; one of the keys must have signed it. None: those of `CROSSPOINT_VERIFY_KEY`.

    Raises:
        InputError: It is missing, damaged, of another schema version, or names files outside the folder; or a key is
            set that did not sign it (checked before it is parsed).
        MissingDependency: A key is set, and the package `cryptography` is not installed.
    """
    return read_manifest(folder, find_verify_keys(verify_key))


def read_manifest(folder: Path, keys: VerifyKeys | None) -> Manifest:
    """Read a manifest with keys that were already read; None: no check."""
    path = Path(folder) / NAME
    content = read_bytes(path, JSON_BYTES)
    if keys is not None:
        keys.require_signature(path, content)
    with reading(path, KIND, advice=AGAIN):
        values = json.loads(content.decode("utf-8"))
    schema = values.get("schema") if isinstance(values, dict) else None
    if schema != SCHEMA:
        raise InputError(
            f"{path} has the schema {repr(schema)[:40]}, this version reads {SCHEMA!r}; export the model again"
        )
    with reading(path, KIND, advice=AGAIN):
        return _parse(folder, values, content)


def sign_bundle(folder: Path, key: SigningKey) -> None:
    """Write the signature of a finished bundle beside its manifest."""
    (folder / SIGNATURE).write_bytes(key.sign((folder / NAME).read_bytes()))


def _parse(folder: Path, values: dict[str, object], content: bytes) -> Manifest:
    profile = _typed(values["profile"] or {}, dict, "profile")
    files = _typed(values["files"], dict, "files")
    return Manifest(
        folder=Path(folder),
        files={_plain_name(name): _file_entry(name, entry) for name, entry in files.items()},
        model=from_json(dict[str, int | str], _typed(values["model"], dict, "model")),
        precision=_typed(_typed(values["precision"], dict, "precision")["read_back"], str, "precision.read_back"),
        batch=_range(profile.get("batch"), "profile.batch"),
        points=_range(profile.get("points"), "profile.points"),
        engine=None if values["engine"] is None else _engine(_typed(values["engine"], dict, "engine")),
        content=content,
        classifier=None if (about := values.get("classifier")) is None else from_json(ClassifierInfo, about),
        taxonomy=None if (about := values.get("taxonomy")) is None else from_json(Taxonomy, about),
    )


def _engine(values: dict[str, object]) -> EngineInfo:
    return EngineInfo(
        builder=_typed(values["builder"], str, "engine.builder"),
        version=_typed(values["version"], str, "engine.version"),
        targets=tuple(str(target) for target in _typed(values["targets"] or [], list, "engine.targets")),
        executed=_typed(values["executed"], bool, "engine.executed"),
        status=str(values["status"]),
    )


def _file_entry(name: str, values: dict[str, object]) -> FileEntry:
    return FileEntry(
        _typed(values["sha256"], str, f"files.{name}.sha256"), _typed(values["bytes"], int, f"files.{name}.bytes")
    )


def _plain_name(name: str) -> str:
    if Path(name).name != name or name in ("", "..") or "\\" in name or not name.isprintable():
        raise ValueError(f"it names a file outside the bundle, {name!r}")
    return name


def _range(values: object, name: str) -> Range | None:
    if values is None:
        return None
    low, usual, high = (_typed(value, int, name) for value in _typed(values, list, name))
    return low, usual, high


def _typed(value: object, kind: type[T], name: str) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{name} is {value!r}")
    return value
