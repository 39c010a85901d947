"""Writes files of embeddings atomically, and reads them back with a check of every byte.

Each file holds a checksum: the SHA-256 of its own bytes, with zeros in place of the checksum. It lies in the comment
at the end of an `.npz` and in the metadata of a `.parquet`. Other readers ignore it; here a changed byte is an error.
"""

import hashlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.arrays import Npz, write_npz
from crosspoint.core.errors import InputError, require
from crosspoint.core.files import atomic_file
from crosspoint.core.reading import read_bytes, reading
from crosspoint.core.results import FLAT, OPTIONAL, from_json, to_json
from crosspoint.data.frames import Frame
from crosspoint.data.objects.clouds import Boxes
from crosspoint.data.objects.find import ObjectOptions
from crosspoint.runtime.inputs import FloatArray
from crosspoint.runtime.jobs.batches import Skipped

PARQUET = "writing and reading Parquet"
KEY = b"crosspoint"  # in the metadata of a Parquet file
CHECKSUM = b"crosspoint-sha256:"  # followed by 64 digits
ZEROS = b"0" * 64


@dataclass(frozen=True)
class FileAbout:
    """How the embeddings of a file were made.

    Attributes:
        model: Name or path of the model, as given.
        points: Points per cloud; None: all.
        at_most: Whether clouds with fewer points were taken as they are.
        seed: Random seed of the points that were drawn.
        base: Folder that the names are relative to.
        draws: Draws of points from each cloud, whose embeddings were averaged.
        frame: In which the inputs are stored; None of an earlier version, which turned nothing and did not say.
        objects: How objects were found in scans; None: each input was one object.
        columns: Columns of text and binary inputs that the user named, `"x,y,z"`.
    """

    model: str
    points: int | None
    at_most: bool
    seed: int
    base: str
    draws: int = 1
    frame: Frame | None = field(default=None, metadata=OPTIONAL)
    objects: ObjectOptions | None = field(default=None, metadata=OPTIONAL)
    columns: str | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class PartOfJob:
    """Which part a file is, of which job; attributes as of `crosspoint.runtime.jobs.parts.Plan`."""

    part: int
    points: int | None
    at_most: bool
    seed: int
    sources_sha256: str
    content_sha256: str
    size: int
    draws: int
    frame: Frame | None = field(default=None, metadata=OPTIONAL)
    objects: ObjectOptions | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class PartAbout:
    """How the embeddings of a part were made.

    Attributes:
        job: Number of the part, and its job.
        contents: SHA-256 of each source when it was read.
        skipped: The sources that were left out.
    """

    job: PartOfJob = field(metadata=FLAT)
    contents: tuple[str, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class Embeddings:
    """Embeddings and how they were made.

    Attributes:
        vectors: `(n, D)` float32.
        names: Names of the n clouds.
        model_sha256: SHA-256 of the model file.
        about: How they were made.
        boxes: Boxes and numbers of points of the n clouds, if they are objects of scans.
    """

    vectors: FloatArray
    names: list[str]
    model_sha256: str
    about: FileAbout | PartAbout
    boxes: Boxes | None = None


@dataclass(frozen=True)
class ParquetAbout:
    """The metadata of a Parquet file, which has no other place for the model."""

    model_sha256: str
    about: FileAbout | PartAbout = field(metadata=FLAT)


def save(path: Path, embeddings: Embeddings) -> None:
    """Write `.npz`, `.parquet`, or `.npy` (vectors only), atomically. The same embeddings give the same bytes.

    Raises:
        InputError: The file cannot be written.
        MissingDependency: pyarrow is not installed.
    """
    with atomic_file(path) as temporary:
        write(temporary, embeddings)


def write(path: Path, embeddings: Embeddings) -> None:
    """Like `save`, for a file that is already temporary."""
    if path.suffix == ".npy":
        np.save(path, embeddings.vectors)
        return
    if path.suffix == ".npz":
        _write_npz(path, embeddings)
    else:
        _write_parquet(path, embeddings)
    _add_checksum(path)


def _write_npz(path: Path, embeddings: Embeddings) -> None:
    arrays = {
        "embeddings": embeddings.vectors,
        "names": np.array(embeddings.names, dtype=np.str_),
        "model_sha256": np.array(embeddings.model_sha256),
        "about": np.array(json.dumps(to_json(embeddings.about), sort_keys=True)),
    }
    if embeddings.boxes is not None:
        arrays |= {"boxes": embeddings.boxes.corners, "points": embeddings.boxes.counts}
    write_npz(path, arrays, comment=CHECKSUM + ZEROS)


def _write_parquet(path: Path, embeddings: Embeddings) -> None:
    """Write the columns `name` (string) and `embedding` (fixed-size list of D float32).

    Objects of scans also have `box` (list of 6 float64: lowest x, y, z, highest x, y, z) and `points` (int64).
    """
    arrow, parquet = (
        require("pyarrow", "parquet", purpose=PARQUET),
        require("pyarrow.parquet", "parquet", purpose=PARQUET),
    )
    values = arrow.array(embeddings.vectors.reshape(-1))
    vectors = arrow.FixedSizeListArray.from_arrays(values, embeddings.vectors.shape[1])
    about = to_json(ParquetAbout(embeddings.model_sha256, embeddings.about))
    columns = {"name": arrow.array(embeddings.names, arrow.string()), "embedding": vectors}
    if (boxes := embeddings.boxes) is not None:
        columns["box"] = arrow.FixedSizeListArray.from_arrays(arrow.array(boxes.corners.reshape(-1)), 6)
        columns["points"] = arrow.array(boxes.counts)
    table = arrow.table(columns)
    table = table.replace_schema_metadata(
        {KEY: json.dumps(about, sort_keys=True), KEY + b".checksum": CHECKSUM + ZEROS}
    )
    parquet.write_table(table, path, compression="none", use_dictionary=False)  # embeddings do not compress


def _add_checksum(path: Path) -> None:
    content = path.read_bytes()
    at = content.rindex(CHECKSUM + ZEROS) + len(CHECKSUM)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(hashlib.sha256(content).hexdigest().encode())


def _verify(content: bytes) -> None:
    """Raise ValueError if the checksum does not fit the bytes."""
    at = content.rfind(CHECKSUM) + len(CHECKSUM)
    if at < len(CHECKSUM):
        raise ValueError("it has no checksum: cut off, of another origin, or from an earlier version")
    whole = memoryview(content)
    digest = hashlib.sha256(whole[:at])
    digest.update(ZEROS)
    digest.update(whole[at + len(ZEROS) :])
    if content[at : at + len(ZEROS)] != digest.hexdigest().encode():
        raise ValueError("its bytes have changed since it was written")


def load(path: Path, advice: str = "embed again") -> Embeddings:
    """Read an `.npz` or `.parquet` file that `save` wrote.

    Args:
        path: The file.
        advice: What to do about a damaged one.

    Raises:
        InputError: It is missing, damaged or another kind of file.
        MissingDependency: pyarrow is not installed.
    """
    path = Path(path)
    if path.suffix not in (".npz", ".parquet"):
        raise InputError(f"{path} does not name its model; give embeddings as .npz, .parquet or a folder of parts")
    if path.suffix == ".parquet":
        require("pyarrow.parquet", "parquet", purpose=PARQUET)
    if not path.exists():
        raise InputError(f"{path} does not exist; give the output of crosspoint embed")
    content = read_bytes(path)
    with reading(path, "a file of embeddings", advice=advice):
        _verify(content)
        result = _parse_npz(content) if path.suffix == ".npz" else _parse_parquet(content)
        if result.vectors.ndim != 2 or len(result.names) != len(result.vectors):
            raise ValueError(f"it has {len(result.names)} names for vectors of shape {result.vectors.shape}")
        if result.boxes is not None and not (
            result.boxes.corners.shape == (len(result.names), 2, 3)
            and result.boxes.counts.shape == (len(result.names),)
        ):
            raise ValueError(f"its boxes do not fit its {len(result.names)} names")
        if not np.isfinite(result.vectors).all():
            raise ValueError("some of its numbers are not finite")
    return result


def _parse_npz(content: bytes) -> Embeddings:
    file = Npz(content)
    vectors, names = np.asarray(file["embeddings"], np.float32), _text(file["names"])
    about = json.loads(str(_text(file["about"])))
    boxes = None
    if "boxes" in file.names:
        boxes = Boxes(np.asarray(file["boxes"], np.float64), np.asarray(file["points"], np.int64))
    return Embeddings(vectors, names.tolist(), str(_text(file["model_sha256"])), from_json(_kind(about), about), boxes)


def _kind(about: object) -> type[FileAbout] | type[PartAbout]:
    """What a file says of itself is about: a part is numbered."""
    return PartAbout if isinstance(about, dict) and "part" in about else FileAbout


def _text(array: NDArray[Any]) -> NDArray[np.str_]:
    """An array as text; NumPy accepts character numbers that are not Unicode, Python does not."""
    text = np.array(array, np.str_, order="C")
    text = text.astype(text.dtype.newbyteorder("="))
    if text.dtype.itemsize and text.reshape(-1).view(np.uint32).max(initial=0) > sys.maxunicode:
        raise ValueError("it holds text that is not Unicode")
    return text


def _parse_parquet(content: bytes) -> Embeddings:
    import pyarrow
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(pyarrow.BufferReader(content)) as file:
        table = file.read()
    about = json.loads(table.schema.metadata[KEY])
    column = table["embedding"].combine_chunks()
    vectors = column.flatten().to_numpy().reshape(-1, column.type.list_size)
    names = [str(name) for name in table["name"].to_pylist()]
    boxes = None
    if "box" in table.column_names:
        corners = table["box"].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(-1, 2, 3)
        boxes = Boxes(np.asarray(corners, np.float64), np.asarray(table["points"].to_numpy(), np.int64))
    return Embeddings(
        np.asarray(vectors, np.float32), names, str(about["model_sha256"]), from_json(_kind(about), about), boxes
    )
