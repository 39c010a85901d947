"""Reads point-cloud files: NumPy arrays, PLY, PCD, text and binary scans."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.arrays import Npz, read_npy
from crosspoint.core.console import announce
from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, reading, some
from crosspoint.data.io.columns import AXES, as_coordinates, from_fields
from crosspoint.data.io.formats.pcd import read_pcd
from crosspoint.data.io.formats.ply import read_ply
from crosspoint.data.io.formats.text import read_text
from crosspoint.data.io.inflate import format_of, read_content
from crosspoint.data.io.scans.binary import read_binary_scan
from crosspoint.data.points import Coordinates, drop_missing

NUSCENES, NUSCENES_COLUMNS = ".pcd.bin", 5
TEXTS = frozenset({".asc", ".pts", ".xyz", ".txt", ".csv"})
SUFFIXES = TEXTS | {".npy", ".npz", ".ply", ".pcd", ".bin"}
ROWS, SHORTEST, COHERENT = 16, 128, 0.25  # see _is_organised


def read_clouds(path: Path, columns: str | None = None) -> Coordinates:
    """Read a point-cloud file as it is stored: no sampling, no normalisation.

    Points that are NaN, infinite or too large for float32 mean "no return". They are left out, and a line on standard
    error counts them.

    Args:
        path: See `iterate_clouds`.
        columns: See `iterate_clouds`.

    Returns:
        (n, N, 3); n is 1 unless the file holds several clouds. float32 if the file holds float32, else float64.

    Raises:
        InputError: The file cannot be read, is damaged or cut off, has no points left, has other columns, or has clouds
            of different sizes.
    """
    found = list(iterate_clouds(path, columns))
    with reading(path, "a point cloud"):
        return joined(found)


def joined(clouds: Sequence[Coordinates]) -> Coordinates:
    """Stack clouds (N, 3) of one size to (n, N, 3); a single cloud is not copied.

    Raises:
        InputError: The clouds have different sizes.
    """
    sizes = {len(cloud) for cloud in clouds}
    if len(sizes) > 1:
        raise InputError(f"holds clouds of {min(sizes)} to {max(sizes)} points; ask for at most {min(sizes)} of each")
    return clouds[0][None] if len(clouds) == 1 else np.stack(clouds)


def iterate_clouds(path: Path, columns: str | None = None) -> Iterator[Coordinates]:
    """Read the clouds of a file one after the other, each (N, 3).

    Args:
        path: `.npy` and `.npz` hold an array (N, 3) or (n, N, 3), or one of records with x, y and z; an `.npz` with
            several arrays names it `points`. `.ply` and `.pcd` hold `x`, `y`, `z` and any other fields. `.asc`, `.pts`,
            `.xyz`, `.txt` and `.csv` are text (see `crosspoint.data.io.formats.text`). `.bin` is rows of float32 (see
            `crosspoint.data.io.scans.binary`). Text, PLY and PCD may be compressed: `.gz`.
        columns: Text: names or numbers of the columns, `"x,y,z"`. `.bin`: number of columns, `"5"`.

    Raises:
        InputError: As `read_clouds`.
    """
    path = Path(path)
    suffix = format_of(path)
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: is not a point-cloud file; give {', '.join(sorted(SUFFIXES))}")
    content = read_content(path)
    with reading(path, f"a {suffix} point cloud"):
        clouds = _split(_parse(path, suffix, content, columns), path)
    return without_missing(path, clouds)


def without_missing(path: Path, clouds: Iterator[Coordinates]) -> Iterator[Coordinates]:
    """Drop the points that are no measurements; a line on standard error counts them.

    Raises:
        InputError: A cloud has no points left.
    """
    count = missing = 0
    while True:
        with reading(path, "a point cloud"):
            cloud = next(clouds, None)
            if cloud is None:
                break
            kept = drop_missing(cloud)
            if len(kept) == 0:
                what = f"only points that are NaN, infinite or too large: {len(cloud)}" if len(cloud) else "no points"
                raise InputError(f"has {what}; {ADVICE}")
        count, missing = count + len(cloud), missing + len(cloud) - len(kept)
        yield kept
    if missing:
        announce(f"{path}: {missing:,} of {count:,} points are NaN, infinite or too large, and are left out")


def _parse(path: Path, suffix: str, content: bytes, columns: str | None) -> npt.NDArray[Any]:
    """Parse a file to an array of any type and shape."""
    if suffix in TEXTS:
        return read_text(content, columns)
    if suffix == ".bin":
        known = NUSCENES_COLUMNS if columns is None and path.name.lower().endswith(NUSCENES) else number(columns)
        return read_binary_scan(content, known)
    if suffix == ".pcd":
        return read_pcd(content)
    if suffix == ".ply":
        return read_ply(content)[0]
    return read_npy(content) if suffix == ".npy" else _read_npz(content)


def number(columns: str | None) -> int | None:
    """Parse `--columns` of a binary scan.

    Raises:
        InputError: It is not a number.
    """
    if columns is None:
        return None
    if not (columns.isascii() and columns.isdecimal() and len(columns) < 6):
        raise InputError(f"is binary, --columns {columns} names columns; give their number, e.g. --columns 4")
    return int(columns)


def _split(array: npt.NDArray[Any], path: Path) -> Iterator[Coordinates]:
    """Split an array into clouds (N, 3)."""
    if array.dtype.names:
        return iter([from_fields(array.reshape(-1))])
    if array.dtype.kind not in "fiu":
        raise InputError(f"holds {some([array.dtype])}, not numbers; save float32 coordinates")
    if array.ndim not in (2, 3) or array.shape[-1] != 3:
        raise InputError(f"holds an array of shape {array.shape}; save (N, 3) or (n, N, 3)")
    if array.size == 0:
        raise InputError(f"has no points; {ADVICE}")
    points = as_coordinates(array)
    if points.ndim == 3 and _is_organised(points):
        rows, columns = points.shape[:2]
        announce(f"{path}: {rows} x {columns} points are read as one organised scan, not as {rows} clouds")
        return iter([points.reshape(-1, 3)])
    return iter(points.reshape(-1, points.shape[-2], 3))


def _is_organised(points: Coordinates) -> bool:
    """Whether an array (H, W, 3) is one scan in the order of the sensor, not H clouds of W points.

    In a scan, a point is near its neighbours in the row and in the column, and some points are missing. Without such
    a sign, many rows of few points are a scan, because clouds for an encoder have more points.
    """
    rows, columns = points.shape[:2]
    if min(rows, columns) < 2:
        return False
    there = np.isfinite(points).all(axis=-1)  # (H, W)
    if not there.all():
        return bool(there.any())
    spread = float(np.median(np.abs(points.astype(np.float64) - np.median(points, axis=(0, 1))).sum(axis=-1)))
    down, along = (np.median(np.abs(np.diff(points, axis=axis)).sum(axis=-1)) for axis in (0, 1))
    return bool(max(down, along) < COHERENT * spread) or (rows >= ROWS and columns < SHORTEST)


def _read_npz(content: bytes) -> npt.NDArray[Any]:
    archive = Npz(content)
    if set(AXES) <= set(archive.names):
        axes = [archive[axis].reshape(-1) for axis in AXES]
        return np.stack(axes, axis=-1)
    if "points" not in archive.names and len(archive.names) != 1:
        raise InputError(f"holds the arrays {some(archive.names)}; name one of them points")
    return archive["points" if "points" in archive.names else archive.names[0]]
