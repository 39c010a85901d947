"""Makes point clouds and renderings from mesh files, in the layout of ShapeNetRender."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from crosspoint.core.console import track
from crosspoint.core.errors import InputError, require
from crosspoint.core.outputs import check_folder
from crosspoint.core.reading import reason_without, regular
from crosspoint.core.results import FLAT, Result
from crosspoint.core.system.pool import spread
from crosspoint.core.system.processes import available_cpus
from crosspoint.data.frames import Up, parse_up, to_y_up
from crosspoint.data.io.folders import ALL, Patterns
from crosspoint.data.io.formats.ply import write_points
from crosspoint.data.rendering.raycast import camera, picture, solid
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
from crosspoint.data.sets.renders import SETTINGS_FILE

ELEVATIONS = (-10.0, 50.0)  # degrees above the horizon, uniform; the azimuth is uniform over the full circle
ATTEMPTS = 16  # viewpoints tried per picture: a flat object can be invisible from its edge
SCHEMA = "crosspoint.render-settings/1"


@dataclass(frozen=True)
class Settings:
    """The settings that decide the content of an output folder; a folder holds one combination.

    Attributes:
        views: Pictures per mesh.
        size: Width and height of the pictures, in pixels.
        points: Points per mesh.
        seed: Random seed of points and viewpoints.
        up: The axis that points up in the meshes, which are turned to y-up first. None: y, which is announced where
            the format does not say.
    """

    views: int = 8
    size: int = 224
    points: int = 2048
    seed: int = 0
    up: Up | None = None


@dataclass(frozen=True)
class RenderResult(Result):
    """What `render` made.

    Attributes:
        settings: As asked for, with the axis that was used.
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
    settings: Settings = Settings(),
    jobs: int | None = None,
    patterns: Patterns = ALL,
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
        settings: Pictures, points, seed and the axis that points up.
        jobs: Number of processes; None: one per core. A script that uses more than one needs
            `if __name__ == "__main__":`.
        patterns: Which files of folders are read.

    Returns:
        What was made.

    Raises:
        InputError: There are no meshes, two meshes get the same name, an option is invalid, or `out` holds other files
            or was made with other settings.
        MissingDependency: `embreex` is not installed.
        CheckFailed: A process was killed.
    """
    require("embreex", "render", purpose="rendering")
    given, settings = settings.up, replace(settings, up=parse_up(settings.up or "y"))
    jobs = available_cpus() if jobs is None else jobs
    _check(settings, jobs)
    tasks = find_tasks(meshes, patterns=patterns, up=given)
    out = Path(out)
    check_folder(out, inputs=meshes)
    waiting = [task for task in tasks if not task.finished(out, settings.views)]
    claim(out, SETTINGS_FILE, schema=SCHEMA, settings=asdict(settings))
    check_places(waiting, out)
    remove_partial_outputs(tasks, out)
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


def _render_one(task: Task, out: Path, settings: Settings) -> str | None:
    """Do a task; None if it is done, else the reason why the mesh was skipped."""
    from crosspoint.data.io.meshes import read_mesh, sample_surface

    clouds, viewpoints = task.generator(settings.seed).spawn(2)
    try:
        regular(task.mesh)
        mesh = read_mesh(task.mesh)
        vertices = to_y_up(np.asarray(mesh.vertices), settings.up or "y")  # (V, 3)
        cloud, _ = sample_surface(vertices, mesh.faces, count=settings.points, rng=clouds)
        pictures = render_views(vertices, mesh.faces, views=settings.views, size=settings.size, rng=viewpoints)
        check_name(task.name)
    except InputError as error:
        return reason_without(task.mesh, error)
    write_points(task.cloud(out), cloud)
    write_pictures(task.pictures(out), pictures)
    return None
