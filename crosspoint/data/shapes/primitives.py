"""The solids of which parametric shapes are built: closed triangle meshes with outward normals, y up."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Point = Sequence[float] | Array
Size = tuple[float, float, float]
"""Width, height and depth, along x, y and z."""
ORIGIN = (0.0, 0.0, 0.0)
SQUARE = np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)]) / 2  # in x and z
BOX_FACES = np.array(  # of the corners of SQUARE at the bottom, then at the top
    [(0, 2, 1), (0, 3, 2), (4, 5, 6), (4, 6, 7)]
    + [face for i, j in ((0, 1), (1, 2), (2, 3), (3, 0)) for face in ((i, j, j + 4), (i, j + 4, i + 4))]
)


class Mesh(NamedTuple):
    """A closed triangle mesh: `vertices` (V, 3) and `faces` (F, 3), counter-clockwise seen from outside."""

    vertices: Array
    faces: NDArray[np.int64]

    def at(self, point: Point) -> "Mesh":
        """The mesh moved by (x, y, z)."""
        return Mesh(self.vertices + np.array(point), self.faces)

    def turn(self, axis: str, degrees: float) -> "Mesh":
        """The mesh turned about the `"x"`, `"y"` or `"z"` axis through the origin, right-handed."""
        angle = np.deg2rad(degrees)
        first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
        turned = self.vertices.copy()
        turned[:, first] = np.cos(angle) * self.vertices[:, first] - np.sin(angle) * self.vertices[:, second]
        turned[:, second] = np.sin(angle) * self.vertices[:, first] + np.cos(angle) * self.vertices[:, second]
        return Mesh(turned, self.faces)

    def scale(self, factors: Point) -> "Mesh":
        """The mesh stretched along x, y and z; a negative product (a mirror image) keeps its normals outward."""
        faces = self.faces if math.prod(factors) > 0 else self.faces[:, ::-1]
        return Mesh(self.vertices * np.array(factors), faces)

    def mirrored(self) -> "tuple[Mesh, Mesh]":
        """The mesh and its mirror image in the plane x = 0: a left and a right wing, arm or wheel."""
        return self, self.scale((-1, 1, 1))


def solid(vertices: ArrayLike, faces: ArrayLike) -> Mesh:
    """Merge equal vertices, drop faces without area, and turn all faces outward.

    Args:
        vertices: (V, 3).
        faces: (F, 3), wound consistently, closed; the sign of the enclosed volume tells inside from outside.
    """
    rounded = np.round(np.asarray(vertices, np.float64), 9) + 0.0  # +0.0 turns -0 into 0
    merged, inverse = np.unique(rounded, axis=0, return_inverse=True)
    triangles = inverse.reshape(-1)[np.asarray(faces, np.int64)]  # (F, 3)
    a, b, c = (merged[triangles[:, corner]] for corner in range(3))
    normals = np.cross(b - a, c - a)  # (F, 3)
    keep = np.linalg.norm(normals, axis=1) > 1e-12
    volume = np.einsum("fi,fi->", a - merged.mean(axis=0), normals)  # six times the enclosed volume
    triangles = triangles[keep]
    return Mesh(merged, triangles if volume > 0 else triangles[:, ::-1])


def loft(rings: ArrayLike, closed: bool = False) -> Mesh:
    """A skin over a row of rings, as over the ribs of a boat.

    Args:
        rings: (S, n, 3), S rings of n corners each; a ring whose corners coincide is a tip.
        closed: Join the last ring to the first (a torus); otherwise both ends are closed by a fan.
    """
    ribs = np.asarray(rings, np.float64)
    count, sides = ribs.shape[:2]
    index = np.arange(count * sides).reshape(count, sides)
    low, high = (index, np.roll(index, -1, axis=0)) if closed else (index[:-1], index[1:])
    a, b, c, d = low, np.roll(low, -1, axis=1), np.roll(high, -1, axis=1), high
    faces = [np.stack((a, b, c), axis=-1).reshape(-1, 3), np.stack((a, c, d), axis=-1).reshape(-1, 3)]
    vertices = [ribs.reshape(-1, 3)]
    if not closed:
        first, last = np.full(sides, index.size), np.full(sides, index.size + 1)
        faces.append(np.stack((first, np.roll(index[0], -1), index[0]), axis=-1))
        faces.append(np.stack((last, index[-1], np.roll(index[-1], -1)), axis=-1))
        vertices.append(ribs[[0, -1]].mean(axis=1))
    return solid(np.concatenate(vertices), np.concatenate(faces))


def circle(sides: int, start: float = 0.0, *, stop: float = 360.0, end: bool = False) -> Array:
    """`sides` points of the unit circle between two angles in degrees, the last one only if `end`: (sides, 2)."""
    angles = np.deg2rad(np.linspace(start, stop, sides, endpoint=end))
    return np.stack((np.cos(angles), np.sin(angles)), axis=1)


def oval(width: float, depth: float, *, power: float = 2.0, sides: int = 24) -> Array:
    """A superellipse |x/a|^p + |z/b|^p = 1 of width 2a and depth 2b: (sides, 2); p = 2 an ellipse, p = 6 a soft box."""
    corners = circle(sides)
    return np.sign(corners) * np.abs(corners) ** (2.0 / power) * (width / 2, depth / 2)


def level(ring: Array, y: float) -> Array:
    """A ring (n, 2) in x and z, laid flat at height y: (n, 3)."""
    return np.stack((ring[:, 0], np.full(len(ring), y), ring[:, 1]), axis=1)


def smooth(points: ArrayLike, count: int = 24) -> Array:
    """A curve of `count` points through (P, D) control points that never overshoots (monotone cubics)."""
    from scipy.interpolate import PchipInterpolator

    knots = np.asarray(points, np.float64)
    length = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))))
    return np.asarray(PchipInterpolator(length, knots)(np.linspace(0, length[-1], count)))


def taper(bottom: tuple[float, float], top: tuple[float, float], *, height: float, at: Point = ORIGIN) -> Mesh:
    """A box whose (width, depth) changes from `bottom` to `top`; `at` is the centre of its bottom face."""
    low, high = (level(SQUARE * size, y) for size, y in ((bottom, 0.0), (top, height)))
    return Mesh(np.concatenate((low, high)) + np.array(at), BOX_FACES)


def box(size: Size, at: Point = ORIGIN) -> Mesh:
    """A box; `at` is the centre of its bottom face."""
    width, height, depth = size
    return taper((width, depth), (width, depth), height=height, at=at)


def rounded_box(size: Size, radius: float, *, at: Point = ORIGIN) -> Mesh:
    """A box with all edges rounded, as a cushion; `at` is the centre of its bottom face."""
    width, height, depth = size
    radius = min(radius, 0.49 * min(size))
    offsets = [(s * (width / 2 - radius), t * (depth / 2 - radius)) for s, t in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
    arcs = [circle(4, 90 * k, stop=90 * k + 90, end=True) for k in range(4)]
    rings = []
    for cosine, sine in circle(8, -90, stop=90, end=True):
        middle = radius if sine < 0 else height - radius
        ring = np.concatenate([radius * cosine * arc + offset for arc, offset in zip(arcs, offsets, strict=True)])
        rings.append(level(ring, middle + radius * sine))
    return loft(rings).at(at)


def lathe(profile: ArrayLike, sides: int = 24, *, closed: bool = False, at: Point = ORIGIN) -> Mesh:
    """A profile (P, 2) of radius and height turned about the y axis; `closed` joins its two ends (a ring)."""
    outline = np.asarray(profile, np.float64)
    around = circle(sides)  # (sides, 2)
    return loft([level(radius * around, height) for radius, height in outline], closed).at(at)


def hollow(profile: ArrayLike, wall: float, *, sides: int = 24, at: Point = ORIGIN) -> Mesh:
    """A vessel: the outer profile (P, 2), from the bottom to the rim, and an inner wall at the distance `wall`."""
    outer = np.asarray(profile, np.float64)
    inner = np.stack((outer[:, 0] - wall, np.maximum(outer[:, 1], outer[0, 1] + wall)), axis=1)
    inner[-1, 1] = outer[-1, 1]
    inner = np.maximum(inner, (0, -np.inf))[::-1]
    return lathe(np.concatenate(([(0.0, outer[0, 1])], outer, inner, [(0.0, inner[-1, 1])])), sides, at=at)


def tube(path: ArrayLike, radius: ArrayLike, *, sides: int = 10, closed: bool = False) -> Mesh:
    """A round tube along a path (S, 3); `radius` is one number or one per point; ends are flat."""
    points = np.asarray(path, np.float64)
    radii = np.broadcast_to(np.asarray(radius, np.float64), len(points))
    if closed:
        tangents = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
    else:
        tangents = np.gradient(points, axis=0)
    tangents = tangents / np.linalg.norm(tangents, axis=1, keepdims=True)
    normal = np.eye(3)[np.argmin(np.abs(tangents[0]))]
    around = circle(sides)  # (sides, 2)
    rings = []
    for point, tangent, size in zip(points, tangents, radii, strict=True):
        normal = normal - (normal @ tangent) * tangent  # carried along the path without twisting
        normal = normal / np.linalg.norm(normal)
        rings.append(point + size * around @ np.stack((normal, np.cross(tangent, normal))))
    return loft(rings, closed)


def rod(start: Point, end: Point, *, radius: float, end_radius: float | None = None, sides: int = 12) -> Mesh:
    """A straight round rod between two points, a cone where `end_radius` differs."""
    return tube(np.array([start, end], np.float64), [radius, radius if end_radius is None else end_radius], sides=sides)


def disc(radius: float, height: float, *, at: Point = ORIGIN, sides: int = 24) -> Mesh:
    """A flat cylinder that stands on `at`."""
    return lathe([(radius, 0), (radius, height)], sides, at=at)


def wheel(radius: float, width: float, *, at: Point = ORIGIN, sides: int = 20) -> Mesh:
    """A disc with rounded edges whose axle lies along x; `at` is its centre."""
    bevel = 0.25 * min(radius, width)
    half = width / 2
    profile = [(radius - bevel, -half), (radius, -half + bevel), (radius, half - bevel), (radius - bevel, half)]
    return lathe(profile, sides).turn("z", 90).at(at)


def torus(radius: float, thickness: float, *, at: Point = ORIGIN, sides: int = 24) -> Mesh:
    """A ring lying flat around the y axis; `thickness` is the radius of its tube, `at` its centre."""
    return lathe(circle(10) * thickness + (radius, 0), sides, closed=True, at=at)


def ellipsoid(axes: Size, at: Point = ORIGIN, *, sides: int = 20) -> Mesh:
    """An ellipsoid with half axes along x, y and z and centre `at`."""
    return lathe(circle(11, -90, stop=90, end=True), sides).scale(axes).at(at)


def extrude(outline: ArrayLike, depth: float) -> Mesh:
    """A simple polygon (n, 2) in x and y, counter-clockwise or not, given a thickness along z, centred on z = 0."""
    polygon = np.asarray(outline, np.float64)
    count = len(polygon)
    cap = triangulate(polygon)
    front, back = (np.column_stack((polygon, np.full(count, z))) for z in (depth / 2, -depth / 2))
    here, following = np.arange(count), np.roll(np.arange(count), -1)
    if _area(polygon) < 0:
        here, following = following, here
    sides = [np.stack((here + count, following + count, following), axis=1)]
    sides.append(np.stack((here + count, following, here), axis=1))
    return solid(np.concatenate((front, back)), np.concatenate([cap, cap[:, ::-1] + count, *sides]))


def _area(polygon: Array) -> float:
    x, y = polygon.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def triangulate(polygon: Array) -> NDArray[np.int64]:
    """Cut a simple polygon (n, 2) into n - 2 counter-clockwise triangles by clipping ears: (n - 2, 3)."""
    left = list(range(len(polygon)))
    if _area(polygon) < 0:
        left.reverse()
    triangles = []
    while len(left) > 3:
        place = next((k for k in range(len(left)) if _is_ear(polygon, left, k)), 0)
        triangles.append((left[place - 1], left[place], left[(place + 1) % len(left)]))
        del left[place]
    return np.array([*triangles, tuple(left)], np.int64)


def _is_ear(polygon: Array, left: list[int], place: int) -> bool:
    corners = left[place - 1], left[place], left[(place + 1) % len(left)]
    a, b, c = polygon[list(corners)]
    if _turn(a, b, c[None])[0] <= 1e-12:
        return False
    others = polygon[[k for k in left if k not in corners]]
    inside = (_turn(a, b, others) >= 0) & (_turn(b, c, others) >= 0) & (_turn(c, a, others) >= 0)
    return not inside.any()


def _turn(a: Array, b: Array, points: Array) -> Array:
    """Twice the signed area of the triangles (a, b, point): positive where `points` (n, 2) lie left of a → b."""
    return np.asarray((b[0] - a[0]) * (points[:, 1] - a[1]) - (b[1] - a[1]) * (points[:, 0] - a[0]))


def sheet(path: ArrayLike, thickness: float, *, height: float) -> Mesh:
    """A curved wall: a path (S, 2) in x and z, given a thickness to both sides and a height from y = 0."""
    line = np.asarray(path, np.float64)
    tangents = np.gradient(line, axis=0)
    normals = np.stack((-tangents[:, 1], tangents[:, 0]), axis=1)
    normals *= thickness / 2 / np.linalg.norm(normals, axis=1, keepdims=True)
    a, b = line + normals, line - normals
    return loft(
        [
            [(p[0], 0, p[1]), (q[0], 0, q[1]), (q[0], height, q[1]), (p[0], height, p[1])]
            for p, q in zip(a, b, strict=True)
        ]
    )


def fin(root: float, tip: float, *, span: float, sweep: float, thickness: float, power: float = 2.0) -> Mesh:
    """A wing along +x: chords `root` and `tip` along z (front at +z), the tip moved back by `sweep`, nose rounded."""
    rings = []
    for share in np.linspace(0, 1, 5):
        chord, x = root + (tip - root) * share**power, span * share
        along = np.array([0.5, 0.42, 0.2, -0.5, 0.2, 0.42]) * chord
        up = np.array([0.0, 0.6, 1.0, 0.02, -1.0, -0.6]) * thickness / 2 * chord / root
        rings.append(np.stack((np.full(6, x), up, along - sweep * share + (root - chord) * 0.25), axis=1))
    return loft(rings)
