"""Renders one picture of a mesh by ray casting: the object fills the frame, coloured lights, antialiased edges."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError, require

FIELD_OF_VIEW = np.radians(40.0)  # angle of the bounding sphere, seen from the camera
FILLED = 0.92  # share of the frame that the longer side of the object fills
SUPERSAMPLING = 2  # rays per pixel in each axis

# Directional lights in camera axes (right, up, towards the camera) with their colours: white from the upper left, warm
# from the right, cool from below, so that the hue also shows the direction of a face.
AMBIENT = np.array([0.17, 0.17, 0.18])
LIGHTS = np.array([[-0.50, 0.62, 0.60], [0.90, 0.15, 0.40], [-0.30, -0.80, 0.50]])
COLOURS = np.array([[0.66, 0.66, 0.65], [0.20, 0.13, 0.07], [0.03, 0.08, 0.14]])

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Solid:
    """A mesh in the unit sphere, ready for rays.

    Attributes:
        corners: (F, 3, 3), of the faces.
        normals: (F, 3), of length 1.
        scene: Embree's search tree.
        centre: (3,), of the bounding box, in the mesh's own unit.
        radius: Of the sphere around it that holds the mesh, likewise.
    """

    corners: Array
    normals: Array
    scene: Any
    centre: Array
    radius: float


def solid(vertices: Array, faces: Array) -> Solid:
    """Centre a mesh on its bounding box, scale it into the unit sphere and build embree's search tree.

    Args:
        vertices: (V, 3) coordinates; vertices that no face uses are ignored.
        faces: (F, 3) indices of vertices.

    Raises:
        InputError: There are no faces, all vertices are equal, or a coordinate is not finite.
        MissingDependency: `embreex` is not installed.
    """
    require("embreex", "render", purpose="rendering")
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    corners = np.asarray(vertices, np.float64)[np.asarray(faces)]  # (F, 3, 3)
    if not corners.size or not np.isfinite(corners).all():
        raise InputError("the mesh has no faces, or has coordinates that are not finite; repair it first")
    flat = corners.reshape(-1, 3)
    centre = (flat.min(0) + flat.max(0)) / 2
    corners = corners - centre
    radius = float(np.linalg.norm(corners.reshape(-1, 3), axis=1).max())
    if radius == 0:
        raise InputError("all vertices of the mesh are equal; repair it first")
    corners /= radius
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])  # (F, 3)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    scene = EmbreeScene()
    TriangleMesh(scene, np.ascontiguousarray(corners, np.float32))
    return Solid(corners, normals, scene, centre, radius)


def camera(azimuth: float, elevation: float) -> Array:
    """Axes (right, up, backward) (3, 3) of a camera at `azimuth` and `elevation` (radians) that looks at the origin.

    The y axis is up. At azimuth 0 and elevation 0 the camera is on the positive z axis.
    """
    backwards = np.array(
        [np.cos(elevation) * np.sin(azimuth), np.sin(elevation), np.cos(elevation) * np.cos(azimuth)],
    )
    right = np.array([np.cos(azimuth), 0.0, -np.sin(azimuth)])
    return np.stack([right, np.cross(backwards, right), backwards])


def picture(mesh: Solid, axes: Array, *, size: int) -> Array:
    """Render a mesh in perspective; its longer side fills the frame.

    Args:
        mesh: What `solid` returned.
        axes: (3, 3) rows right, up, backwards, as from `camera`.
        size: Width and height in pixels.

    Returns:
        (size, size, 4) uint8 RGBA, colour not multiplied by alpha. Alpha is the covered share of the pixel; pixels with
            alpha 0 are black.
    """
    eye = axes[2] / np.sin(FIELD_OF_VIEW / 2)  # (3,)
    rays = size * SUPERSAMPLING
    hit = cast(mesh, _directions(mesh, eye, axes, rays), eye=eye).reshape(rays, rays)  # face, or -1
    table = np.zeros((len(mesh.normals) + 1, 4), np.float32)  # colour and coverage by face; the last row is for -1
    table[:-1] = np.column_stack([_shade(mesh, eye, axes), np.ones(len(mesh.normals))])
    total = np.zeros((size, size, 4), np.float32)
    for row, column in product(range(SUPERSAMPLING), repeat=2):
        total += table[hit[row::SUPERSAMPLING, column::SUPERSAMPLING]]
    total[..., :3] /= np.maximum(total[..., 3:], 1)  # mean colour of the rays that hit
    total[..., 3] /= SUPERSAMPLING**2
    return np.rint(total * 255).astype(np.uint8)


def _directions(mesh: Solid, eye: Array, axes: Array, rays: int) -> Array:
    """Ray directions (rays · rays, 3) through a square around the object at depth 1, row by row from the top."""
    seen = (mesh.corners.reshape(-1, 3) - eye) @ (axes * [[1.0], [1.0], [-1.0]]).T  # (3 F, 3): right, up, depth
    plane = seen[:, :2] / seen[:, 2:]
    low, high = plane.min(0), plane.max(0)
    half = (high - low).max() / 2 / FILLED
    steps = (np.arange(rays) + 0.5) / rays * 2 - 1
    x = (low[0] + high[0]) / 2 + half * steps  # (rays,)
    y = (low[1] + high[1]) / 2 - half * steps
    rows = (y[:, None] * axes[1] - axes[2]).astype(np.float32)  # (rays, 3)
    columns = (x[:, None] * axes[0]).astype(np.float32)
    return np.reshape(rows[:, None] + columns, (-1, 3))


def cast(mesh: Solid, directions: Array, *, eye: Array) -> Array:
    """Index of the first face that each ray from `eye` hits, -1 for none; (R,) int32."""
    origins = np.broadcast_to(eye.astype(np.float32), directions.shape)
    hit: Array = mesh.scene.run(np.ascontiguousarray(origins), directions)
    return hit


def _shade(mesh: Solid, eye: Array, axes: Array) -> Array:
    """Colour of each face (F, 3) in 0…1, by Lambert's law. Both sides are lit, so that open meshes look closed."""
    towards = np.einsum("fi,fi->f", mesh.normals, eye - mesh.corners[:, 0])  # sign: the side that faces the camera
    normals = np.where(towards[:, None] < 0, -mesh.normals, mesh.normals) @ axes.T  # (F, 3) in camera axes
    lights = LIGHTS / np.linalg.norm(LIGHTS, axis=1, keepdims=True)
    shade: Array = np.clip(AMBIENT + np.maximum(normals @ lights.T, 0) @ COLOURS, 0, 1)
    return shade
