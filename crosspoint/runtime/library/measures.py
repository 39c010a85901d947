"""Measures of a surface that no turn, mirror, scale, place or division into triangles changes.

Two files of one shape have equal measures, so that only few pairs have to be compared exactly. They are moments of the
surface, integrated without error, and combined into numbers that an orthogonal matrix leaves as they are.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from crosspoint.runtime.library.surface import Array, Surface

COUNT = 10
ROWS = 65_536  # points at a time
EQUAL = 0.01  # largest difference of the measures of one shape, whose files may hold rounded numbers
CLOSE = 0.02  # the same, if the embeddings are near as well
_A, _B = 0.445948490915965, 0.091576213509771
NODES = (
    np.array(  # corners' shares of the 6 points of a triangle that integrate polynomials of degree 4 (Dunavant 1985)
        [np.roll((1 - 2 * side, side, side), place) for side in (_A, _B) for place in range(3)]
    )
)
WEIGHTS = np.repeat((0.223381589678011, 0.109951743655322), 3)


def measures(surface: Surface) -> Array:
    """Measures `(COUNT,)` of a surface.

    With x a point of the surface, r its distance from the mean, and ⟨⟩ the mean over the surface, they are log(1 + m)
    of: the eigenvalues of ⟨x xᵀ⟩, the largest r, ‖⟨r² x⟩‖, ‖⟨x ⊗ x ⊗ x⟩‖, the eigenvalues of ⟨r² x xᵀ⟩ and
    ‖⟨x ⊗ x ⊗ x ⊗ x⟩‖.
    """
    third, fourth, farthest = np.zeros((3, 9)), np.zeros((9, 9)), 0.0
    for points, weights in _nodes(surface):  # (n, 3), (n,)
        squares = (points[:, :, None] * points[:, None]).reshape(-1, 9)  # x xᵀ
        third += (weights[:, None] * points).T @ squares
        fourth += (weights[:, None] * squares).T @ squares
    corners = surface.corners.reshape(-1, 3) if len(surface.corners) else surface.samples
    farthest = float(np.linalg.norm(corners, axis=1).max())
    bend = np.linalg.norm(np.einsum("ijj->i", third.reshape(3, 3, 3)))
    spread = np.linalg.eigvalsh(np.einsum("ijkk->ij", fourth.reshape(3, 3, 3, 3)))[::-1]
    values = [*surface.shares, farthest, bend, np.linalg.norm(third), *spread, np.linalg.norm(fourth)]
    return np.log1p(np.maximum(values, 0))


def _nodes(surface: Surface) -> Iterator[tuple[Array, Array]]:
    """Points `(n, 3)` and their shares of the surface `(n,)`, a part at a time."""
    if not len(surface.corners):
        for start in range(0, len(surface.samples), ROWS):
            points = surface.samples[start : start + ROWS]
            yield points, np.full(len(points), 1 / len(surface.samples))
        return
    first, *edges = np.moveaxis(surface.corners, 1, 0)  # (F, 3)
    areas = np.linalg.norm(np.cross(edges[0] - first, edges[1] - first), axis=1)  # (F,)
    areas /= areas.sum()
    for start in range(0, len(areas), ROWS // len(NODES)):
        part = slice(start, start + ROWS // len(NODES))
        points = NODES @ surface.corners[part]  # (f, 6, 3)
        yield points.reshape(-1, 3), (areas[part, None] * WEIGHTS).reshape(-1)


def match(a: Array, b: Array, *, tolerance: float) -> NDArray[np.bool_]:
    """Whether measures `(..., COUNT)` agree; those of an object that was not read (NaN) agree with none."""
    return np.asarray((np.abs(a - b) <= tolerance).all(axis=-1))


def equal_pairs(a: Array, b: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of `a (n, COUNT)` and `b (m, COUNT)` whose measures are equal, two measures at first and then the others."""
    maybe = np.abs(a[:, None, 3] - b[:, 3]) <= EQUAL  # (n, m): the largest radius
    maybe &= np.abs(a[:, None, -1] - b[:, -1]) <= EQUAL
    first, second = np.nonzero(maybe)
    equal = match(a[first], b[second], tolerance=EQUAL)
    return first[equal], second[equal]
