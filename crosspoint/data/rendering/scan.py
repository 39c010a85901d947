"""Single views of mesh files: what a depth camera or a LiDAR sees of each, with pictures and labels."""

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
from crosspoint.core.pool import spread
from crosspoint.core.processes import available_cpus
from crosspoint.core.reading import reason_without, regular
from crosspoint.core.results import FLAT, Result
from crosspoint.data.rendering.labelled import FOLDER, check_labelled, write_labelled
from crosspoint.data.rendering.raycast import Solid, camera, picture, solid
from crosspoint.data.rendering.render import ATTEMPTS, ELEVATIONS
from crosspoint.data.rendering.sensor import DISTANCES, Scan, Sensor, check_sensor, scan_mesh
from crosspoint.data.rendering.tasks import (
    Task,
    check_name,
    check_places,
    claim,
    find_tasks,
    remove_remains,
    write_pictures,
)

SETTINGS_FILE = "scan.json"
SCHEMA = "crosspoint.scan-settings/1"
POSE_SCHEMA = "crosspoint.scan-pose/1"
ROUNDED = 1e-6  # radii; where float32 would move points by more, they are stored in float64


@dataclass(frozen=True)
class ScanSettings:
    """What decides the bytes of an output folder; one folder holds one combination.

    Attributes:
        views: Scans of each mesh.
        points: Points of each scan.
        pattern: `camera` or `lidar`.
        distance: Of the sensor from the object's centre, in radii of the object; by pattern if None.
        noise: c in the standard deviation of depth, c z², in radii; see `scan_mesh`.
        size: Width and height of the pictures, in pixels.
        seed: Of viewpoints, rays and noise.
    """

    views: int = 4
    points: int = 2048
    pattern: str = "camera"
    distance: float | None = None
    noise: float = 0.0
    size: int = 224
    seed: int = 0


