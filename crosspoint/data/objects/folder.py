"""The objects of a scan as a folder: a PLY file each, and `objects.json` with their boxes."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_folder, write_json, writing
from crosspoint.core.outputs import check_file, check_known, check_replaceable, is_schema
from crosspoint.core.plots import require_plots
from crosspoint.core.reading import read_json
from crosspoint.core.results import Result
from crosspoint.data.frames import Frame
from crosspoint.data.objects.find import GROUND, REST, WALL, ObjectOptions, SegmentedScan, Vector, segment
from crosspoint.data.objects.scan import check_found, left_out, object_name, read_scan, scan_frame

INDEX = "objects.json"
FILES = re.compile(r"object-\d{4,}\.ply|" + re.escape(INDEX))


@dataclass(frozen=True)
class ObjectFile:
    """One object: its name, file, number of points and box, in the scan's own frame."""

    name: str
    file: str
    points: int
    lower: Vector
    upper: Vector


@dataclass(frozen=True)
class ObjectsResult(Result):
    """What `write_objects` wrote, also as `objects.json` in the folder.

    Attributes:
        scan: The file that was read.
        points: Points in it.
        extent: Of it, in metres along x, y and z.
        options: As they were used.
        voxel: Side of the voxels in metres, larger than asked for if the scan needed it.
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
        scan: A point-cloud or mesh file in metres.
        out: A new or empty folder, or one that this function wrote before, which is replaced.
        options: How objects are found.
        picture: A PNG of the scan from above, with the boxes.
        seed: Of the points that are drawn from a mesh.
        columns: Columns of text and binary scans, see `read_points`.

    Raises:
        InputError: The scan or an option cannot be used, no object was found, or `out` cannot be written.
        MissingDependency: scikit-learn is not installed, or for a picture matplotlib.
    """
    scan, out = Path(scan), Path(out)
    check_replaceable(out, _check_ours, inputs=[scan])
    if picture is not None:
        check_file(picture, "--picture", kind=".png", inputs=[scan, out])
        require_plots()
    frame = scan_frame(scan, options.up)
    options = replace(options, up=frame.up)
    points = read_scan(scan, seed=seed, columns=columns)
    scene = segment(points, options)
    check_found(scan, scene, options=options)
    result = _describe(scan, scene, options, frame)
    with atomic_folder(out, _check_ours) as folder:
        for entry, found in zip(result.objects, scene.objects, strict=True):
            _write_ply(folder / entry.file, found.points)
        write_json(folder / INDEX, result.to_json())
    if picture is not None:
        from crosspoint.data.objects.picture import draw_objects

        draw_objects(points, scene, up=frame.up, path=picture)
    return result


def _describe(scan: Path, scene: SegmentedScan, options: ObjectOptions, frame: Frame) -> ObjectsResult:
    names = [object_name(index) for index in range(len(scene.objects))]
    return ObjectsResult(
        scan=str(scan),
        points=scene.points,
        extent=scene.extent,
        options=options,
        voxel=scene.voxel,
        ground_points=int((scene.labels == GROUND).sum()),
        wall_points=int((scene.labels == WALL).sum()),
        rest_points=int((scene.labels == REST).sum()),
        too_few_points=scene.too_few_points,
        too_large=scene.too_large,
        objects=[
            ObjectFile(name, f"{name}.ply", len(found.points), found.lower, found.upper)
            for name, found in zip(names, scene.objects, strict=True)
        ],
        left_out=left_out(scene, options),
        frame=frame,
    )


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
