"""Reads HDF5 files of labelled clouds: `data` (n, N, 3), `label` (n,) or (n, 1), and for parts `pid` (n, N)."""

import contextlib
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.console import timed
from crosspoint.core.errors import InputError, require
from crosspoint.core.reading import ADVICE, allowance, check_announced, readable, reading, some
from crosspoint.data.points import near_origin

DEFLATE, SHUFFLE, CHECKSUM, LZF = 1, 2, 3, 32000  # HDF5's numbers of the filters that h5py writes
RATIO = 1032  # largest ratio of a deflate stream


@dataclass(frozen=True)
class SplitArrays:
    """The content of all files of one split."""

    points: npt.NDArray[np.float32]  # (n, N, 3)
    labels: npt.NDArray[np.int64]  # (n,)
    parts: npt.NDArray[np.int64] | None  # (n, N)


@contextlib.contextmanager
def open_h5(path: Path) -> Iterator[Any]:
    """Open a file for reading. Every error of the library in the block becomes one line that names the file.

    Raises:
        InputError: The file cannot be opened or is damaged.
        MissingDependency: h5py is not installed.
    """
    h5py = require("h5py", "hdf5", purpose=f"reading {path.name}")
    readable(path)
    with reading(path, "an HDF5 file"), h5py.File(path, "r") as file:
        yield file


def is_stored(file: Any, name: str) -> bool:
    """Whether an object is stored in the open file itself, not linked from another file."""
    import h5py

    return isinstance(file.get(name, getlink=True), h5py.HardLink)


def shape_problems(file: Any, with_parts: bool) -> list[str]:
    """List what is wrong with the keys, shapes and types of an open file. Its arrays are not read.

    Raises:
        InputError: An array lies in another file, needs far more memory than the file has bytes, or uses a filter that
            h5py does not bring.
    """
    import h5py

    names = ["data", "label", "pid"] if with_parts else ["data", "label"]
    missing = [name for name in names if not is_stored(file, name) or not isinstance(file[name], h5py.Dataset)]
    if missing:
        return [f"has no {' and no '.join(missing)} of its own; it holds {some(file)}"]
    for name in names:
        _check_storage(name, file[name], file.id.get_filesize())
    data, label = file["data"], file["label"]
    problems = []
    if data.ndim != 3 or data.shape[-1] != 3 or data.dtype.kind != "f" or 0 in data.shape:
        problems.append(f"data is {data.dtype} {data.shape}, not float32 (n, N, 3)")
    if label.shape not in (data.shape[:1], (*data.shape[:1], 1)) or label.dtype.kind not in "iu":
        problems.append(f"label is {label.dtype} {label.shape}, not whole numbers for {data.shape[0]} clouds")
    if with_parts and (file["pid"].shape != data.shape[:2] or file["pid"].dtype.kind not in "iu"):
        problems.append(f"pid is {file['pid'].dtype} {file['pid'].shape}, not whole numbers {data.shape[:2]}")
    return problems


def _check_storage(name: str, array: Any, size: int) -> None:
    """Raise InputError if an array is not stored in its file, uses unknown filters, or is too large for the file."""
    if array.external or array.is_virtual:
        raise InputError(f"has {name} in another file; give a file that contains it")
    check_announced(math.prod(array.shape) * array.dtype.itemsize, size)
    chunk = math.prod(array.chunks or ()) * array.dtype.itemsize
    check_announced(chunk, size)
    plist = array.id.get_create_plist()
    filters = {number: values for number, _, values, _ in map(plist.get_filter, range(plist.get_nfilters()))}
    if not filters.keys() <= {DEFLATE, SHUFFLE, CHECKSUM, LZF} or len(filters) < plist.get_nfilters():
        given = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
        raise InputError(f"has {name} compressed by the filters {given}, which cannot be read; save it with gzip")
    if LZF in filters and filters[LZF][2:3] not in ((), (chunk,)):  # the filter allocates this before any check
        raise InputError(f"has {name} in chunks whose size differs from their header; {ADVICE}")
    if DEFLATE in filters:
        _check_inflated(name, array, chunk + 4, allowance(size))  # + 4: a checksum


def _check_inflated(name: str, array: Any, most: int, allowed: int) -> None:
    """Raise InputError if a chunk inflates to more than its size and more than is allowed: HDF5 itself has no limit."""
    if array.id.get_storage_size() * RATIO <= allowed:
        return
    for place in array.iter_chunks():
        offset = tuple(part.start for part in place)
        if array.id.get_chunk_info_by_coord(offset).size * RATIO > allowed:
            _, stored = array.id.read_direct_chunk(offset)
            if len(zlib.decompressobj().decompress(stored, most + 1)) > most:
                raise InputError(f"has {name} in chunks that inflate to more than their size; {ADVICE}")


def range_problem(name: str, values: npt.NDArray[np.integer[Any]], *, count: int) -> str | None:
    """A message if values are not in 0 … count - 1, else None."""
    if values.size and (values.min() < 0 or values.max() >= count):
        return f"{name} has values from {values.min()} to {values.max()}, but 0 to {count - 1} are allowed"
    return None


def read_files(paths: Sequence[Path], points: int | None, *, classes: int, parts: int | None = None) -> SplitArrays:
    """Read files and join their content.

    Args:
        paths: At least one file.
        points: Take the first `points` points of each cloud; None: all.
        classes: Number of classes. Labels are 0 to classes - 1.
        parts: Number of parts; None: parts are not read.

    Raises:
        InputError: A file is damaged or has another format, clouds have fewer points, coordinates are not finite, or a
            label is out of range.
    """
    pieces = [_read(path, points, classes, parts) for path in paths]
    stored = {piece.points.shape[1] for piece in pieces}
    if len(stored) > 1:
        raise InputError(
            f"{paths[0].parent}: the files have {', '.join(map(str, sorted(stored)))} points per cloud; "
            f"ask for at most {min(stored)}"
        )
    return SplitArrays(
        np.concatenate([piece.points for piece in pieces]),
        np.concatenate([piece.labels for piece in pieces]),
        None if parts is None else np.concatenate([piece.parts for piece in pieces if piece.parts is not None]),
    )


def _read(path: Path, points: int | None, classes: int, parts: int | None) -> SplitArrays:
    with timed(f"read {path}"), open_h5(path) as file:
        problems = shape_problems(file, parts is not None)
        if problems:
            raise InputError(f"{problems[0]}; {ADVICE}")
        stored = file["data"].shape[1]
        if points is not None and not 1 <= points <= stored:
            raise InputError(f"holds {stored} points per cloud, but {points} were asked for; ask for 1 to {stored}")
        content = SplitArrays(
            near_origin(file["data"][:, :points]),
            file["label"][:].reshape(-1).astype(np.int64),
            None if parts is None else file["pid"][:, :points].astype(np.int64),
        )
        if not np.isfinite(content.points).all():
            raise InputError(f"has coordinates that are NaN or infinite; {ADVICE}")
        bad = range_problem("label", content.labels, count=classes)
        if content.parts is not None and parts is not None:
            bad = bad or range_problem("pid", content.parts, count=parts)
        if bad:
            raise InputError(f"{bad}; {ADVICE}")
        return content
