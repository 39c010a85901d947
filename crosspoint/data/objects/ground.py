"""Height above the ground: a plane by RANSAC, bent into a smooth surface through what lies near it.

All is done on a map seen from above, of the lowest point in each of its cells. The plane is that with the most cells on
it (Fischler and Bolles, 1981). Ground is seldom a plane over 100 m, so a surface g follows, on a coarser map:

    minimise  Σ w (z − g)² + STIFFNESS · Σ (second differences of g)²,   w = 1 where |z − g| ≤ tolerance, else 0

which is repeated with the weights of the last g (iteratively reweighted least squares). Where nothing is seen, g goes
on smoothly, and a table or a car roof has no weight.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import require

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

TRIPLES = 1000  # planes that are tried; where 3 in 10 cells are ground, all miss it once in 10¹²
STEEPEST = np.tan(np.deg2rad(15.0))  # of the plane, against the up axis
CLEAR = 4  # cells that a bare piece of ground has nothing above it
BARE = 0.1  # least share of cells that are bare ground
COARSE, MOST_COARSE = 4, 100  # cells of the map of g: side in fine cells, and most of them along a side
STIFFNESS = 10.0
ROUNDS = 12


class _Cells(NamedTuple):
    """Cells of the map: position of the lowest point `(M, 2)`, its height `(M,)`, and the cell of each point `(V,)`."""

    plan: Floats
    lowest: Floats
    of_point: npt.NDArray[np.int64]


def height_above_ground(points: Floats, *, cell: float, tolerance: float) -> Floats | None:
    """Height of each point above the ground.

    Args:
        points: (V, 3), y-up.
        cell: Side of the cells of the map, in metres.
        tolerance: How far ground may lie from its surface, in metres.

    Returns:
        (V,) metres, negative below the ground; None if there is no ground: no plane within 15 degrees of level holds
        at least as many cells as lie below it and is bare, with nothing above it, in a tenth of all cells.

    Raises:
        MissingDependency: scipy is not installed.
    """
    require("scipy.sparse.linalg", "objects", purpose="finding the ground")
    plan, height = points[:, [0, 2]] - points[:, [0, 2]].mean(axis=0), points[:, 1]
    cells = _lowest_in_cells(plan, height, cell)
    plane = _find_plane(cells, tolerance)
    if plane is None:
        return None
    above = height - _on_plane(plane, plan)
    if _bare(cells, above, tolerance, CLEAR * cell) < BARE * len(cells.lowest):
        return None
    rest = cells.lowest - _on_plane(plane, cells.plan)
    bend = _GroundSurface(plan, cell)
    bend.fit(cells.plan, rest, tolerance)
    return np.asarray(above - bend(plan))


def _lowest_in_cells(plan: Floats, height: Floats, cell: float) -> _Cells:
    places = np.floor((plan - plan.min(axis=0)) / cell).astype(np.int64)  # (V, 2)
    key = places[:, 0] * (places[:, 1].max() + 1) + places[:, 1]
    _, of_point = np.unique(key, return_inverse=True)
    order = np.lexsort((height, of_point))
    first = order[np.searchsorted(of_point[order], np.arange(of_point.max() + 1))]  # the lowest of each cell
    return _Cells(plan[first], height[first], of_point)


def _find_plane(cells: _Cells, tolerance: float) -> Floats | None:
    """Coefficients (a, b, c) of the ground plane: height = a x + b z + c."""
    if len(cells.lowest) < 3:
        return None
    rng = np.random.default_rng(0)
    triples = rng.integers(0, len(cells.lowest), (TRIPLES, 3))
    corners = np.concatenate([cells.plan[triples], np.ones((TRIPLES, 3, 1))], axis=-1)  # (T, 3, 3)
    sound = np.abs(np.linalg.det(corners)) > 1e-9
    planes = np.linalg.solve(corners[sound], cells.lowest[triples][sound][..., None])[..., 0]  # (T', 3)
    planes = planes[np.hypot(planes[:, 0], planes[:, 1]) <= STEEPEST]
    best, most = None, 0
    for plane in planes:
        rest = cells.lowest - _on_plane(plane, cells.plan)
        on, below = int((np.abs(rest) <= tolerance).sum()), int((rest < -tolerance).sum())
        if on > most and on >= below:
            best, most = plane, on
    return None if best is None else _refine(best, cells, tolerance)


def _refine(plane: Floats, cells: _Cells, tolerance: float) -> Floats:
    """Least squares through the cells on a plane."""
    design = np.concatenate([cells.plan, np.ones((len(cells.plan), 1))], axis=1)  # (M, 3)
    on = np.abs(cells.lowest - _on_plane(plane, cells.plan)) <= tolerance
    fitted = np.linalg.lstsq(design[on], cells.lowest[on], rcond=None)[0]
    return np.asarray(fitted) if np.hypot(fitted[0], fitted[1]) <= STEEPEST else plane


def _on_plane(plane: Floats, plan: Floats) -> Floats:
    return np.asarray(plan @ plane[:2] + plane[2])


def _bare(cells: _Cells, above: Floats, tolerance: float, clear: float) -> int:
    """Number of cells with a point on the plane and none between it and `clear` above it."""
    count = len(cells.lowest)
    on = np.bincount(cells.of_point, weights=np.abs(above) <= tolerance, minlength=count) > 0
    covered = np.bincount(cells.of_point, weights=(above > tolerance) & (above <= clear), minlength=count) > 0
    return int((on & ~covered).sum())


class _GroundSurface:
    """A smooth surface on a grid, zero until it is fitted; evaluated between the nodes by bilinear interpolation.

    Args:
        plan: (V, 2), what it has to cover.
        cell: Side of a fine cell, in metres.
    """

    def __init__(self, plan: Floats, cell: float) -> None:
        self._low = plan.min(axis=0)
        extent = plan.max(axis=0) - self._low
        self._side = max(COARSE * cell, float(extent.max()) / MOST_COARSE)
        self._shape = tuple((np.floor(extent / self._side).astype(int) + 2).tolist())
        self._nodes = np.zeros(self._shape)

    def __call__(self, plan: Floats) -> Floats:
        """Values (V,) at positions (V, 2)."""
        corners, weights = self._corners(plan)
        return np.asarray((self._nodes.reshape(-1)[corners] * weights).sum(axis=0))

    def fit(self, plan: Floats, heights: Floats, tolerance: float) -> None:
        """Follow the heights (M,) at positions (M, 2) that lie within `tolerance` of it."""
        from scipy.sparse import csc_matrix, diags_array
        from scipy.sparse.linalg import spsolve

        corners, weights = self._corners(plan)  # (4, M)
        rows = np.broadcast_to(np.arange(len(plan)), corners.shape)
        design = csc_matrix(
            (weights.ravel(), (rows.ravel(), corners.ravel())), shape=(len(plan), self._nodes.size)
        )  # (M, nodes)
        smooth = STIFFNESS * _bending(self._shape) + 1e-6 * diags_array(np.ones(self._nodes.size))
        before = np.zeros(len(plan), bool)
        for _ in range(ROUNDS):
            near = np.abs(heights - design @ self._nodes.reshape(-1)) <= tolerance
            if (near == before).all():
                break
            chosen, before = design[near], near
            normal = csc_matrix(chosen.T @ chosen + smooth)
            self._nodes = np.asarray(spsolve(normal, chosen.T @ heights[near])).reshape(self._shape)

    def _corners(self, plan: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
        """The four nodes around each position, and their weights: both (4, V)."""
        place = (plan - self._low) / self._side
        base = np.minimum(np.floor(place).astype(np.int64), np.array(self._shape) - 2)
        (fx, fy), width = (place - base).T, self._shape[1]
        first = base[:, 0] * width + base[:, 1]
        corners = np.stack([first, first + 1, first + width, first + width + 1])
        return corners, np.stack([(1 - fx) * (1 - fy), (1 - fx) * fy, fx * (1 - fy), fx * fy])


def _bending(shape: tuple[int, ...]) -> "csc_matrix":
    """The matrix B with g B g = sum of all squared second differences of g along both axes and across them."""
    from scipy.sparse import csc_matrix, eye_array, kron

    ones = [eye_array(count) for count in shape]
    first, second = ([_differences(count, order) for count in shape] for order in (1, 2))
    terms = [kron(second[0], ones[1]), kron(ones[0], second[1]), np.sqrt(2.0) * kron(first[0], first[1])]
    return csc_matrix(sum(term.T @ term for term in terms))


def _differences(count: int, order: int) -> "csc_matrix":
    """Differences of neighbouring values as a matrix (count − order, count)."""
    from scipy.sparse import csc_matrix

    return csc_matrix(np.diff(np.eye(count), order, axis=0))
