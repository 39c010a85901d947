"""A file as one scan, and what is said of what was found in it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_file
from crosspoint.core.plots import require_plots
from crosspoint.data.frames import Frame, Up, find_frame
from crosspoint.data.io.files import is_mesh, iterate_points, up_of
from crosspoint.data.io.inflate import format_of
from crosspoint.data.io.scans.bags import split_topic
from crosspoint.data.objects.find import SCAN_UP, ObjectOptions, SegmentedScan, Vector, segment
from crosspoint.data.points import Coordinates

MESH_POINTS = 500_000  # drawn by area from a mesh of a scene


def read_scans(path: Path, *, seed: int = 0, columns: str | None = None) -> Iterator[Coordinates]:
    """The scans of a file one after the other, in their own frame: a bag holds one a message.

    Each has all points of a cloud (N, 3), or `MESH_POINTS` of a mesh.

    Args:
        path: A file of one scan or several.
        seed: Of the points that are drawn from a mesh.
        columns: Of text and binary scans, see `read_points`.

    Raises:
        InputError: The file cannot be read.
    """
    return iterate_points(path, MESH_POINTS if is_mesh(path) else None, seed=seed, columns=columns)


def scan_frame(path: Path, up: Up | None) -> Frame:
    """The frame of a scan: as given, else as its format states, else z-up, which is announced."""
    what = f"{format_of(split_topic(path)[0])} files"
    return find_frame(up, up_of(path), what=what, assumed=SCAN_UP)


def object_names(scenes: Sequence[SegmentedScan]) -> list[str]:
    """`"object-0001"` for the first object of a scan; of several scans `"cloud-0000-object-0001"`."""
    return [
        ("" if len(scenes) == 1 else f"cloud-{cloud:04d}-") + f"object-{index:04d}"
        for cloud, scene in enumerate(scenes)
        for index in range(1, len(scene.objects) + 1)
    ]


def cloud_of(name: str) -> int:
    """Number of the cloud that an object's name of `object_names` states, counted from 0."""
    stated = re.search(r"cloud-(\d+)-object-\d+$", name)
    return int(stated[1]) if stated else 0


def left_out(scenes: Sequence[SegmentedScan], options: ObjectOptions) -> str:
    """What of the scans of a file became no object, in words."""
    of = "" if len(scenes) == 1 else f" in {{}} of {len(scenes)} clouds"
    parts = []
    if options.ground and (bare := sum(not scene.has_ground for scene in scenes)):
        parts.append("no ground was found" + of.format(bare))
    if len(scenes) > 1 and (empty := sum(not scene.objects for scene in scenes)):
        parts.append("no object" + of.format(empty))
    if few := sum(scene.too_few_points for scene in scenes):
        parts.append(f"{few} clusters of fewer than {options.least_points} points left out")
    if large := sum(scene.too_large for scene in scenes):
        parts.append(f"{large} longer than {options.largest_extent:g} m left out")
    if (voxel := max(scene.voxel for scene in scenes)) > options.side:
        parts.append(f"voxels of {voxel:.3g} m instead of {options.side:.3g} m")
    return ", ".join(parts)


def largest(scenes: Sequence[SegmentedScan]) -> Vector:
    """Extent of the largest scan along each axis."""
    x, y, z = np.max([scene.extent for scene in scenes], axis=0).tolist()
    return x, y, z


def check_found(path: Path | str, scenes: Sequence[SegmentedScan], *, options: ObjectOptions) -> None:
    """Raise InputError if there is no object, with what may help."""
    if any(scene.objects for scene in scenes):
        return
    extent = " × ".join(f"{length:.3g}" for length in largest(scenes))
    details = left_out(scenes, options)
    raise InputError(
        f"{path}: no object was found in {extent} m{' (' + details + ')' if details else ''}; "
        "coordinates are taken for metres: look at --up, --cluster-distance, --least-points and --largest-extent"
    )


def read_scan(path: Path, *, seed: int = 0, columns: str | None = None) -> Coordinates:
    """The scan of a file that holds one, as of `read_scans`, for a picture.

    Raises:
        InputError: The file cannot be read, or holds several clouds.
    """
    first, *others = islice(read_scans(path, seed=seed, columns=columns), 2)
    if others:
        raise InputError(f"{path}: holds several clouds, and --picture shows one; leave --picture away")
    return first


def check_picture(picture: Path, scans: Sequence[Path], *, apart: Sequence[Path] = ()) -> None:
    """Refuse a picture before anything is read if it cannot be drawn.

    Args:
        picture: The PNG.
        scans: What the command reads.
        apart: Folders that the picture may not lie in.

    Raises:
        InputError: There is not exactly one input, it is a folder, or `picture` cannot be written.
        MissingDependency: matplotlib is not installed.
    """
    if len(scans) != 1 or Path(scans[0]).is_dir():
        raise InputError("--picture shows one scan; give one file with it")
    check_file(picture, "--picture", kind=".png", inputs=[*scans, *apart])
    require_plots()


def draw_scan(scan: Path, points: Coordinates, *, picture: Path, options: ObjectOptions) -> None:
    """Draw the points of a scan (N, 3) from above, with the boxes of the objects in it, to a PNG.

    Args:
        scan: The file that they were read from, whose format may say which axis points up.
        points: As of `read_scan`.
        picture: The PNG to write.
        options: How objects are found.
    """
    from crosspoint.data.objects.picture import draw_objects

    up = scan_frame(scan, options.up).up
    draw_objects(points, segment(points, replace(options, up=up)), up=up, path=picture)
