"""Finding what a folder holds for the report: a training run, a bundle, results, embeddings, data."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.arrays import Npz
from crosspoint.core.errors import InputError
from crosspoint.core.reading import read_bytes, read_json, readable, reading
from crosspoint.data.sets.datasets import ClassificationSet, PairedRenders, PartSet, load_classification, load_parts
from crosspoint.data.sets.layout import find_sets
from crosspoint.report.html import Html, join, tag
from crosspoint.runtime.jobs.embeddings import load
from crosspoint.runtime.manifest import load_manifest
from crosspoint.runtime.signing import find_key_files

KINDS = ("svm", "fewshot", "parity", "quickstart", "robustness", "partseg", "image-fewshot", "bench", "reproduce")
DAMAGE = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, OSError)
"""What is raised by files that do not have the form that our commands write."""
STORED_NAME = re.compile(r"(?:.*/)?(train|test)/(\d{6,})")


@dataclass(frozen=True)
class Result:
    """A file that a command wrote with `--json`: the schema's kind, the file's place, the content."""

    kind: str
    path: Path
    values: dict[str, Any]


@dataclass(frozen=True)
class Embeddings:
    """What `crosspoint embed` wrote: embeddings (n, D), names (n,) and the model's hash."""

    path: Path
    values: NDArray[np.float32]
    names: list[str]
    sha256: str


@dataclass
class Pieces:
    """All that was found, and a remark for each file that could not be used."""

    folder: Path
    metrics: list[dict[str, float]] = field(default_factory=list)
    run: Path | None = None
    config: dict[str, Any] = field(default_factory=dict)
    bundle: Path | None = None
    manifest: dict[str, Any] = field(default_factory=dict)
    results: list[Result] = field(default_factory=list)
    embeddings: Embeddings | None = None
    data: ClassificationSet | None = None
    data_folder: Path | None = None
    pairs: PairedRenders | None = None
    parts: PartSet | None = None
    summary: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def segments(self) -> bool:
        """Whether the run is one of a part segmenter, which embeds nothing."""
        return self.run is not None and (self.run / "segmenter.safetensors").is_file()

    def of(self, kind: str) -> list[Result]:
        """The results of one kind, e.g. `"svm"`."""
        return [result for result in self.results if result.kind == kind]

    def each(self, results: list[Result], build: Callable[[Result], Html], named: bool = True) -> Html:
        """What `build` makes of each result; with `named`, under their files' names if there are several.

        A damaged result is left out with a remark, and takes no other with it.
        """
        made = []
        for result in results:
            try:
                own = build(result)
            except DAMAGE as error:
                place = _short(self, result.path)
                self.remarks.append(f"{place} is left out: it is not as crosspoint writes it ({error!r})")
            else:
                made += [tag("h3", result.path.stem), own] if named and len(results) > 1 else [own]
        return join(made)


def read_pieces(folder: Path) -> Pieces:
    """Read what lies in a folder and its subfolders; what is damaged is left out with a remark.

    Raises:
        InputError: `folder` is not a folder that can be listed, or no key that is set covers the bundle in it.
    """
    folder = Path(folder)
    pieces = Pieces(folder)
    try:
        folders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")]
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror}); give a folder with results") from error
    _read_run(pieces, folders)
    _read_bundle(pieces, folders)
    for path in sorted(path for place in folders for path in _files(place, "*.json")):
        _read_result(pieces, path)
    _read_embeddings(pieces, folders)
    _read_data(pieces, folders)
    return pieces


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.glob(pattern) if path.is_file())


def _first(folders: list[Path], name: str) -> Path | None:
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _read_json(pieces: Pieces, path: Path) -> dict[str, Any]:
    """The object in a file; an empty one, with a remark, if there is none."""
    try:
        values = read_json(path, "a result of crosspoint")
    except InputError as error:
        _remark(pieces, path, error)
        return {}
    return values if isinstance(values, dict) else {}


def _remark(pieces: Pieces, path: Path, error: InputError) -> None:
    """Note what is wrong with a file, under its name within the folder."""
    pieces.remarks.append(str(error).replace(str(path), _short(pieces, path), 1))


def _short(pieces: Pieces, path: Path) -> str:
    return path.relative_to(pieces.folder).as_posix()


def _read_run(pieces: Pieces, folders: list[Path]) -> None:
    path = _first(folders, "metrics.jsonl")
    if path is None:
        return
    pieces.run = path.parent
    try:
        pieces.metrics = _steps(path)
    except InputError as error:
        _remark(pieces, path, error)
    if (path.parent / "config.json").is_file():
        pieces.config = _read_json(pieces, path.parent / "config.json")


def _steps(path: Path) -> list[dict[str, float]]:
    """The finite numbers of each whole line; a line that a killed run left half written is passed over."""
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
    if path is not None:
        signed = load_manifest(path.parent) if find_key_files() else None  # refused where no key that is set covers it
        pieces.bundle, pieces.manifest = path.parent, _read_json(pieces, path) if signed is None else signed.values


def _read_result(pieces: Pieces, path: Path) -> None:
    if path.name in ("manifest.json", "config.json", "taxonomy.json"):
        return
    values = _read_json(pieces, path)
    match = re.fullmatch(r"crosspoint\.([a-z-]+)/1", str(values.get("schema")))
    if match is None or match[1] not in KINDS:
        return
    if match[1] == "quickstart":
        pieces.summary = values
    else:
        pieces.results.append(Result(match[1], path, values))


def _read_embeddings(pieces: Pieces, folders: list[Path]) -> None:
    """The first archive that `crosspoint embed` wrote; archives without embeddings are something else."""
    for path in (path for folder in folders for path in _files(folder, "*.npz")):
        try:
            pieces.embeddings = _load_embeddings(path)
        except InputError as error:
            _remark(pieces, path, error)
        if pieces.embeddings is not None:
            return


def _load_embeddings(path: Path) -> Embeddings | None:
    content = read_bytes(path)
    with reading(path, "an archive of arrays"):
        if "embeddings" not in Npz(content).names:
            return None
    found = load(path)
    return Embeddings(path, found.vectors, found.names, found.model_sha256)


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


def classes_of(names: list[str], data: ClassificationSet | None) -> list[str] | None:
    """The class of each embedded cloud, or None where the names and the data do not tell.

    A name like `train/000012` is the object of that number in the data's split; other names tell by their folder.
    """
    stored = [STORED_NAME.fullmatch(name) for name in names]
    if not all(stored):
        folders = [name.rpartition("/")[0].rpartition("/")[2] for name in names]
        return folders if len(set(folders)) > 1 and not any(stored) and all(folders) else None
    if data is None:
        return None
    found = [_label(data, match[1], int(match[2])) for match in stored if match]
    return None if None in found else [data.class_names[label] for label in found if label is not None]


def _label(data: ClassificationSet, split: str, number: int) -> int | None:
    clouds = data.train if split == "train" else data.test
    return None if clouds is None or number >= len(clouds.labels) else int(clouds.labels[number])


def stored_cloud(name: str, data: ClassificationSet | None) -> NDArray[np.float32] | None:
    """The points (N, 3) of an embedded cloud of the data, or None where it is not of the data."""
    match = STORED_NAME.fullmatch(name)
    if match is None or data is None or _label(data, match[1], int(match[2])) is None:
        return None
    clouds = data.train if match[1] == "train" else data.test
    return None if clouds is None else clouds.points[int(match[2])]
