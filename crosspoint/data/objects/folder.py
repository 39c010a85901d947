"""The objects of a scan as a folder: a PLY file each, and `objects.json` with their boxes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import ClassVar

import numpy as np

from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_folder, write_json, writing
from crosspoint.core.outputs import check_known, check_replaceable, is_schema
from crosspoint.core.reading import read_json
from crosspoint.core.results import Result
from crosspoint.data.frames import Frame
from crosspoint.data.objects.find import GROUND, REST, WALL, ObjectOptions, SegmentedScan, Vector, segment
from crosspoint.data.objects.scan import (
    check_found,
    check_picture,
    largest,
    left_out,
    object_names,
    read_scan,
    read_scans,
    scan_frame,
)

INDEX = "objects.json"
FILES = re.compile(r"(cloud-\d{4,}-)?object-\d{4,}\.ply|" + re.escape(INDEX))


@dataclass(frozen=True)
class ObjectFile:
    """One object: its name, file, number of points and box, in the scan's own frame.

    Attributes:
        name: Within the scan.
        file: In the folder.
        cloud: Number of its cloud, from 0, in a file of several.
        points: Points of it.
        lower: Least x, y and z.
        upper: Greatest x, y and z.
    """

    name: str
    file: str
    cloud: int
    points: int
    lower: Vector
    upper: Vector


@dataclass(frozen=True)
class ObjectsResult(Result):
    """What `write_objects` wrote, also as `objects.json` in the folder.

    Attributes:
        scan: The file that was read.
        clouds: Clouds in it: a bag holds one a message.
        points: Points in it.
        extent: In metres along x, y and z, of the largest cloud.
        options: As they were used.
        voxel: Side of the largest voxels in metres, larger than asked for if a cloud needed it.
        ground_points: Points taken for ground.
        wall_points: Points taken for walls and the ceiling.
        rest_points: Points of no object.
        too_few_points: Clusters left out because of `least_points`.
        too_large: Clusters left out because of `largest_extent`.
        objects: Those of most points first.
        left_out: What became no object, in words.
        frame: Of the scan, and of the objects, which are not turned.
    """

    schema: ClassVar[str] = "crosspoint.objects/1"
    scan: str
    clouds: int
    points: int
    extent: Vector
    options: ObjectOptions
    voxel: float
    ground_points: int
    wall_points: int
    rest_points: int
    too_few_points: int
    too_large: int
    objects: list[ObjectFile]
    left_out: str
    frame: Frame


def write_objects(
    scan: Path,
    out: Path,
    *,
    options: ObjectOptions = ObjectOptions(),
    picture: Path | None = None,
    seed: int = 0,
    columns: str | None = None,
) -> ObjectsResult:
    """Find the objects in a scan and write them to a folder, in the scan's own frame.

    Args:
        scan: A point-cloud or mesh file in metres. In a file of several clouds, each is divided.
        out: A new or empty folder, or one that this function wrote before, which is replaced.
        options: How objects are found.
        picture: A PNG of the scan from above, with the boxes; for a file of one cloud.
        seed: Of the points that are drawn from a mesh.
        columns: Columns of text and binary scans, see `read_points`.

    Raises:
        InputError: The scan or an option cannot be used, no object was found, or `out` cannot be written.
        MissingDependency: scikit-learn is not installed, or for a picture matplotlib.
    """
    scan, out = Path(scan), Path(out)
    check_replaceable(out, _check_ours, inputs=[scan])
    shown = None
    if picture is not None:
        check_picture(picture, [scan], apart=[out])
        shown = read_scan(scan, seed=seed, columns=columns)
    frame = scan_frame(scan, options.up)
    options = replace(options, up=frame.up)
    scans = read_scans(scan, seed=seed, columns=columns) if shown is None else [shown]
    scenes = [segment(points, options) for points in scans]
    check_found(scan, scenes, options=options)
    result = _describe(scan, scenes, options, frame)
    with atomic_folder(out, _check_ours) as folder:
        for entry, found in zip(result.objects, chain.from_iterable(each.objects for each in scenes), strict=True):
            _write_ply(folder / entry.file, found.points)
        write_json(folder / INDEX, result.to_json())
    if picture is not None and shown is not None:
        from crosspoint.data.objects.picture import draw_objects

        draw_objects(shown, scenes[0], up=frame.up, path=picture)
    return result


def _describe(scan: Path, scenes: Sequence[SegmentedScan], options: ObjectOptions, frame: Frame) -> ObjectsResult:
    found = [(cloud, one) for cloud, scene in enumerate(scenes) for one in scene.objects]
    return ObjectsResult(
        scan=str(scan),
        clouds=len(scenes),
        points=sum(scene.points for scene in scenes),
        extent=largest(scenes),
        options=options,
        voxel=max(scene.voxel for scene in scenes),
        ground_points=_count(scenes, GROUND),
        wall_points=_count(scenes, WALL),
        rest_points=_count(scenes, REST),
        too_few_points=sum(scene.too_few_points for scene in scenes),
        too_large=sum(scene.too_large for scene in scenes),
        objects=[
            ObjectFile(name, f"{name}.ply", cloud, len(one.points), one.lower, one.upper)
            for name, (cloud, one) in zip(object_names(scenes), found, strict=True)
        ],
        left_out=left_out(scenes, options),
        frame=frame,
    )


def _count(scenes: Sequence[SegmentedScan], label: int) -> int:
    """Points with a label."""
    return sum(int((scene.labels == label).sum()) for scene in scenes)


def _write_ply(path: Path, points: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> None:
    """Binary PLY with float64 coordinates, so that those of a map keep their millimetres."""
    from plyfile import PlyData, PlyElement

    rows = np.ascontiguousarray(points, "<f8").view([(axis, "<f8") for axis in "xyz"]).reshape(-1)  # (N,)
    with writing(path):
        PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(str(path))


def _check_ours(folder: Path) -> None:
    """Raise InputError unless a folder holds nothing but earlier objects."""
    index = folder / INDEX
    if not index.is_file() or not is_schema(read_json(index, "a list of objects"), "objects"):
        raise InputError(
            f"{folder} exists and holds no {INDEX} of crosspoint data objects; give a new folder for --out"
        )
    check_known(folder, FILES.fullmatch)
