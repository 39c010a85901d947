"""A file as one scan, and what is said of what was found in it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_file
from crosspoint.core.plots import require_plots
from crosspoint.data.frames import Frame, Up, find_frame
from crosspoint.data.io.files import is_mesh, read_points, up_of
from crosspoint.data.io.inflate import format_of
from crosspoint.data.io.scans.bags import split_topic
from crosspoint.data.objects.find import SCAN_UP, ObjectOptions, SegmentedScan, segment

MESH_POINTS = 500_000  # drawn by area from a mesh of a scene


def read_scan(path: Path, *, seed: int = 0, columns: str | None = None) -> npt.NDArray[Any]:
    """All points of a cloud (N, 3), or `MESH_POINTS` of a mesh, in the scan's own frame.

    Args:
        path: A file of one scan.
        seed: Of the points that are drawn from a mesh.
        columns: Of text and binary scans, see `read_points`.

    Raises:
        InputError: The file cannot be read, or holds several clouds.
    """
    clouds = read_points(path, MESH_POINTS if is_mesh(path) else None, seed=seed, columns=columns)  # (n, N, 3)
    if len(clouds) != 1:
        raise InputError(f"{path}: holds {len(clouds)} clouds; give a file of one scan")
    return np.asarray(clouds[0])


def scan_frame(path: Path, up: Up | None) -> Frame:
    """The frame of a scan: as given, else as its format states, else z-up, which is announced."""
    what = f"{format_of(split_topic(path)[0])} files"
    return find_frame(up, up_of(path), what=what, assumed=SCAN_UP)


def object_name(index: int) -> str:
    """`"object-0001"` of the first."""
    return f"object-{index + 1:04d}"


def left_out(scene: SegmentedScan, options: ObjectOptions) -> str:
    """What of a scan became no object, in words."""
    parts = [] if scene.has_ground or not options.ground else ["no ground was found"]
    if scene.too_few_points:
        parts.append(f"{scene.too_few_points} clusters of fewer than {options.least_points} points left out")
    if scene.too_large:
        parts.append(f"{scene.too_large} longer than {options.largest_extent:g} m left out")
    if scene.voxel > options.side:
        parts.append(f"voxels of {scene.voxel:.3g} m instead of {options.side:.3g} m")
    return ", ".join(parts)


def check_found(path: Path | str, scene: SegmentedScan, *, options: ObjectOptions) -> None:
    """Raise InputError if there is no object, with what may help."""
    if scene.objects:
        return
    extent = " × ".join(f"{length:.3g}" for length in scene.extent)
    details = left_out(scene, options)
    raise InputError(
        f"{path}: no object was found in {extent} m{' (' + details + ')' if details else ''}; "
        "coordinates are taken for metres: look at --up, --cluster-distance, --least-points and --largest-extent"
    )


def check_picture(picture: Path, scans: Sequence[Path]) -> None:
    """Refuse a picture before the work if it cannot be drawn.

    Raises:
        InputError: There is not exactly one scan, or `picture` cannot be written.
        MissingDependency: matplotlib is not installed.
    """
    if len(scans) != 1 or Path(scans[0]).is_dir():
        raise InputError("--picture shows one scan; give one file with it")
    check_file(picture, "--picture", kind=".png", inputs=scans)
    require_plots()


def draw_scan(scan: Path, picture: Path, *, options: ObjectOptions, seed: int = 0, columns: str | None = None) -> None:
    """Draw a scan from above, with the boxes of its objects, to a PNG."""
    from crosspoint.data.objects.picture import draw_objects

    points, up = read_scan(scan, seed=seed, columns=columns), scan_frame(scan, options.up).up
    draw_objects(points, segment(points, replace(options, up=up)), up=up, path=picture)
