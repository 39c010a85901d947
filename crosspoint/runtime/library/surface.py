"""The surface of an object, and how far two surfaces lie apart.

Two files of one shape may differ in unit, place and triangles, so that neither points nor numbers of faces compare.
Here an object is brought to the mean and the size of its whole surface, which no division into triangles changes, and
points of it are compared with the triangles of the other.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crosspoint.data.io.meshes import areas, sample_surface

if TYPE_CHECKING:
    from scipy.spatial import KDTree

Array = NDArray[np.float64]

SAMPLES = 4096  # points on a surface, by which triangles are found and surfaces are turned onto each other
PROBES = 512  # of them, and as many corners, are compared with the other surface
FEW = 16  # of so many of these points one is looked at first: most pairs are far apart there
NEAR, FAR = 8, 64  # nearest samples whose triangles are looked at, and where those were not near enough


@dataclass(frozen=True)
class Surface:
    """An object with its mean at the origin, its points at a root mean square distance of 1 from it.

    Attributes:
        corners: `(F, 3, 3)` of its triangles; for a cloud `(0, 3, 3)`.
        samples: `(S, 3)` points on it, drawn by area; of a cloud all of its points, in any order.
        faces: `(S,)` the triangle on which each lies.
        shares: `(3,)` of the variance along its principal axes, descending; the same however it is turned or mirrored.
        axes: `(3, 3)` those axes, in rows.
    """

    corners: Array
    samples: Array
    faces: NDArray[np.int64]
    shares: Array
    axes: Array

    @cached_property
    def tree(self) -> "KDTree":
        """Finds the nearest samples."""
        from scipy.spatial import KDTree

        return KDTree(self.samples)

    @cached_property
    def _anchors(self) -> "tuple[KDTree, NDArray[np.int64]]":
        """Samples and the middle of every triangle: none is so small that nothing lies on it."""
        from scipy.spatial import KDTree

        middles = self.corners.mean(axis=1)
        return KDTree(np.concatenate([self.samples, middles])), np.concatenate(
            [self.faces, np.arange(len(middles), dtype=np.int64)]
        )

    @cached_property
    def _spheres(self) -> tuple[Array, Array]:
        """Middles `(F, 3)` of the triangles, and how far their corners are from them `(F,)`."""
        middles = self.corners.mean(axis=1)
        return middles, np.linalg.norm(self.corners - middles[:, None], axis=2).max(axis=1)

    def probes(self) -> Array:
        """Points `(P, 3)` to compare with another surface: some of the samples, and corners, where small parts end."""
        corners = self.corners.reshape(-1, 3)
        return np.concatenate([points[:: max(1, len(points) // PROBES)] for points in (self.samples, corners)])

    def farthest(self, points: Array, *, enough: float = 0.0, most: float = np.inf) -> float:
        """Distance from this surface of that of the points `(P, 3)` which is farthest from it.

        A mesh's triangles near the nearest samples bound each distance from above. The exact ones are measured from
        the largest bound down, until none that is left can be the largest.

        Args:
            points: To measure.
            enough: A bound of at most this much is taken as it is.
            most: The first distance beyond this one is returned.
        """
        if not len(self.corners):
            return float(np.max(self.tree.query(points)[0]))
        bounds, largest = self._nearest(points, NEAR), 0.0
        far = int(bounds.argmax())
        if bounds[far] > most and (exact := self._exact(points[far], bounds[far])) > most:
            return exact
        if (loose := bounds > enough).any():
            bounds[loose] = self._nearest(points[loose], FAR)
        for i in np.argsort(-bounds, kind="stable"):
            if largest > most:
                break
            if bounds[i] <= max(largest, enough):
                return float(max(largest, bounds[i]))
            largest = max(largest, self._exact(points[i], bounds[i]))
        return largest

    def _exact(self, point: Array, bound: float) -> float:
        """Distance from a point `(3,)` of the nearest triangle, of which one is known to lie within `bound`."""
        middles, radii = self._spheres
        near = np.linalg.norm(middles - point, axis=1) - radii <= bound * (1 + 1e-9)
        return float(_gaps(self.corners[near], np.broadcast_to(point, (int(near.sum()), 3))).min())

    def _nearest(self, points: Array, count: int) -> Array:
        """Distance of each of `points (P, 3)` from the triangles of its nearest anchors."""
        tree, faces = self._anchors
        count = min(count, len(faces))
        index = np.asarray(tree.query(points, k=count)[1]).reshape(-1)  # (P * k,)
        gaps = _gaps(self.corners[faces[index]], np.repeat(points, count, axis=0))
        return np.asarray(gaps.reshape(len(points), count).min(axis=1))


def _gaps(triangles: Array, points: Array) -> Array:
    """Distances `(n,)` of points `(n, 3)` from triangles `(n, 3, 3)`."""
    from trimesh.triangles import closest_point

    nearest = closest_point(triangles, points)  # type: ignore[no-untyped-call]
    gaps = np.asarray(np.linalg.norm(nearest - points, axis=1))
    return np.where(np.isnan(gaps), np.inf, gaps)  # of a triangle so thin that its normal is lost


def of_mesh(vertices: Array, faces: NDArray[np.int64]) -> Surface:
    """The surface of a mesh, from `(V, 3)` vertices and `(F, 3)` faces.

    With A the area of a triangle, v its corners and s their sum, its moments about the origin are
    ∫ x dA = A s / 3 and ∫ x xᵀ dA = A (Σ v vᵀ + s sᵀ) / 12.

    Raises:
        InputError: The faces cannot be used.
    """
    weights = areas(vertices, faces)  # (F,)
    corners = np.asarray(vertices, np.float64)[faces[weights > 0]]  # (F, 3, 3)
    weights = weights[weights > 0] / weights.sum()
    corners = corners - weights @ corners.mean(axis=1)
    sums = corners.sum(axis=1)  # (F, 3)
    moment = np.einsum("f,fci,fcj->ij", weights, corners, corners) + np.einsum("f,fi,fj->ij", weights, sums, sums)
    moment /= 12
    corners = corners / np.sqrt(np.trace(moment))
    samples, index = sample_surface(corners.reshape(-1, 3), _flat(corners), count=SAMPLES, rng=np.random.default_rng(0))
    return _surface(corners, samples.astype(np.float64), index, moment)


def _flat(corners: Array) -> NDArray[np.int64]:
    return np.arange(3 * len(corners)).reshape(-1, 3)


def of_cloud(points: Array) -> Surface:
    """A cloud `(N, 3)` as a surface: nothing but its points."""
    centred = np.asarray(points, np.float64)
    centred = centred - centred.mean(axis=0)
    moment = centred.T @ centred / len(centred)
    size = np.sqrt(np.trace(moment))
    samples = centred / (size if size > 0 else 1)
    return _surface(np.empty((0, 3, 3)), samples, np.zeros(len(samples), np.int64), moment)


def _surface(corners: Array, samples: Array, faces: NDArray[np.int64], moment: Array) -> Surface:
    values, vectors = np.linalg.eigh(moment)  # ascending
    total = values.sum()
    return Surface(corners, samples, faces, values[::-1] / (total if total > 0 else 1), vectors.T[::-1])


def surface_distance(
    a: Surface, b: Surface, *, turn: Array | None = None, enough: float = 0.0, most: float = np.inf
) -> float:
    """The largest distance of a point of either surface from the other (Hausdorff), in units of their common size.

    Args:
        a: One surface.
        b: The other.
        turn: `(3, 3)` orthogonal, moves `a` onto `b`; None leaves it as it is.
        enough: Distances up to this one need not be as small as they could be.
        most: Distances beyond this one need not be as large as they are.
    """
    turn = np.eye(3) if turn is None else turn
    probes, back = a.probes() @ turn.T, b.probes() @ turn
    if most < np.inf and (few := b.farthest(probes[::FEW], most=most)) > most:
        return few
    there = b.farthest(probes, enough=enough, most=most)
    return there if there > most else max(there, a.farthest(back, enough=enough, most=most))
