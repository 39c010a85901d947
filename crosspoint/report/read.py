"""Reads what a folder holds for the report: a training run, a bundle, results, embeddings, data."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from markupsafe import Markup

from crosspoint.core.errors import CrosspointError, InputError
from crosspoint.core.reading import read_json, readable, reading
from crosspoint.core.results import Result, from_json
from crosspoint.data.sets.datasets import ClassificationSet, PairedRenders, PartSet, load_classification, load_parts
from crosspoint.data.sets.layout import find_sets
from crosspoint.report.embedded import Embedded, find_embeddings, read_embedded
from crosspoint.report.html import join, render
from crosspoint.report.records import BundleFacts, QuickstartSummary, RunConfig
from crosspoint.runtime.manifest import load_manifest
from crosspoint.runtime.signing import find_key_files

SCHEMA = re.compile(r"crosspoint\.([a-z-]+)/1")
DAMAGE = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, OSError)
"""Exceptions raised by files that do not have the expected form."""
FORM = "it is not as crosspoint writes it"
T = TypeVar("T")
R = TypeVar("R", bound=Result)


@dataclass(frozen=True)
class Stored:
    """A file written with `--json`: its path, its schema, its content."""

    path: Path
    schema: str
    values: dict[str, object]


@dataclass(frozen=True)
class Found(Generic[R]):
    """A result and the file it was read from."""

    path: Path
    values: R

    @property
    def name(self) -> str:
        """Name of the result: `svm-trained.json` is `trained`."""
        kind = SCHEMA.fullmatch(self.values.schema)
        return self.path.stem if kind is None else self.path.stem.removeprefix(f"{kind[1]}-")


@dataclass
class Pieces:
    """Everything that was found, and a remark for each file that could not be used."""

    folder: Path
    run: Path | None = None
    metrics: list[dict[str, float]] = field(default_factory=list)
    config: RunConfig = field(default_factory=RunConfig)
    bundle: Path | None = None
    manifest: BundleFacts | None = None
    results: list[Stored] = field(default_factory=list)
    embeddings: Embedded | None = None
    data: ClassificationSet | None = None
    data_folder: Path | None = None
    pairs: PairedRenders | None = None
    parts: PartSet | None = None
    remarks: list[str] = field(default_factory=list)

    @property
    def segments(self) -> bool:
        """Whether the run trained a part segmenter, which has no embeddings."""
        return self.run is not None and (self.run / "segmenter.safetensors").is_file()

    @property
    def summary(self) -> QuickstartSummary:
        """The summary of the quickstart; an empty one if there is none."""
        return next((found.values for found in self.of(QuickstartSummary)), QuickstartSummary())

    def of(self, kind: type[R]) -> list[Found[R]]:
        """The results of one kind; a result without the expected form is left out with a remark."""
        parsed: list[Found[R]] = []
        for stored in (stored for stored in self.results if stored.schema == kind.schema):
            try:
                parsed.append(Found(stored.path, kind.from_json(stored.values)))
            except InputError as error:
                self.leave_out(stored.path, str(error))
        return parsed

    def parse(self, kind: type[T], values: object, *, path: Path) -> T | None:
        """The content of a file as a dataclass; None, with a remark, if it does not have the expected form."""
        try:
            return from_json(kind, values)
        except ValueError as error:
            self.leave_out(path, f"{FORM} ({error})")
            return None

    def each(self, kind: type[R], build: Callable[[Found[R]], Markup]) -> Markup:
        """The output of `build` for each result of a kind; several results get the names of their files as titles."""
        built = []
        for found in self.of(kind):
            try:
                built.append((found.path.stem, build(found)))
            except DAMAGE as error:  # content that no command writes, such as a table without rows
                self.leave_out(found.path, f"{FORM} ({error})")
        return built[0][1] if len(built) == 1 else join(render("named", name=name, content=own) for name, own in built)

    def leave_out(self, path: Path, reason: str) -> None:
        """Add a remark, once, that a file cannot be shown, and why."""
        remark = f"{self.short(path)} is left out: {reason}"
        self.remarks += [] if remark in self.remarks else [remark]

    def short(self, path: Path) -> str:
        """Path of a file relative to the folder, or the folder's name."""
        return path.resolve().name if path == self.folder else path.relative_to(self.folder).as_posix()


