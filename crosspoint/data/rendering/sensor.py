"""Scans a mesh as a depth camera or a LiDAR does: keeps the first point that each ray meets."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.data.rendering.raycast import Solid, camera, cast

DISTANCES = {"camera": 3.0, "lidar": 8.0}  # default by pattern, in radii of the object
RING = np.radians(0.4)  # between the beams of a LiDAR: the HDL-64E has 64 of them over 26.9°
MARGIN = 1.1  # rays that must meet the mesh, per point asked for
MOST_RAYS = 1 << 22
BESIDE = 1e-6  # radians; where a ray may have slipped through between two faces, its neighbours do not
NEARER = 1e-6  # of the distance: a face this much nearer than a point hides it

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Sensor:
    """A depth camera or a LiDAR.

    Attributes:
        pattern: `camera`: rays through a grid of square pixels. `lidar`: rings, beams at fixed elevations `RING` apart
            that turn about the vertical.
        distance: Distance from the object's centre, in radii of its bounding sphere.
        noise: c in the standard deviation of depth, σ = c z², with depth z and σ in radii of the object.
    """

    pattern: str
    distance: float
    noise: float = 0.0


@dataclass(frozen=True)
class Scan:
    """A scan, in the frame and unit of the mesh.

    Attributes:
        points: (N, 3) float64.
        pose: (4, 4), maps the sensor's frame to the mesh's; the sensor looks along −z, y is up.
    """

    points: Array
    pose: Array


def scan_mesh(
    mesh: Solid, sensor: Sensor, *, azimuth: float, elevation: float, points: int, rng: np.random.Generator
) -> Scan | None:
    """Scan a mesh from one viewpoint.

    The rays are set as densely as `points` hits need: a camera's pixels in both directions, a LiDAR's along its rings.
    Depth noise moves a point along its ray by N(0, σ²) with σ = c z². For a camera that measures disparity z is the
    depth along its axis (Khoshelham and Oude Elberink, 2012, "Accuracy and resolution of Kinect depth data": c is
    1.4e-3 per metre times the object's radius in metres). For a LiDAR z is the range: the error of a pulse's time is
    inversely proportional to the power that comes back, which falls with the square of the range (Wehr and Lohr, 1999,
    "Airborne laser scanning").

    Args:
        mesh: The mesh, from `solid`.
        sensor: The sensor.
        azimuth: Direction of the sensor, in radians from +z towards +x.
        elevation: Above the horizon, in radians; y is up.
        points: N.
        rng: Random generator of the rays' phase, the choice among the hits, and the noise.

    Returns:
        The scan; None if `MOST_RAYS` rays do not give N points.
    """
    axes = camera(azimuth, elevation)  # right, up, backwards
    eye = sensor.distance * axes[2]
    if sensor.pattern == "lidar":
        axes = camera(azimuth, 0.0)  # it stands upright
    window = _window(mesh, sensor, eye, axes)
    phase, step, wanted = rng.random(2), _first_step(sensor, window, 2 * points), MARGIN * points
    while True:
        directions = _rays(sensor, axes, window, step, phase)
        if directions is None:
            return None
        face = cast(mesh, directions.astype(np.float32), eye=eye)  # (R,), −1 for none
        hits = int((face >= 0).sum())
        found = _first_points(mesh, eye, directions, face) if hits >= wanted else np.empty((0, 3))
        if len(found) >= points:
            break
        share = np.clip(hits / wanted, 1 / 64, 0.9)
        step *= share if sensor.pattern == "lidar" else np.sqrt(share)
    found = found[rng.choice(len(found), points, replace=False)]
    if sensor.noise > 0:
        rays = found - eye
        depth = np.linalg.norm(rays, axis=1) if sensor.pattern == "lidar" else -rays @ axes[2]  # (N,)
        found = eye + rays * (1 + sensor.noise * depth * rng.standard_normal(points))[:, None]
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = axes.T, eye * mesh.radius + mesh.centre
    return Scan(found * mesh.radius + mesh.centre, pose)


def _window(mesh: Solid, sensor: Sensor, eye: Array, axes: Array) -> Array:
    """Bounds of the object in the sensor's view, (2, 2): lowest and highest x and y, for a LiDAR yaw and pitch.

    A camera's x and y are at depth 1. For a LiDAR the bounding sphere is used.
    """
    if sensor.pattern == "camera":
        seen = (mesh.corners.reshape(-1, 3) - eye) @ axes.T  # (3 F, 3): right, up, backwards
        plane = seen[:, :2] / -seen[:, 2:]
        return np.stack([plane.min(0), plane.max(0)])
    half = np.arcsin(1 / sensor.distance)
    middle = -np.arcsin(eye[1] / sensor.distance)
    wide = np.sin(half) / np.cos(middle)
    turn = np.arcsin(wide) if wide < 1 else np.pi
    return np.array([[-turn, middle - half], [turn, middle + half]])


def _first_step(sensor: Sensor, window: Array, count: int) -> float:
    """Step between rays for about `count` rays in the window."""
    width, height = window[1] - window[0]
    step = width * height / RING / count if sensor.pattern == "lidar" else np.sqrt(width * height / count)
    return float(max(step, 1e-5))


def _rays(sensor: Sensor, axes: Array, window: Array, step: float, phase: Array) -> Array | None:
    """Directions (R, 3) of the rays in the window; None if they are more than `MOST_RAYS`."""
    steps = np.array([step, RING if sensor.pattern == "lidar" else step])
    if np.prod((window[1] - window[0]) / steps + 1) > MOST_RAYS:
        return None
    grids = [_grid(window[0, i], window[1, i], steps[i], phase[i]) for i in (0, 1)]
    across, along = (grid.reshape(-1, 1) for grid in np.meshgrid(*grids))  # each (R, 1)
    directions: Array = across * axes[0] + along * axes[1] - axes[2]
    if sensor.pattern == "lidar":
        directions = np.cos(along) * (np.sin(across) * axes[0] - np.cos(across) * axes[2]) + np.sin(along) * axes[1]
    return directions


def _grid(low: float, high: float, step: float, phase: float) -> Array:
    """Multiples of `step`, shifted by `phase` steps, from `low` to `high`."""
    return (np.arange(np.ceil(low / step - phase), np.floor(high / step - phase) + 1) + phase) * step


def _first_points(mesh: Solid, eye: Array, directions: Array, face: Array) -> Array:
    """Points where rays meet the faces (R,) that Embree found: (hits, 3) float64; hidden points are removed."""
    hit = np.flatnonzero(face >= 0)
    length, inside = _meet(mesh.corners[face[hit]], eye, directions[hit])
    points = eye + directions[hit][inside] * length[inside][:, None]
    free: Array = points[_visible(mesh, eye, points)]
    return free


def _visible(mesh: Solid, eye: Array, points: Array) -> npt.NDArray[np.bool_]:
    """Which points (N, 3) no face hides from the eye.

    Embree computes in float32, in which a ray can slip through between two faces. So the faces that a ray and its four
    neighbours meet are compared with the point in float64.
    """
    rays = points - eye  # (N, 3)
    side = np.cross(rays, np.eye(3)[np.abs(rays).argmin(axis=1)])
    side *= (BESIDE * np.linalg.norm(rays, axis=1) / np.linalg.norm(side, axis=1))[:, None]
    other = np.cross(rays, side) / np.linalg.norm(rays, axis=1, keepdims=True)
    free = np.ones(len(points), np.bool_)
    for beside in (np.zeros(3), side, -side, other, -other):
        face = cast(mesh, (rays + beside).astype(np.float32), eye=eye)
        length, inside = _meet(mesh.corners[face], eye, rays)  # of face −1, which is none, the result is not used
        free &= (face < 0) | ~inside | (length > 1 - NEARER)
    return free


def _meet(corners: Array, eye: Array, rays: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Intersect each ray from `eye` with one face (Möller and Trumbore, 1997), in float64.

    Args:
        corners: (R, 3, 3).
        eye: (3,).
        rays: (R, 3), of any length.

    Returns:
        (R,) t of the intersection `eye + t ray`, and whether it lies in the face, edges included.
    """
    a, b, c = corners.transpose(1, 0, 2)  # each (R, 3)
    across = np.cross(rays, c - a)
    volume = np.einsum("ri,ri->r", across, b - a)
    safe = np.where(volume == 0, 1, volume)
    u = np.einsum("ri,ri->r", across, eye - a) / safe
    turned = np.cross(eye - a, b - a)
    v = np.einsum("ri,ri->r", rays, turned) / safe
    t = np.einsum("ri,ri->r", c - a, turned) / safe
    inside = (volume != 0) & (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (t > 0)
    return t, inside


def check_sensor(sensor: Sensor) -> None:
    """Raise InputError if the pattern is unknown, or the distance or the noise is out of range."""
    if sensor.pattern not in DISTANCES:
        raise InputError(f"pattern is {sensor.pattern!r}; it must be {' or '.join(DISTANCES)}")
    if not 1.05 <= sensor.distance <= 1000:
        raise InputError(
            f"distance is {sensor.distance:g}; it must be 1.05 to 1000 radii of the object, from its centre"
        )
    if not 0 <= sensor.noise <= 1:
        raise InputError(f"noise is {sensor.noise:g}; it must be 0 to 1")
