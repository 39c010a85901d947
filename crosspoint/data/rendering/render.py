"""Makes point clouds and renderings from mesh files, in the layout of ShapeNetRender."""

import hashlib
import os
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from crosspoint.core.console import track
from crosspoint.core.errors import InputError, require
from crosspoint.core.files import atomic_folder, write_json
from crosspoint.core.outputs import check_content, check_folder, check_known, is_schema
from crosspoint.core.reading import read_json, reason_without, regular
from crosspoint.core.results import FLAT, Result
from crosspoint.core.system.pool import spread
from crosspoint.core.system.processes import available_cpus
from crosspoint.core.workspaces import in_use, remove_partial_files
from crosspoint.data.io.ply import write_points
from crosspoint.data.rendering.raycast import camera, picture, solid

ELEVATIONS = (-10.0, 50.0)  # degrees above the horizon, uniform; the azimuth is uniform over the full circle
ATTEMPTS = 16  # viewpoints tried per picture: a flat object can be invisible from its edge
COMPRESSION = 4  # PNG level: the file size of zlib's default 6 in two thirds of its time
SETTINGS_FILE = "render.json"
SCHEMA = "crosspoint.render-settings/1"
NAME_BYTES = 200  # longest file name: 255 on most systems, less the suffixes that are added


def picture_name(view: int) -> str:
    """File name of a view: 00.png, 01.png and so on."""
    return f"{view:02d}.png"


@dataclass(frozen=True)
class Settings:
    """The settings that decide the content of an output folder; a folder holds one combination."""

    views: int
    size: int
    points: int
    seed: int


@dataclass(frozen=True)
class Task:
    """A mesh file, and the category and name of its outputs."""

    mesh: Path
    category: str
    name: str

    def cloud(self, out: Path) -> Path:
        """Path of the point cloud in `out`."""
        return out / "ShapeNet" / self.category / f"{self.name}.ply"

    def pictures(self, out: Path) -> Path:
        """Folder of the pictures in `out`."""
        return out / "ShapeNetRendering" / self.category / self.name / "rendering"

    def finished(self, out: Path, views: int) -> bool:
        """Whether the cloud and all pictures exist. Each gets its name only when it is complete."""
        pictures = self.pictures(out)
        return self.cloud(out).exists() and all((pictures / picture_name(view)).exists() for view in range(views))


@dataclass(frozen=True)
class SkippedMesh:
    """A mesh that could not be rendered, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class RenderResult(Result):
    """What `render` made.

    Attributes:
        settings: As asked for.
        out: The folder.
        objects: Meshes found.
        kept: Those that were there from before.
        rendered: Those rendered now.
        skipped: Those that could not be.
        seconds: What it took.
    """

    schema: ClassVar[str] = "crosspoint.render/1"

    settings: Settings = field(metadata=FLAT)
    out: str
    objects: int
    kept: int
    rendered: int
    skipped: tuple[SkippedMesh, ...]
    seconds: float


def render(
    meshes: Sequence[Path],
    out: Path,
    *,
    views: int = 8,
    size: int = 224,
    points: int = 2048,
    seed: int = 0,
    jobs: int | None = None,
) -> RenderResult:
    """Make pairs of point clouds and pictures from mesh files, in the layout of ShapeNetRender. Finished ones are kept.

    Each mesh becomes `ShapeNet/<category>/<name>.ply`, with points sampled uniformly by area, and
    `ShapeNetRendering/<category>/<name>/rendering/00.png` and so on. The category is the path of the mesh's folder
    below the given folder, joined by underscores, or the name of the given folder. The name is the file's name, with
    its suffix if two files would have the same name. The output depends only on the file, its category, its name and
    the settings, not on `jobs` or on other files.

    Args:
        meshes: Mesh files and folders of them, searched recursively.
        out: Output folder; an unfinished run with the same settings in it is continued.
        views: Pictures per mesh.
        size: Width and height of the pictures, in pixels.
        points: Points per mesh.
        seed: Random seed of points and viewpoints.
        jobs: Number of processes; None: one per core. A script that uses more than one needs
            `if __name__ == "__main__":`.

    Returns:
        What was made.

    Raises:
        InputError: There are no meshes, two meshes get the same name, an option is invalid, or `out` holds other files
            or was made with other settings.
        MissingDependency: `embreex` is not installed.
        CheckFailed: A process was killed.
    """
    require("embreex", "render", purpose="rendering")
    settings = Settings(views, size, points, seed)
    jobs = available_cpus() if jobs is None else jobs
    _check(settings, jobs)
    tasks = _tasks(meshes)
    out = Path(out)
    check_folder(out, inputs=meshes)
    waiting = [task for task in tasks if not task.finished(out, views)]
    _claim(out, settings, waiting)
    _remove_partial_files(tasks, out)
    start = time.monotonic()
    work = partial(_render_one, out=out, settings=settings)
    reasons = list(track(spread(work, waiting, jobs=jobs), "Rendering", total=len(waiting)))
    pairs = zip(waiting, reasons, strict=True)
    skipped = tuple(SkippedMesh(str(task.mesh), reason) for task, reason in pairs if reason)
    return RenderResult(
        settings=settings,
        out=str(out),
        objects=len(tasks),
        kept=len(tasks) - len(waiting),
        rendered=len(waiting) - len(skipped),
        skipped=skipped,
        seconds=round(time.monotonic() - start, 3),
    )


def render_views(
    vertices: npt.NDArray[Any], faces: npt.NDArray[Any], *, views: int, size: int, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Render a mesh from random viewpoints (CrossPoint, section 3: "a random camera view-point").

    The object fills the frame. The azimuth is uniform over the full circle, the elevation in `ELEVATIONS`; y is up.
    With the same `rng`, the first views do not depend on the number of views.

    Args:
        vertices: (V, 3) coordinates in any unit.
        faces: (F, 3) indices; either side may face outwards.
        views: Number of pictures.
        size: Width and height in pixels.
        rng: Random generator of the viewpoints.

    Returns:
        (views, size, size, 4) uint8 RGBA; alpha is the covered share of each pixel; colour is not multiplied by it.

    Raises:
        InputError: The mesh has no extent, or nothing of it is visible.
        MissingDependency: `embreex` is not installed.
    """
    mesh = solid(vertices, faces)
    pictures = np.empty((views, size, size, 4), np.uint8)
    for view in range(views):
        for _ in range(ATTEMPTS):
            azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*ELEVATIONS))
            pictures[view] = picture(mesh, camera(azimuth, elevation), size=size)
            if pictures[view, ..., 3].any():
                break
        else:
            raise InputError("nothing of the mesh is visible: its faces are too thin; give a thicker mesh")
    return pictures


