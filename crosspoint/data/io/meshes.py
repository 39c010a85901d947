"""Reads mesh files and samples points from their surfaces."""

import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, read_bytes, reading
from crosspoint.data.io.mesh_files import as_utf8, check_complete
from crosspoint.data.points import Points, check_count

if TYPE_CHECKING:
    import trimesh

# Without a handler Python prints the library's warnings; an application that sets up logging still receives them.
logging.getLogger("trimesh").addHandler(logging.NullHandler())

SUFFIXES = frozenset({".off", ".obj", ".stl", ".ply", ".glb"})


def read_mesh(path: Path) -> "trimesh.Trimesh":
    """Read a mesh. Vertices are not merged, a scene becomes one mesh, polygons become triangles.

    Args:
        path: `.off`, `.obj`, `.stl`, `.ply` or `.glb`. Materials are not read.

    Raises:
        InputError: The file cannot be read, is damaged or cut off, has no faces, has a face with a missing vertex, has
            coordinates that are not finite, or has no area.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: is not a mesh file; give {', '.join(sorted(SUFFIXES))}")
    content = read_bytes(path)
    with reading(path, f"a {suffix} mesh"):
        import trimesh

        content = as_utf8(suffix, content)
        check_complete(suffix, content)
        mesh = trimesh.load(io.BytesIO(content), file_type=suffix[1:], force="mesh", process=False, skip_materials=True)
        if not isinstance(mesh, trimesh.Trimesh):
            raise InputError(f"has no faces; {ADVICE}")
        areas(np.asarray(mesh.vertices), np.asarray(mesh.faces))
    return mesh


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
    with np.errstate(over="ignore"):
        finite = np.isfinite(vertices.astype(np.float32)).all(axis=1)  # (V,)
    if not finite.all():
        raise InputError(f"has {(~finite).sum()} vertices that are NaN, infinite or too large; {ADVICE}")
    corners = vertices.astype(np.float64)[faces]  # (F, 3 corners, 3)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])  # (F, 3)
    result: npt.NDArray[np.float64] = np.linalg.norm(normals, axis=1) / 2
    if not result.sum() > 0:
        raise InputError(f"has faces without area; {ADVICE}")
    return result


def sample_surface(
    vertices: npt.NDArray[Any], faces: npt.NDArray[Any], *, count: int, rng: np.random.Generator
) -> tuple[Points, npt.NDArray[np.int64]]:
    """Sample points uniformly by area.

    A face is drawn with a probability proportional to its area. In it, u and v are drawn uniformly from the unit
    square, reflected to (1 - u, 1 - v) where u + v > 1; the point is a + u (b - a) + v (c - a).

    Args:
        vertices: (V, 3) coordinates.
        faces: (F, 3) indices.
        count: Number of points.
        rng: Random generator.

    Returns:
        Points (count, 3), and the face index of each (count,).

    Raises:
        InputError: `count` is less than 1, or the faces cannot be used (see `areas`).
    """
    check_count(count)
    vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces)
    ends = np.cumsum(areas(vertices, faces))  # (F,)
    # The draw is less than the total area, so that side="right" finds a face, and one that has an area.
    index = np.searchsorted(ends, rng.random(count) * ends[-1], side="right")
    index = np.minimum(index, np.searchsorted(ends, ends[-1], side="left"))  # in case rounding reaches the total
    u, v = rng.random((2, count, 1))
    outside = u + v > 1
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    a, b, c = vertices[faces[index]].transpose(1, 0, 2)  # each (count, 3)
    return (a + u * (b - a) + v * (c - a)).astype(np.float32), index.astype(np.int64)
