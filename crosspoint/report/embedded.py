"""Reads the embeddings in a folder, in every format that `crosspoint embed` writes."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.arrays import Npz, read_npy
from crosspoint.core.outputs import WIDEST_POINT
from crosspoint.core.reading import read_bytes, reading
from crosspoint.data.sets.datasets import ClassificationSet
from crosspoint.runtime.jobs import parts
from crosspoint.runtime.jobs.embeddings import Embeddings, load

MOST = 1000
"""Most embeddings that are kept, drawn with a fixed seed; a map cannot show more."""
STORED_NAME = re.compile(r"(?:.*/)?(train|test)/(\d{6,})")


@dataclass(frozen=True)
class Embedded:
    """Embeddings of a file or a folder of parts; at most `MOST` of them.

    Attributes:
        path: File or folder.
        total: Number of embeddings in it.
        values: `(n, D)`.
        names: Names of the n clouds; None if the file does not hold names, as a `.npy`.
        sha256: SHA-256 of the model that made them; None if the file does not hold it.
    """

    path: Path
    total: int
    values: NDArray[np.float32]
    names: list[str] | None
    sha256: str | None


def find_embeddings(folders: Iterable[Path]) -> list[Path]:
    """Files and folders that may hold embeddings; those with names first."""
    places = list(folders)
    jobs = {place for place in places if (place / parts.JOB).is_file()}
    files = [path for place in places if place not in jobs for path in sorted(place.glob("*")) if path.is_file()]
    npz, parquet, npy = ([path for path in files if path.suffix == kind] for kind in (".npz", ".parquet", ".npy"))
    return [*npz, *parquet, *sorted(jobs), *npy]


def read_embedded(path: Path) -> Embedded | None:
    """Read a path from `find_embeddings`; None if it is an array of another kind.

    Raises:
        InputError: It is damaged, or an unfinished job.
        MissingDependency: It is Parquet, and pyarrow is not installed.
    """
    if path.is_dir():
        return _collect(path, parts.load_parts(path))
    if path.suffix == ".npy":
        return _read_vectors(path)
    if path.suffix == ".npz":
        content = read_bytes(path)
        with reading(path, "an archive of arrays"):
            if "embeddings" not in Npz(content).names:
                return None
    return _collect(path, [load(path)])


def _collect(path: Path, pieces: Iterable[Embeddings]) -> Embedded:
    """Read pieces one after the other and keep a random sample of `MOST` rows, in order."""
    rng, total = np.random.default_rng(0), 0
    keys, values, names, sha256 = np.empty(0), None, np.empty(0, object), ""
    for piece in pieces:
        total, sha256 = total + len(piece.names), piece.model_sha256
        keys = np.concatenate([keys, rng.random(len(piece.names))])
        values = piece.vectors if values is None else np.concatenate([values, piece.vectors])  # (n, D)
        names = np.concatenate([names, np.array(piece.names, object)])
        kept = np.sort(np.argsort(keys)[:MOST])
        keys, values, names = keys[kept], values[kept], names[kept]
    return Embedded(path, total, np.empty((0, 0), np.float32) if values is None else values, names.tolist(), sha256)


def _read_vectors(path: Path) -> Embedded | None:
    content = read_bytes(path)
    with reading(path, "a .npy array"):
        array = read_npy(content)
        if array.ndim != 2 or array.dtype != np.float32 or array.shape[1] <= WIDEST_POINT:
            return None  # a cloud, or something else
        if not np.isfinite(array).all():
            raise ValueError("not all of its numbers are finite")
    chosen = np.sort(np.argsort(np.random.default_rng(0).random(len(array)))[:MOST])
    return Embedded(path, len(array), array[chosen], None, None)


def classes_of(names: list[str] | None, data: ClassificationSet | None) -> list[str] | None:
    """The class of each embedded cloud; None if neither the names nor the data show it.

    A name like `train/000012` is object 12 of that split of the data. Otherwise the folder in the name is the class.
    """
    stored = [STORED_NAME.fullmatch(name) for name in names or ()]
    if names is None or not all(stored):
        folders = [name.rpartition("/")[0].rpartition("/")[2] for name in names or ()]
        return folders if len(set(folders)) > 1 and not any(stored) and all(folders) else None
    if data is None:
        return None
    found = [_label(data, match[1], int(match[2])) for match in stored if match]
    return None if None in found else [data.class_names[label] for label in found if label is not None]


def stored_cloud(name: str, data: ClassificationSet | None) -> NDArray[np.float32] | None:
    """The points (N, 3) of an embedded cloud; None if it is not in the data."""
    match = STORED_NAME.fullmatch(name)
    if match is None or data is None or _label(data, match[1], int(match[2])) is None:
        return None
    clouds = data.train if match[1] == "train" else data.test
    return None if clouds is None else clouds.points[int(match[2])]


def _label(data: ClassificationSet, split: str, number: int) -> int | None:
    clouds = data.train if split == "train" else data.test
    return None if clouds is None or number >= len(clouds.labels) else int(clouds.labels[number])
