"""Makes single views of mesh files: what a depth camera or a LiDAR sees of each, with pictures and labels."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from crosspoint.core.console import track
from crosspoint.core.errors import InputError, require
from crosspoint.core.files import atomic_file, write_json
from crosspoint.core.outputs import check_content, check_folder
from crosspoint.core.reading import reason_without, regular
from crosspoint.core.results import FLAT, Result
from crosspoint.core.system.pool import spread
from crosspoint.core.system.processes import available_cpus
from crosspoint.data.frames import Up, parse_up, to_y_up
from crosspoint.data.io.folders import ALL, Patterns
from crosspoint.data.rendering.labelled import FOLDER, check_labelled, write_labelled
from crosspoint.data.rendering.raycast import Solid, camera, picture, solid
from crosspoint.data.rendering.render import ATTEMPTS, ELEVATIONS
from crosspoint.data.rendering.sensor import DISTANCES, Scan, Sensor, check_sensor, scan_mesh
from crosspoint.data.rendering.tasks import (
    SkippedMesh,
    Task,
    check_name,
    check_places,
    claim,
    find_tasks,
    remove_partial_outputs,
    write_pictures,
)

SETTINGS_FILE = "scan.json"
SCHEMA = "crosspoint.scan-settings/1"
POSE_SCHEMA = "crosspoint.scan-pose/1"
ROUNDED = 1e-6  # radii; points that float32 would move by more are stored in float64


@dataclass(frozen=True)
class ScanSettings:
    """The settings that decide the content of an output folder; a folder holds one combination.

    Attributes:
        views: Scans per mesh.
        points: Points per scan.
        pattern: `camera` or `lidar`.
        distance: Distance of the sensor from the object's centre, in radii of the object. None: 3 for a camera, 8 for a
            LiDAR.
        noise: c in the standard deviation of depth, c z², in radii; see `scan_mesh`.
        size: Width and height of the pictures, in pixels.
        seed: Random seed of viewpoints, rays and noise.
        up: The axis that points up in the meshes, which are turned to y-up first. None: y, which is announced where
            the format does not say.
    """

    views: int = 4
    points: int = 2048
    pattern: str = "camera"
    distance: float | None = None
    noise: float = 0.0
    size: int = 224
    seed: int = 0
    up: Up | None = None


@dataclass(frozen=True)
class ScanResult(Result):
    """What `scan` did.

    Attributes:
        settings: As asked for, with the distance and the axis that were used.
        out: The folder.
        objects: Meshes found.
        kept: Those whose scans were there from before.
        scanned: Those scanned now.
        skipped: Those that could not be.
        train: Scans in the training split of the labelled set.
        test: Scans in its test split, which has other meshes.
        seconds: What it took.
    """

    schema: ClassVar[str] = "crosspoint.scan/1"

    settings: ScanSettings = field(metadata=FLAT)
    out: str
    objects: int
    kept: int
    scanned: int
    skipped: tuple[SkippedMesh, ...]
    train: int
    test: int
    seconds: float


def scan(
    meshes: Sequence[Path],
    out: Path,
    *,
    settings: ScanSettings = ScanSettings(),
    jobs: int | None = None,
    patterns: Patterns = ALL,
) -> ScanResult:
    """Scan mesh files from random viewpoints, in the layout of ShapeNetRender. Finished meshes are kept.

    View 2 of a mesh becomes

    - `ShapeNet/<category>/<name>_02.ply`: the points, y-up, at the mesh's own place and in its unit;
    - `ShapeNet/<category>/<name>_02.json`: the sensor's pose;
    - `ShapeNetRendering/<category>/<name>_02/rendering/00.png`: a picture from the same direction.

    `modelnet40_ply_hdf5_2048` has the same clouds labelled by category, in a training and a test split that share no
    mesh. Category and name are those of `render`. The scans of a mesh depend only on the file, its category, its
    name and the settings, not on `jobs` or on other files.

    Args:
        meshes: Mesh files and folders of them, searched recursively.
        out: Output folder; an unfinished run with the same settings in it is continued.
        settings: Sensor, number of scans, points and so on.
        jobs: Number of processes; None: one per core. A script that uses more than one needs
            `if __name__ == "__main__":`.
        patterns: Which files of folders are read.

    Raises:
        InputError: There are no meshes, two meshes get the same name, an option is invalid, or `out` holds other files
            or was made with other settings.
        MissingDependency: `embreex` is not installed.
        CheckFailed: A process was killed.
    """
    require("embreex", "render", purpose="scanning")
    jobs = available_cpus() if jobs is None else jobs
    if settings.distance is None:
        settings = replace(settings, distance=DISTANCES.get(settings.pattern, 1.0))
    given, settings = settings.up, replace(settings, up=parse_up(settings.up or "y"))
    _check(settings, jobs)
    tasks = find_tasks(meshes, patterns=patterns, up=given)
    out = Path(out)
    check_folder(out, inputs=meshes)
    waiting = [task for task in tasks if not _finished(task, out, settings.views)]
    claim(out, SETTINGS_FILE, schema=SCHEMA, settings=asdict(settings))
    check_places((view for task in waiting for view in _views(task, settings.views)), out)
    check_content(out / FOLDER, check_labelled)
    remove_partial_outputs((view for task in tasks for view in _views(task, settings.views)), out)
    start = time.monotonic()
    work = partial(_scan_one, out=out, settings=settings)
    reasons = list(track(spread(work, waiting, jobs=jobs), "Scanning", total=len(waiting)))
    pairs = zip(waiting, reasons, strict=True)
    skipped = tuple(SkippedMesh(str(task.mesh), reason) for task, reason in pairs if reason)
    failed = {mesh.file for mesh in skipped}
    scanned = [task for task in tasks if str(task.mesh) not in failed]
    train, test = write_labelled(out, scanned, views=partial(_views, views=settings.views), seed=settings.seed)
    return ScanResult(
        settings=settings,
        out=str(out),
        objects=len(tasks),
        kept=len(tasks) - len(waiting),
        scanned=len(waiting) - len(skipped),
        skipped=skipped,
        train=train,
        test=test,
        seconds=round(time.monotonic() - start, 3),
    )


def _check(settings: ScanSettings, jobs: int) -> None:
    for name, value, least in (
        ("views", settings.views, 1),
        ("points", settings.points, 1),
        ("size", settings.size, 8),
        ("seed", settings.seed, 0),
        ("jobs", jobs, 1),
    ):
        if value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}")
    check_sensor(_sensor(settings))


def _sensor(settings: ScanSettings) -> Sensor:
    assert settings.distance is not None  # `scan` has set it
    return Sensor(settings.pattern, settings.distance, settings.noise)


def _views(task: Task, views: int) -> list[Task]:
    """The scans of a mesh; each is an object of its own, with its own name."""
    return [replace(task, name=f"{task.name}_{view:02d}") for view in range(views)]


def _pose_file(view: Task, out: Path) -> Path:
    return view.cloud(out).with_suffix(".json")


def _finished(task: Task, out: Path, views: int) -> bool:
    return all(view.finished(out, 1) and _pose_file(view, out).exists() for view in _views(task, views))


def _scan_one(task: Task, out: Path, settings: ScanSettings) -> str | None:
    """Write all scans of a mesh; None if that is done, else the reason why the mesh was skipped."""
    from crosspoint.data.io.meshes import read_mesh

    views = _views(task, settings.views)
    try:
        regular(task.mesh)
        read = read_mesh(task.mesh)
        mesh = solid(to_y_up(np.asarray(read.vertices), settings.up or "y"), read.faces)
        scans = [_scan_view(mesh, settings, rng) for rng in task.generator(settings.seed).spawn(settings.views)]
        check_name(views[-1].name)
    except InputError as error:
        return reason_without(task.mesh, error)
    for view, (found, pose, image) in zip(views, scans, strict=True):
        write_pictures(view.pictures(out), image[None])
        write_json(_pose_file(view, out), {"schema": POSE_SCHEMA, "mesh": task.mesh.name, **pose})
        _write_cloud(view.cloud(out), found.points, mesh)
    return None


def _scan_view(
    mesh: Solid, settings: ScanSettings, rng: np.random.Generator
) -> tuple[Scan, dict[str, object], npt.NDArray[np.uint8]]:
    """Scan once; the scan, its pose as it is stored, and a picture (size, size, 4) from the same direction."""
    sensor = _sensor(settings)
    for _ in range(ATTEMPTS):
        azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*ELEVATIONS))
        found = scan_mesh(mesh, sensor, azimuth=azimuth, elevation=elevation, points=settings.points, rng=rng)
        if found is not None:
            break
    else:
        raise InputError(
            f"too little of the mesh is visible for {settings.points} points; give a thicker mesh, or fewer --points"
        )
    pose: dict[str, object] = {
        "pattern": sensor.pattern,
        "azimuth": float(np.degrees(azimuth)),
        "elevation": float(np.degrees(elevation)),
        "distance": sensor.distance * mesh.radius,
        "radius": mesh.radius,
        "sensor_to_mesh": found.pose.tolist(),
    }
    return found, pose, picture(mesh, camera(azimuth, elevation), size=settings.size)


def _write_cloud(path: Path, points: npt.NDArray[np.float64], mesh: Solid) -> None:
    """Write points (N, 3) as binary PLY, in float32 unless the mesh lies too far from the origin for that."""
    from plyfile import PlyData, PlyElement

    narrow = np.abs(points).max() * np.finfo(np.float32).eps / 2 <= ROUNDED * mesh.radius
    kind = "<f4" if narrow else "<f8"
    rows = np.ascontiguousarray(points, kind).view([(axis, kind) for axis in "xyz"]).reshape(-1)  # (N,)
    with atomic_file(path) as temporary:
        PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(str(temporary))