def read_pieces(folder: Path) -> Pieces:
    """Read a folder and its direct subfolders; damaged files are left out with a remark.

    Raises:
        InputError: `folder` cannot be listed, or its bundle is not signed with a key that is set.
    """
    folder = Path(folder)
    pieces = Pieces(folder)
    try:
        folders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror}); give a folder with results") from error
    _read_run(pieces, folders)
    _read_bundle(pieces, folders)
    for path in sorted(path for place in folders for path in place.glob("*.json") if path.is_file()):
        _read_result(pieces, path)
    _read_embeddings(pieces, folders)
    _read_data(pieces, folders)
    return pieces


def _first(folders: list[Path], name: str) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _read_json(pieces: Pieces, path: Path) -> dict[str, object]:
    """The object in a JSON file; if it is damaged, an empty one, with a remark."""
    try:
        values = read_json(path, "a result of crosspoint")
    except InputError as error:
        _remark(pieces, path, error)
        return {}
    return values if isinstance(values, dict) else {}


def _remark(pieces: Pieces, path: Path, error: CrosspointError) -> None:
    """Add a remark about a file, under its name within the folder."""
    pieces.remarks.append(str(error).replace(str(path), pieces.short(path), 1))


def _read_run(pieces: Pieces, folders: list[Path]) -> None:
    path = _first(folders, "metrics.jsonl")
    if path is None:
        return
    pieces.run = path.parent
    try:
        pieces.metrics = _steps(path)
    except InputError as error:
        _remark(pieces, path, error)
    config = path.parent / "config.json"
    if config.is_file():
        pieces.config = pieces.parse(RunConfig, _read_json(pieces, config), path=config) or RunConfig()


def _steps(path: Path) -> list[dict[str, float]]:
    """The finite numbers of each line; an incomplete last line, left by a killed run, is skipped."""
    readable(path)
    steps = []
    with reading(path, "the metrics of a run"), path.open(encoding="utf-8") as file:
        for line in file:
            try:
                values = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(values, dict) and _is_number(values.get("step")):
                steps.append({name: float(value) for name, value in values.items() if _is_number(value)})
    return steps


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _read_bundle(pieces: Pieces, folders: list[Path]) -> None:
    path = _first(folders, "manifest.json")
    if path is None:
        return
    signed = load_manifest(path.parent) if find_key_files() else None  # raises if it is not signed with a set key
    values = _read_json(pieces, path) if signed is None else json.loads(signed.content)
    pieces.bundle = path.parent
    pieces.manifest = pieces.parse(BundleFacts, values, path=path) if values else None


def _read_result(pieces: Pieces, path: Path) -> None:
    if path.name in ("manifest.json", "config.json", "taxonomy.json"):
        return
    values = _read_json(pieces, path)
    if SCHEMA.fullmatch(schema := str(values.get("schema"))):
        pieces.results.append(Stored(path, schema, values))


def _read_embeddings(pieces: Pieces, folders: list[Path]) -> None:
    """Read the first file, or folder of parts, that holds embeddings."""
    for path in find_embeddings(folders):
        try:
            pieces.embeddings = read_embedded(path)
        except CrosspointError as error:
            _remark(pieces, path, error)
        if pieces.embeddings is not None:
            return


def _read_data(pieces: Pieces, folders: list[Path]) -> None:
    found: dict[tuple[str, Path], None] = {}
    for place in folders:
        try:
            found |= dict.fromkeys(find_sets(place))
        except InputError as error:
            pieces.remarks.append(str(error))
    for kind, folder in found:
        try:
            if kind in ("modelnet40", "scanobjectnn") and pieces.data is None:
                pieces.data, pieces.data_folder = load_classification(folder, None), folder
            elif kind == "shapenetrender" and pieces.pairs is None:
                pieces.pairs = PairedRenders(folder)
            elif kind == "shapenetpart" and pieces.parts is None:
                pieces.parts = load_parts(folder, None)
        except InputError as error:
            pieces.remarks.append(str(error))
