"""Renderings and point clouds of mesh files, in ShapeNetRender's layout."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.console import track
from crosspoint.core.errors import InputError, require
from crosspoint.core.outputs import check_folder
from crosspoint.core.pool import spread
from crosspoint.core.processes import available_cpus
from crosspoint.core.reading import reason_without, regular
from crosspoint.data.io.ply import write_points
from crosspoint.data.rendering.raycast import camera, picture, solid
from crosspoint.data.rendering.tasks import (
    Task,
    check_name,
    check_places,
    claim,
    find_tasks,
    remove_remains,
    write_pictures,
)

ELEVATIONS = (-10.0, 50.0)  # degrees above the horizon, drawn uniformly; the azimuth is drawn from the full circle
ATTEMPTS = 16  # viewpoints tried for one picture: a flat thing can be invisible from its edge
SETTINGS_FILE = "render.json"
SCHEMA = "crosspoint.render-settings/1"


@dataclass(frozen=True)
class Settings:
    """What decides the bytes of an output folder; one folder holds one combination."""

    views: int
    size: int
    points: int
    seed: int


def render(
    meshes: Sequence[Path],
    out: Path,
    views: int = 8,
    size: int = 224,
    points: int = 2048,
    seed: int = 0,
    jobs: int | None = None,
) -> dict[str, Any]:
    """Make pairs of point clouds and pictures from mesh files, in ShapeNetRender's layout; finished ones are kept.

    Each mesh becomes `ShapeNet/<category>/<name>.ply`, with points drawn uniformly by area, and
    `ShapeNetRendering/<category>/<name>/rendering/00.png` and so on. The category is the path of the mesh's folder
    within the given folder, joined by underscores, or the given folder's own name; the name is the file's, with its
    suffix added where two files would share it. What is made depends on the file, its category, its name and the
    settings alone: neither on `jobs` nor on the other files.

    Args:
        meshes: Mesh files and folders of them, searched recursively.
        out: The output folder; it may hold an unfinished run with the same settings, which is then continued.
        views: Pictures per mesh.
        size: Width and height of the pictures.
        points: Points per mesh.
        seed: Seed of points and viewpoints.
        jobs: Processes; all cores if None. A script that calls this with more than one needs the usual
            `if __name__ == "__main__":`.

    Returns:
        The settings, `objects` (meshes found), `rendered` (now), `kept` (from before), `skipped` (a list of `file` and
        `reason`), `seconds` and `out`.

    Raises:
        InputError: There are no meshes, two of them have one name, an option makes no sense, or `out` holds something
            else or was made with other settings.
        MissingDependency: `embreex` is not installed.
        CheckFailed: A process was killed.
    """
    require("embreex", "render", "rendering")
    settings = Settings(views, size, points, seed)
    jobs = available_cpus() if jobs is None else jobs
    _check(settings, jobs)
    tasks = find_tasks(meshes)
    out = Path(out)
    check_folder(out, inputs=meshes)
    waiting = [task for task in tasks if not task.finished(out, views)]
    claim(out, SETTINGS_FILE, SCHEMA, asdict(settings))
    check_places(waiting, out)
    remove_remains(tasks, out)
    start = time.monotonic()
    work = partial(_render_one, out=out, settings=settings)
    reasons = list(track(spread(work, waiting, jobs), "Rendering", len(waiting)))
    skipped = [
        {"file": str(task.mesh), "reason": reason} for task, reason in zip(waiting, reasons, strict=True) if reason
    ]
    return {
        **asdict(settings),
        "out": str(out),
        "objects": len(tasks),
        "kept": len(tasks) - len(waiting),
        "rendered": len(waiting) - len(skipped),
        "skipped": skipped,
        "seconds": round(time.monotonic() - start, 3),
    }


def render_views(
    vertices: npt.NDArray[Any], faces: npt.NDArray[Any], views: int, size: int, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Pictures of a mesh from random viewpoints (CrossPoint, section 3: "a random camera view-point").

    The object fills the frame; azimuth over the full circle, elevation in `ELEVATIONS`; y is up. With the same `rng`,
    fewer views are the first of more views.

    Args:
        vertices: (V, 3) coordinates in any unit.
        faces: (F, 3) indices; either side may face outwards.
        views: Number of pictures.
        size: Width and height in pixels.
        rng: Source of the viewpoints.

    Returns:
        (views, size, size, 4) uint8 RGBA; alpha is the covered share of each pixel, colour is not multiplied by it.

    Raises:
        InputError: The mesh has no extent, or nothing of it can be seen.
        MissingDependency: `embreex` is not installed.
    """
    mesh = solid(vertices, faces)
    pictures = np.empty((views, size, size, 4), np.uint8)
    for view in range(views):
        for _ in range(ATTEMPTS):
            azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(*ELEVATIONS))
            pictures[view] = picture(mesh, camera(azimuth, elevation), size)
            if pictures[view, ..., 3].any():
                break
        else:
            raise InputError("nothing of the mesh can be seen; its faces are too thin to render")
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
    """None when the task is done, or the reason why its mesh was skipped."""
    from crosspoint.data.io.meshes import read_mesh, sample_surface

    clouds, viewpoints = task.generator(settings.seed).spawn(2)
    try:
        regular(task.mesh)
        mesh = read_mesh(task.mesh)
        cloud, _ = sample_surface(mesh.vertices, mesh.faces, settings.points, clouds)
        pictures = render_views(mesh.vertices, mesh.faces, settings.views, settings.size, viewpoints)
        check_name(task.name)
    except InputError as error:
        return reason_without(task.mesh, error)
    write_points(task.cloud(out), cloud)
    write_pictures(task.pictures(out), pictures)
    return None
