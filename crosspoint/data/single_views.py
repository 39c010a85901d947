"""Single views of objects: the points that a sensor on one side sees."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from crosspoint.data.io.files import MESH_POINTS, is_mesh, read_points
from crosspoint.data.points import Coordinates, normalise
from crosspoint.data.rendering.raycast import camera
from crosspoint.data.rendering.render import ELEVATIONS
from crosspoint.data.sources import Source
from crosspoint.data.visible import visible

DISTANCES = (2.0, 6.0)  # of the sensor from the centre of the object, in its radii
DENSE = 4  # points drawn from a mesh for each point of a view, since a sensor sees a part of them


def single_views(sources: Sequence[Source], count: int | None, *, seed: int) -> list[Source]:
    """Sources of one single view of each cloud.

    The sensor stands at an azimuth of U(0, 2π), an elevation of U(−10°, 50°) and a distance of U(2, 6) radii; y is up.
    Which view it is depends on the seed and the content of the source.

    Args:
        sources: Sources with all points of their clouds; from meshes more points are drawn.
        count: Points per view; fewer visible points are copied evenly. None: `MESH_POINTS`.
        seed: Random seed of the sensors and of the points.
    """
    return [replace(source, read=partial(_read, source, count or MESH_POINTS, seed)) for source in sources]


def _read(source: Source, count: int, seed: int) -> Coordinates:
    """Views `(n, count, 3)` of the clouds of a source."""
    content = np.frombuffer(bytes.fromhex(source.sha256() or "0" * 64), "<u4")
    rng = np.random.default_rng([seed, *content.tolist()])
    if isinstance(source.stored, Path) and is_mesh(source.stored):
        clouds = read_points(source.stored, DENSE * count, seed=seed, up=source.frame.up)
    else:
        clouds = source.read()
    return np.stack([single_view(cloud, count, rng=rng) for cloud in clouds])


def single_view(cloud: Coordinates, count: int, *, rng: np.random.Generator) -> Coordinates:
    """The points of a cloud that a sensor on a random side sees.

    Args:
        cloud: `(N, 3)`, in any unit.
        count: Number of points of the view; if fewer are visible, they are copied evenly.
        rng: Random generator.

    Returns:
        `(count, 3)`.
    """
    centred = normalise(cloud)
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(*ELEVATIONS))
    sensor = rng.uniform(*DISTANCES) * camera(azimuth, elevation)[2]
    seen = rng.permutation(np.flatnonzero(visible(centred, sensor)))
    view: Coordinates = cloud[np.resize(seen, count)]
    return view