def _check(settings: Settings, jobs: int) -> None:
    for name, value, least in (
        ("views", settings.views, 1),
        ("size", settings.size, 8),
        ("points", settings.points, 1),
        ("seed", settings.seed, 0),
        ("jobs", jobs, 1),
    ):
        if value < least:
            raise InputError(f"{name} is {value}; it must be at least {least}")


def _tasks(inputs: Sequence[Path]) -> list[Task]:
    """One task per mesh file, in the order of the output paths."""
    from crosspoint.data.io.files import find_files
    from crosspoint.data.io.meshes import SUFFIXES

    found: dict[Path, str] = {}  # absolute path: category
    for given in inputs:
        for file in find_files([given]):
            if file.suffix.lower() in SUFFIXES or os.path.isdir(file):  # a folder that cannot be listed is reported
                found.setdefault(Path(os.path.abspath(file)), _category(file, Path(given)))
    if not found:
        raise InputError(f"{', '.join(map(str, inputs))}: no meshes found; meshes end in {', '.join(sorted(SUFFIXES))}")
    stems: dict[tuple[str, str], int] = {}
    for file, category in found.items():
        stems[category, file.stem] = stems.get((category, file.stem), 0) + 1
    tasks: dict[tuple[str, str], Task] = {}
    for file, category in found.items():
        name = file.stem if stems[category, file.stem] == 1 else f"{file.stem}_{file.suffix[1:].lower()}"
        other = tasks.setdefault((category, name), Task(file, category, name))
        if other.mesh != file:
            raise InputError(f"{other.mesh} and {file} would both become {category}/{name}; rename one of them")
    return [tasks[key] for key in sorted(tasks)]


def _category(file: Path, given: Path) -> str:
    parts = file.relative_to(given).parent.parts if given.is_dir() else ()
    return "_".join(parts) or file.resolve().parent.name


def _claim(out: Path, settings: Settings, tasks: Sequence[Task]) -> None:
    """Check that `out` is new or was made with these settings, and that no other file in it would be replaced."""
    file = out / SETTINGS_FILE
    if not file.exists():
        if out.exists() and in_use(out):
            raise InputError(f"{out} holds files that this command did not make; choose another --out")
        write_json(file, {"schema": SCHEMA, **asdict(settings)})
        return
    stored = read_json(file, "the settings of renderings", advice=f"delete {out} or choose another --out")
    if not is_schema(stored, "render-settings"):
        raise InputError(f"{file} was not written by this command; choose another --out")
    for name, value in asdict(settings).items():
        if stored.get(name) != value:
            raise InputError(
                f"{out} was rendered with --{name} {stored.get(name)}, not {value}; give that value, or another --out"
            )
    for task in tasks:
        check_content(task.pictures(out), _check_pictures)


def _check_pictures(folder: Path) -> None:
    check_known(folder, re.compile(r"\d{2,}\.png").fullmatch)


def _render_one(task: Task, out: Path, settings: Settings) -> str | None:
    """Do a task; None if it is done, else the reason why the mesh was skipped."""
    from crosspoint.data.io.meshes import read_mesh, sample_surface

    clouds, viewpoints = _generator(settings.seed, task).spawn(2)
    try:
        regular(task.mesh)
        mesh = read_mesh(task.mesh)
        cloud, _ = sample_surface(mesh.vertices, mesh.faces, count=settings.points, rng=clouds)
        pictures = render_views(mesh.vertices, mesh.faces, views=settings.views, size=settings.size, rng=viewpoints)
    except InputError as error:
        return reason_without(task.mesh, error)
    if len(os.fsencode(task.name)) > NAME_BYTES:
        return f"its name is longer than {NAME_BYTES} bytes; shorten it"
    write_points(task.cloud(out), cloud)
    _write_pictures(task.pictures(out), pictures)
    return None


def _generator(seed: int, task: Task) -> np.random.Generator:
    digest = hashlib.sha256(os.fsencode(f"{task.category}/{task.name}")).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()])


def _remove_partial_files(tasks: Sequence[Task], out: Path) -> None:
    """Delete partial files of a killed run."""
    for folder in {task.cloud(out).parent for task in tasks} | {task.pictures(out).parent for task in tasks}:
        remove_partial_files(folder)


def _write_pictures(folder: Path, pictures: npt.NDArray[np.uint8]) -> None:
    from PIL import Image

    with atomic_folder(folder, _check_pictures) as temporary:
        for index, rgba in enumerate(pictures):
            Image.fromarray(rgba).save(temporary / picture_name(index), compress_level=COMPRESSION)
