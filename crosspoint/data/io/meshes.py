"""Reads mesh files and samples points from their surfaces."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, reading
from crosspoint.data.io.formats.gltf import read_glb, read_gltf
from crosspoint.data.io.formats.obj import read_obj
from crosspoint.data.io.formats.off import read_off
from crosspoint.data.io.formats.ply import read_ply
from crosspoint.data.io.formats.stl import read_stl
from crosspoint.data.io.inflate import format_of, read_content
from crosspoint.data.io.polygons import triangulate
from crosspoint.data.io.rows import Rows
from crosspoint.data.points import MOST, Coordinates, check_count, farthest

if TYPE_CHECKING:
    import trimesh

BLOCK = 1 << 18  # triangles whose areas are computed at once
SUFFIXES = frozenset({".off", ".obj", ".stl", ".ply", ".glb", ".gltf"})


class Geometry(NamedTuple):
    """Vertices (V, 3) as stored, and triangles (F, 3) of vertex indices; F is 0 for a file of points."""

    vertices: Coordinates
    faces: npt.NDArray[np.int64]


def read_geometry(path: Path) -> Geometry:
    """Read a mesh as it is stored, or the points of a mesh file without faces.

    Vertices are not merged, a scene becomes one mesh, polygons become triangles. Materials are not read.

    Args:
        path: `.off`, `.obj`, `.stl`, `.ply`, `.glb` or `.gltf`; text formats and PLY may be compressed: `.gz`.

    Raises:
        InputError: The file cannot be read, is damaged or cut off, or has a face with a missing vertex.
    """
    path = Path(path)
    suffix = format_of(path)
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: is not a mesh file; give {', '.join(sorted(SUFFIXES))}")
    content = read_content(path)
    with reading(path, f"a {suffix} mesh"):
        return parse_geometry(suffix, content, folder=path.parent)


def parse_geometry(suffix: str, content: bytes, *, folder: Path) -> Geometry:
    """Parse the bytes of a mesh file; `folder` holds the buffers of a `.gltf`."""
    if suffix == ".stl":
        return Geometry(*read_stl(content))
    if suffix in (".glb", ".gltf"):
        return Geometry(*(read_glb(content) if suffix == ".glb" else read_gltf(content, folder)))
    polygons: Rows | None
    if suffix == ".off":
        vertices, polygons = read_off(content)
    elif suffix == ".obj":
        vertices, polygons = read_obj(content)
    else:
        vertices, polygons = read_ply(content)
    if polygons is None or len(polygons.lengths) == 0:
        return Geometry(vertices, np.empty((0, 3), np.int64))
    return Geometry(vertices, triangulate(vertices, polygons))


def read_mesh(path: Path) -> "trimesh.Trimesh":
    """Read a mesh (see `read_geometry`) and check that it can be sampled.

    Raises:
        InputError: As `read_geometry`; or the mesh has no faces, coordinates that are not finite, or no area.
    """
    shape = read_geometry(path)
    with reading(path, "a mesh"):
        import trimesh

        areas(*shape)
        return trimesh.Trimesh(np.asarray(shape.vertices, np.float64), shape.faces, process=False)


def areas(vertices: npt.NDArray[Any], faces: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Areas of triangles: half the norm of the cross product of two edges.

    Args:
        vertices: (V, 3) coordinates.
        faces: (F, 3) indices of vertices.

    Returns:
        (F,) areas with a positive and finite sum.

    Raises:
        InputError: There are no faces, a face uses a missing vertex, a coordinate is not finite in float32, or the sum
            is zero.
    """
    if len(faces) == 0:
        raise InputError(f"has no faces; {ADVICE}")
    if faces.min() < 0 or faces.max() >= len(vertices):
        wrong = faces.min() if faces.min() < 0 else faces.max()
        raise InputError(f"has a face that uses vertex {wrong}, but only {len(vertices)} vertices; {ADVICE}")
    if not farthest(vertices) <= MOST:  # true of NaN
        wrong = int((~(np.abs(vertices) <= MOST)).any(axis=1).sum())
        raise InputError(f"has {wrong} vertices that are NaN, infinite or too large; {ADVICE}")
    result = np.empty(len(faces))
    for start in range(0, len(faces), BLOCK):
        block = slice(start, start + BLOCK)
        a, b, c = vertices[faces[block]].astype(np.float64).transpose(1, 0, 2)  # each (n, 3)
        result[block] = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    if not result.sum() > 0:
        raise InputError(f"has faces without area; {ADVICE}")
    return result


def sample_surface(
    vertices: npt.NDArray[Any], faces: npt.NDArray[Any], *, count: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Sample points uniformly by area.

    A face is drawn with a probability proportional to its area. In it, u and v are drawn uniformly from the unit
    square, reflected to (1 - u, 1 - v) where u + v > 1; the point is a + u (b - a) + v (c - a).

    Args:
        vertices: (V, 3) coordinates.
        faces: (F, 3) indices.
        count: Number of points.
        rng: Random generator.

    Returns:
        Points (count, 3) in float64, and the face index of each (count,).

    Raises:
        InputError: `count` is less than 1, or the faces cannot be used (see `areas`).
    """
    check_count(count)
    vertices, faces = np.asarray(vertices), np.asarray(faces)
    ends = np.cumsum(areas(vertices, faces))  # (F,)
    # The draw is less than the total area, so that side="right" finds a face, and one that has an area.
    index = np.searchsorted(ends, rng.random(count) * ends[-1], side="right")
    index = np.minimum(index, np.searchsorted(ends, ends[-1], side="left"))  # in case rounding reaches the total
    u, v = rng.random((2, count, 1))
    outside = u + v > 1
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    a, b, c = vertices[faces[index]].astype(np.float64).transpose(1, 0, 2)  # each (count, 3)
    return a + u * (b - a) + v * (c - a), index.astype(np.int64)
