"""Reads point-cloud files: NumPy arrays, PLY, PCD, text, and KITTI's binary format."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.arrays import Npz, read_npy
from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, read_bytes, read_start, reading, some
from crosspoint.data.io.pcd import read_pcd
from crosspoint.data.io.ply_header import HEADER_BYTES, check_counts, read_header
from crosspoint.data.io.text import read_text
from crosspoint.data.points import Points

AXES = ("x", "y", "z")


def read_clouds(path: Path) -> Points:
    """Read a point-cloud file as it is stored: no sampling, no filtering, no normalisation.

    Args:
        path: `.npy` and `.npz` hold an array (N, 3) or (n, N, 3); in an `.npz` with several arrays it is named
            `points`. `.ply` and `.pcd` hold `x`, `y`, `z` and any other fields (see `crosspoint.data.io.pcd`). `.pts`,
            `.xyz`, `.txt` and `.csv` are text (see `crosspoint.data.io.text`). `.bin` is KITTI's: float32 x, y, z,
            intensity.

    Returns:
        (n, N, 3) float32; n is 1 unless the file holds an array (n, N, 3).

    Raises:
        InputError: The file cannot be read, is damaged or cut off, has no points, has other columns, or has
            coordinates that are NaN or infinite.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: is not a point-cloud file; give {', '.join(sorted(SUFFIXES))}")
    content = read_start(path, HEADER_BYTES) if suffix == ".ply" else read_bytes(path)
    with reading(path, f"a {suffix} point cloud"):
        return _checked(_read_ply(path, content) if suffix == ".ply" else READERS[suffix](content))


def _checked(points: npt.NDArray[Any]) -> Points:
    """Convert points to (n, N, 3) float32; refuse other shapes and values that are not finite."""
    if points.dtype.kind not in "fiu":
        raise InputError(f"holds {some([points.dtype])}, not numbers; save float32 coordinates")
    if points.ndim not in (2, 3) or points.shape[-1] != 3:
        raise InputError(f"holds an array of shape {points.shape}; save (N, 3) or (n, N, 3)")
    if points.size == 0:
        raise InputError(f"has no points; {ADVICE}")
    result = points.astype(np.float32).reshape(-1, points.shape[-2], 3)  # (n, N, 3)
    bad = int((~np.isfinite(result)).any(axis=-1).sum())
    if bad:
        raise InputError(f"has {bad} points that are NaN, infinite or too large for float32; remove these points")
    return result


def _read_npz(content: bytes) -> npt.NDArray[Any]:
    archive = Npz(content)
    if "points" not in archive.names and len(archive.names) != 1:
        raise InputError(f"holds the arrays {some(archive.names)}; name one of them points")
    return archive["points" if "points" in archive.names else archive.names[0]]


def _read_ply(path: Path, start: bytes) -> npt.NDArray[Any]:
    from plyfile import PlyData

    header = read_header(start)
    check_counts(header, path.stat().st_size)
    vertex = next((element for element in header.elements if element.name == "vertex"), None)
    if vertex is None:
        raise InputError(f"has no element named vertex; {ADVICE}")
    if vertex.lists.keys() & set(AXES):
        raise InputError(f"has lists as coordinates; {ADVICE}")
    elements = PlyData.read(str(path))  # from the path: memory-mapped, about 25 times as fast as from bytes
    return _columns(elements["vertex"].data)


def _columns(rows: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    """The fields x, y, z of structured rows (N,) as (N, 3)."""
    names = rows.dtype.names or ()
    if not set(AXES) <= set(names):
        raise InputError(f"has no x, y and z, only {some(names)}; {ADVICE}")
    return np.stack([rows[axis].astype(np.float64) for axis in AXES], axis=-1)


def _read_bin(content: bytes) -> npt.NDArray[np.float32]:
    if len(content) % 16:
        raise InputError(
            f"is cut off, or not a KITTI file: {len(content)} bytes are not rows of four float32; {ADVICE}"
        )
    return np.frombuffer(content, "<f4").reshape(-1, 4)[:, :3]


READERS: dict[str, Callable[[bytes], npt.NDArray[Any]]] = {
    ".npy": read_npy,
    ".npz": _read_npz,
    ".pcd": read_pcd,
    ".pts": read_text,
    ".xyz": read_text,
    ".txt": read_text,
    ".csv": read_text,
    ".bin": _read_bin,
}
SUFFIXES = frozenset(READERS) | {".ply"}
