"""Point-cloud files: arrays, PLY, PCD, text and KITTI's binary."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.reading import ADVICE, read_bytes, reading
from crosspoint.data.points import Points
from crosspoint.data.text import read_text
from crosspoint.errors import InputError

AXES = ("x", "y", "z")


def read_clouds(path: Path) -> Points:
    """Read a point-cloud file as it is stored: nothing is chosen, dropped or normalised.

    Args:
        path: `.npy` and `.npz` hold an array (N, 3) or (n, N, 3), an `.npz` with several arrays names it `points`.
            `.ply` and `.pcd` hold `x`, `y`, `z` and whatever else. `.pts`, `.xyz`, `.txt` and `.csv` are text (see
            `crosspoint.data.text`). `.bin` is KITTI's: float32 x, y, z, intensity.

    Returns:
        (n, N, 3) float32; n is 1 unless the file holds (n, N, 3).

    Raises:
        InputError: The file cannot be read, is damaged or cut off, has no points, other columns than it should, or
            coordinates that are NaN or infinite.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: is not a point-cloud file; give {', '.join(sorted(SUFFIXES))}")
    content = read_bytes(path)
    with reading(path, f"a {suffix} point cloud"):
        return _checked(_read_ply(path) if suffix == ".ply" else READERS[suffix](content))


def _checked(points: npt.NDArray[Any]) -> Points:
    """Points as (n, N, 3) float32, if they are that and finite."""
    if points.dtype.kind not in "fiu":
        raise InputError(f"holds {points.dtype}, not numbers; save float32 coordinates")
    if points.ndim not in (2, 3) or points.shape[-1] != 3:
        raise InputError(f"holds an array of shape {points.shape}; save (N, 3) or (n, N, 3)")
    if points.size == 0:
        raise InputError(f"has no points; {ADVICE}")
    result = points.astype(np.float32).reshape(-1, points.shape[-2], 3)  # (n, N, 3)
    bad = int((~np.isfinite(result)).any(axis=-1).sum())
    if bad:
        raise InputError(f"has {bad} points that are NaN, infinite or too large for float32; remove these points")
    return result


def _read_npy(content: bytes) -> npt.NDArray[Any]:
    if not content.startswith(b"\x93NUMPY"):
        raise InputError(f"is not a .npy array; {ADVICE}")
    array: npt.NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return array


def _read_npz(content: bytes) -> npt.NDArray[Any]:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        names = archive.files
        if "points" not in names and len(names) != 1:
            raise InputError(f"holds the arrays {', '.join(names) or 'none'}; name one of them points")
        array: npt.NDArray[Any] = archive["points" if "points" in names else names[0]]
        return array


def _read_ply(path: Path) -> npt.NDArray[Any]:
    from plyfile import PlyData

    elements = PlyData.read(str(path))  # from the file itself, which it maps: some 25 times as fast as from bytes
    if "vertex" not in elements:
        raise InputError(f"has no element named vertex; {ADVICE}")
    return _columns(elements["vertex"].data)


def _read_pcd(content: bytes) -> npt.NDArray[Any]:
    from pypcd4.pypcd4 import PointCloud

    cloud = PointCloud.from_fileobj(io.BytesIO(content))  # type: ignore[arg-type]
    rows = np.atleast_1d(cloud.pc_data)  # (N,)
    if len(rows) != cloud.metadata.points:
        raise InputError(f"is cut off: {len(rows)} of {cloud.metadata.points} points; {ADVICE}")
    return _columns(rows)


def _columns(rows: npt.NDArray[np.void]) -> npt.NDArray[np.float64]:
    """The fields x, y, z of structured rows (N,) as (N, 3)."""
    names = rows.dtype.names or ()
    if not set(AXES) <= set(names):
        raise InputError(f"has no x, y and z, only {', '.join(names)}; {ADVICE}")
    return np.stack([rows[axis].astype(np.float64) for axis in AXES], axis=-1)


def _read_bin(content: bytes) -> npt.NDArray[np.float32]:
    if len(content) % 16:
        raise InputError(f"is cut off, or not KITTI's: {len(content)} bytes are not rows of four float32; {ADVICE}")
    return np.frombuffer(content, "<f4").reshape(-1, 4)[:, :3]


READERS: dict[str, Callable[[bytes], npt.NDArray[Any]]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".pcd": _read_pcd,
    ".pts": read_text,
    ".xyz": read_text,
    ".txt": read_text,
    ".csv": read_text,
    ".bin": _read_bin,
}
SUFFIXES = frozenset(READERS) | {".ply"}
