"""Writes point clouds as PLY files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file
from crosspoint.core.printable import printable

COLOURS = (  # of labels, red, green and blue; they differ in hue and in lightness
    *((68, 119, 170), (238, 102, 119), (34, 136, 51), (204, 187, 68), (102, 204, 238), (170, 51, 119)),
    *((255, 153, 51), (34, 34, 85), (153, 221, 170), (136, 68, 34), (187, 153, 221), (119, 119, 119)),
)


def write_points(path: Path, points: npt.NDArray[np.floating]) -> None:
    """Write a cloud as binary little-endian PLY, atomically: an element `vertex` with float32 `x`, `y`, `z`.

    Args:
        path: Output file; missing folders are made.
        points: (N, 3) finite coordinates.

    Raises:
        InputError: `points` is not (N, 3), has no rows or is not finite, or `path` cannot be written.
    """
    from plyfile import PlyData, PlyElement

    points = _checked(path, points)
    rows = points.view([("x", "<f4"), ("y", "<f4"), ("z", "<f4")]).reshape(-1)  # (N,)
    with atomic_file(path) as temporary:
        PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(str(temporary))


def write_labelled(
    path: Path,
    points: npt.NDArray[np.floating],
    *,
    labels: npt.NDArray[np.integer],
    names: Mapping[int, str],
) -> None:
    """Write a cloud with labels, as `write_points`, with `red`, `green`, `blue` and an int32 `label` for each point.

    The comments of the file name the labels: `comment crosspoint segment 12 Chair/0`. Colours follow the order of
    `names`.

    Args:
        path: Output file; missing folders are made.
        points: (N, 3) finite coordinates.
        labels: (N,), each in `names`.
        names: Name of each label.

    Raises:
        InputError: As `write_points`.
    """
    from plyfile import PlyData, PlyElement

    points = _checked(path, points)
    kinds = [*((axis, "<f4") for axis in "xyz"), *((c, "u1") for c in ("red", "green", "blue")), ("label", "<i4")]
    rows = np.empty(len(points), kinds)
    for i, axis in enumerate("xyz"):
        rows[axis] = points[:, i]
    for i, label in enumerate(names):
        for colour, value in zip(("red", "green", "blue"), COLOURS[i % len(COLOURS)], strict=True):
            rows[colour][labels == label] = value
    rows["label"] = labels
    comments = [f"crosspoint segment {label} {printable(name)}" for label, name in names.items()]
    with atomic_file(path) as temporary:
        PlyData([PlyElement.describe(rows, "vertex")], byte_order="<", comments=comments).write(str(temporary))


def _checked(path: Path, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    points = np.ascontiguousarray(points, dtype="<f4")
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise InputError(f"{path}: points of shape {points.shape} cannot be written; give (N, 3) with N at least 1")
    if not np.isfinite(points).all():
        raise InputError(f"{path}: points that are NaN or infinite cannot be written; remove them first")
    return points
