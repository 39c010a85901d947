"""Writes point clouds as PLY files."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file


def write_points(path: Path, points: npt.NDArray[np.floating]) -> None:
    """Write a cloud as binary little-endian PLY, atomically: an element `vertex` with float32 `x`, `y`, `z`.

    Args:
        path: Output file; missing folders are made.
        points: (N, 3) finite coordinates.

    Raises:
        InputError: `points` is not (N, 3), has no rows or is not finite, or `path` cannot be written.
    """
    from plyfile import PlyData, PlyElement

    points = np.ascontiguousarray(points, dtype="<f4")
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise InputError(f"{path}: points of shape {points.shape} cannot be written; give (N, 3) with N at least 1")
    if not np.isfinite(points).all():
        raise InputError(f"{path}: points that are NaN or infinite cannot be written; remove them first")
    rows = points.view([("x", "<f4"), ("y", "<f4"), ("z", "<f4")]).reshape(-1)  # (N,)
    with atomic_file(path) as temporary:
        PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(str(temporary))