@dataclass(frozen=True)
class Skipped:
    """A mesh that was passed over, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class ScanResult(Result):
    """What `scan` did.

    Attributes:
        settings: Of the folder.
        out: The folder.
        objects: Meshes found.
        scanned: Meshes scanned now.
        kept: Meshes whose scans were there before.
        skipped: Meshes passed over.
        train: Scans in the training split of the labelled set.
        test: Scans in its test split, of other meshes.
        seconds: That it took.
    """

    schema: ClassVar[str] = "crosspoint.scan/1"

    settings: ScanSettings = field(metadata=FLAT)
    out: str
    objects: int
    scanned: int
    kept: int
    skipped: tuple[Skipped, ...]
    train: int
    test: int
    seconds: float


def scan(
    meshes: Sequence[Path], out: Path, *, settings: ScanSettings = ScanSettings(), jobs: int | None = None
) -> ScanResult:
    """Scan mesh files from random viewpoints, in ShapeNetRender's layout; finished meshes are kept.

    View 2 of a mesh becomes

    - `ShapeNet/<category>/<name>_02.ply`: the points, in the mesh's own frame and unit;
    - `ShapeNet/<category>/<name>_02.json`: the sensor's pose;
    - `ShapeNetRendering/<category>/<name>_02/rendering/00.png`: a picture from the same direction.

    `modelnet40_ply_hdf5_2048` has the same clouds labelled by category, in a training and a test split that share no
    mesh. Category and name are those of `render`. What is made of a mesh depends on the file, its category, its name
    and the settings alone: neither on `jobs` nor on the other files.

    Args:
        meshes: Mesh files and folders of them, searched recursively; y is up.
        out: The output folder; it may hold an unfinished run with the same settings, which is then continued.
        settings: What is made.
        jobs: Processes; all cores if None. A script that calls this with more than one needs the usual
            `if __name__ == "__main__":`.

    Raises:
        InputError: There are no meshes, two of them have one name, an option makes no sense, or `out` holds something
            else or was made with other settings.
        MissingDependency: `embreex` is not installed.
        CheckFailed: A process was killed.
    """
    require("embreex", "render", "scanning")
    jobs = available_cpus() if jobs is None else jobs
    if settings.distance is None:
        settings = replace(settings, distance=DISTANCES.get(settings.pattern, 1.0))
    _check(settings, jobs)
    tasks = find_tasks(meshes)
    out = Path(out)
    check_folder(out, inputs=meshes)
    waiting = [task for task in tasks if not _finished(task, out, settings.views)]
    claim(out, SETTINGS_FILE, SCHEMA, asdict(settings))
    check_places((view for task in waiting for view in _views(task, settings.views)), out)
    check_content(out / FOLDER, check_labelled)
    remove_remains((view for task in tasks for view in _views(task, settings.views)), out)
    start = time.monotonic()
    work = partial(_scan_one, out=out, settings=settings)
    reasons = list(track(spread(work, waiting, jobs), "Scanning", len(waiting)))
    skipped = [
        Skipped(str(task.mesh), reason) for task, reason in zip(waiting, reasons, strict=True) if reason is not None
    ]
    passed = {bad.file for bad in skipped}
    scanned = [task for task in tasks if str(task.mesh) not in passed]
    train, test = write_labelled(out, scanned, partial(_views, views=settings.views), seed=settings.seed)
    return ScanResult(
        settings=settings,
        out=str(out),
        objects=len(tasks),
        scanned=len(waiting) - len(skipped),
        kept=len(tasks) - len(waiting),
        skipped=tuple(skipped),
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
    """The places of the scans of a mesh: each is an object of its own."""
    return [replace(task, name=f"{task.name}_{view:02d}") for view in range(views)]


def _pose_file(view: Task, out: Path) -> Path:
    return view.cloud(out).with_suffix(".json")


def _finished(task: Task, out: Path, views: int) -> bool:
    return all(view.finished(out, 1) and _pose_file(view, out).exists() for view in _views(task, views))


def _scan_one(task: Task, out: Path, settings: ScanSettings) -> str | None:
    """None when all scans of a mesh are written, or the reason why it was skipped."""
    from crosspoint.data.io.meshes import read_mesh

    views = _views(task, settings.views)
    try:
        regular(task.mesh)
        read = read_mesh(task.mesh)
        mesh = solid(read.vertices, read.faces)
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
    """One scan, what is stored of its pose, and a picture (size, size, 4) from the same direction."""
    sensor = _sensor(settings)
    for _ in range(ATTEMPTS):
        azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*ELEVATIONS))
        found = scan_mesh(mesh, sensor, azimuth=azimuth, elevation=elevation, points=settings.points, rng=rng)
        if found is not None:
            break
    else:
        raise InputError(
            f"too little of the mesh can be seen for {settings.points} points; its faces are too thin, or give fewer "
            "--points"
        )
    pose: dict[str, object] = {
        "pattern": sensor.pattern,
        "azimuth": float(np.degrees(azimuth)),
        "elevation": float(np.degrees(elevation)),
        "distance": sensor.distance * mesh.radius,
        "radius": mesh.radius,
        "sensor_to_mesh": found.pose.tolist(),
    }
    return found, pose, picture(mesh, camera(azimuth, elevation), settings.size)


def _write_cloud(path: Path, points: npt.NDArray[np.float64], mesh: Solid) -> None:
    """Write points (N, 3) as binary PLY, in float32 unless the mesh lies too far from the origin for that."""
    from plyfile import PlyData, PlyElement

    narrow = np.abs(points).max() * np.finfo(np.float32).eps / 2 <= ROUNDED * mesh.radius
    kind = "<f4" if narrow else "<f8"
    rows = np.ascontiguousarray(points, kind).view([(axis, kind) for axis in "xyz"]).reshape(-1)  # (N,)
    with atomic_file(path) as temporary:
        PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(str(temporary))
