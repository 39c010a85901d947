"""Scans against a slow reference that compares every ray with every face in float64."""

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.rendering import sensor as module
from crosspoint.data.rendering.raycast import solid
from crosspoint.data.rendering.sensor import RING, Sensor, check_sensor, scan_mesh

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("embreex")


def soup(seed, count=60):
    """Small triangles all over the unit cube: nearly everything hides something."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(-1, 1, (count, 1, 3)) + rng.normal(scale=0.35, size=(count, 3, 3))
    return corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)


def closed(mesh):
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


MESHES = {
    "soup": soup(0),
    "torus": closed(trimesh.creation.torus(1.0, 0.3, major_sections=24, minor_sections=12)),
    "boxes": closed(
        trimesh.util.concatenate([trimesh.creation.box(bounds=[[i, 0, 0], [i + 0.4, 1, 1]]) for i in range(4)])
    ),
    "far away": (soup(1)[0] + [3e5, 0, 5e6], soup(1)[1]),
    "sheet": (np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.0]]), np.array([[0, 1, 2], [0, 2, 3]])),
}


def first_hits(vertices, faces, eye, towards):
    """Where the segment from `eye` to each point is first met, in shares of its length; inf where it is not."""
    found = np.full(len(towards), np.inf)
    rays = towards - eye
    for a, b, c in np.asarray(vertices, np.float64)[faces]:
        normal = np.cross(b - a, c - a)
        with np.errstate(divide="ignore", invalid="ignore"):
            t = normal @ (a - eye) / (rays @ normal)
            at = eye + t[:, None] * rays
            edges = [np.cross(q - p, at - p) @ normal for p, q in ((a, b), (b, c), (c, a))]
            met = (t > 0) & (np.min(edges, axis=0) >= 0)
        found[met] = np.minimum(found, t)[met]
    return found


def scan(name, pattern="camera", distance=2.5, noise=0.0, points=60, seed=3, elevation=0.4):
    mesh = solid(*MESHES[name])
    rng = np.random.default_rng(seed)
    sensor = Sensor(pattern, distance, noise)
    found = scan_mesh(mesh, sensor, azimuth=0.7, elevation=elevation, points=points, rng=rng)
    assert found is not None
    return mesh, found


@pytest.mark.parametrize("distance", [1.2, 2.5, 10])
@pytest.mark.parametrize("pattern", ["camera", "lidar"])
@pytest.mark.parametrize("name", MESHES)
def test_no_point_of_a_noiseless_scan_is_hidden_or_off_the_surface(name, pattern, distance):
    vertices, faces = MESHES[name]
    _, found = scan(name, pattern, distance)
    assert found.points.shape == (60, 3)
    met = first_hits(vertices, faces, found.pose[:3, 3], found.points + 0.01 * (found.points - found.pose[:3, 3]))
    np.testing.assert_allclose(met, 1 / 1.01, rtol=1e-7)


def test_a_ray_that_slips_between_two_faces_is_noticed():
    """The point lies behind a wall whose two faces meet on the ray; the ray itself is made to miss both."""
    wall = np.array([[-1, -1, 0.5], [1, -1, 0.5], [1, 1, 0.5], [-1, 1, 0.5]])
    back = wall * [1, 1, -1]
    mesh = solid(np.vstack([wall, back]), np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]]))
    eye = np.array([0.0, 0.0, 3.0])
    behind = np.array([[0.01, 0.01, mesh.corners[2, 0, 2]]])  # on the diagonal, where the wall's two faces meet
    original, asked = module.cast, []

    def leaky(mesh, rays, *, eye):
        asked.append(len(rays))
        face = original(mesh, rays, eye=eye)
        return np.where(face < 2, 2, face) if len(asked) == 1 else face

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "cast", leaky)
        assert not module._visible(mesh, eye, behind).any()


def test_noise_moves_points_along_their_rays_and_grows_with_the_square_of_the_depth():
    mesh, clean = scan("soup", noise=0.0, points=4000, distance=1.5)
    _, noisy = scan("soup", noise=0.01, points=4000, distance=1.5)
    eye = clean.pose[:3, 3]
    before, after = clean.points - eye, noisy.points - eye
    across = np.cross(before, after) / np.linalg.norm(before, axis=1, keepdims=True) ** 2
    assert np.abs(across).max() < 1e-9
    depth = -before @ clean.pose[:3, 2] / mesh.radius
    moved = -(after - before) @ clean.pose[:3, 2] / mesh.radius
    standard = moved / (0.01 * depth**2)
    assert standard.mean() == pytest.approx(0, abs=0.05)
    for part in np.array_split(np.argsort(depth), 3):
        assert standard[part].std() == pytest.approx(1, rel=0.06)
    assert np.ptp(depth) > 1


def test_lidar_noise_is_along_the_range():
    mesh, clean = scan("torus", "lidar", noise=0.0, points=3000, distance=3)
    _, noisy = scan("torus", "lidar", noise=0.002, points=3000, distance=3)
    before, after = (np.linalg.norm(s.points - clean.pose[:3, 3], axis=1) / mesh.radius for s in (clean, noisy))
    assert ((after - before) / (0.002 * before**2)).std() == pytest.approx(1, rel=0.06)


def test_a_lidar_s_points_lie_on_rings_and_a_camera_s_on_a_grid():
    for elevation in (-0.1, 0.8):
        _, found = scan("torus", "lidar", distance=8, points=500, elevation=elevation)
        ray = (found.points - found.pose[:3, 3]) @ found.pose[:3, :3]  # right, up, backwards
        pitch = np.arcsin(ray[:, 1] / np.linalg.norm(ray, axis=1)) / RING
        assert np.ptp((pitch - pitch[0] + 0.5) % 1) < 1e-6
        assert 10 < len(set(np.rint(pitch - pitch[0]))) <= 2 * np.arcsin(1 / 8) / RING + 1
    _, found = scan("torus", "camera", points=500)
    ray = (found.points - found.pose[:3, 3]) @ found.pose[:3, :3]
    for axis in (0, 1):
        steps = np.diff(np.unique((ray[:, axis] / -ray[:, 2]).round(9)))
        assert steps.min() > 1e-4
        np.testing.assert_allclose(steps / steps.min(), np.rint(steps / steps.min()), atol=1e-4)


def test_the_pose_says_where_the_sensor_stands_and_looks():
    mesh, found = scan("far away", distance=4, elevation=0.3)
    rotation, eye = found.pose[:3, :3], found.pose[:3, 3]
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    towards = np.array([np.cos(0.3) * np.sin(0.7), np.sin(0.3), np.cos(0.3) * np.cos(0.7)])
    np.testing.assert_allclose((eye - mesh.centre) / mesh.radius, 4 * towards, atol=1e-9)
    np.testing.assert_allclose(rotation[:, 2], towards, atol=1e-12)
    assert scan("far away", "lidar")[1].pose[:3, 1].tolist() == [0, 1, 0]


def test_a_sheet_from_its_edge_is_not_seen():
    mesh = solid(*MESHES["sheet"])
    rng = np.random.default_rng(0)
    assert scan_mesh(mesh, Sensor("camera", 3.0), azimuth=np.pi / 2, elevation=0, points=100, rng=rng) is None


@pytest.mark.parametrize(
    ("sensor", "trouble"),
    [
        (Sensor("radar", 3), r"pattern is 'radar'; it must be camera or lidar"),
        (Sensor("camera", 1.0), r"distance is 1; it must be 1\.05 to 1000 radii"),
        (Sensor("camera", float("nan")), "distance is nan"),
        (Sensor("lidar", 3, -0.1), r"noise is -0\.1; it must be 0 to 1"),
        (Sensor("lidar", 3, float("nan")), "noise is nan"),
    ],
)
def test_sensors_that_cannot_be_are_refused(sensor, trouble):
    with pytest.raises(InputError, match=trouble):
        check_sensor(sensor)
