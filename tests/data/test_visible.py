"""Hidden point removal against closed forms and a ray caster."""

import numpy as np
import pytest

from crosspoint.data.visible import visible


def sphere(count, seed=0):
    points = np.random.default_rng(seed).standard_normal((count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("count", [250, 2000])
@pytest.mark.parametrize("distance", [1.5, 3, 16])
def test_of_a_sphere_the_cap_towards_the_sensor_is_seen(distance, count):
    """A point p of the unit sphere is seen from s if (s − p) · p > 0, that is, p · s > 1."""
    points, sensor = sphere(count), distance * np.array([0.6, 0.48, 0.64])
    truth = points @ sensor > 1
    assert (visible(points, sensor) == truth).mean() > (0.96 if count == 2000 else 0.88)


def test_neither_place_nor_unit_matters():
    points, sensor = sphere(500) * [1, 2, 0.5], np.array([4.0, 1.0, 3.0])
    np.testing.assert_array_equal(visible(points * 100 + 7, sensor * 100 + 7), visible(points, sensor))


def test_equal_points_are_all_seen_or_all_hidden():
    points, sensor = sphere(300), np.array([3.0, 0.0, 0.0])
    seen = visible(np.vstack([points, points[::-1]]), sensor)
    np.testing.assert_array_equal(seen[:300], seen[300:][::-1])
    np.testing.assert_array_equal(seen[:300], visible(points, sensor))


@pytest.mark.parametrize(
    "points", [np.ones((5, 3)), np.eye(3), np.linspace(0, 1, 20)[:, None] * [1, 0, 0]], ids=["one", "three", "line"]
)
def test_where_there_is_no_hull_all_points_are_seen(points):
    assert visible(points, np.array([3.0, 0.0, 0.0])).all()


def test_most_points_of_meshes_agree_with_a_ray_caster():
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("embreex")
    from crosspoint.data.io.meshes import sample_surface
    from crosspoint.data.rendering.raycast import camera, solid
    from crosspoint.data.rendering.sensor import _visible

    agreed = []
    for number, made in enumerate(
        (trimesh.creation.torus(1, 0.3), trimesh.creation.box((1, 2, 0.5)), trimesh.creation.capsule(2, 0.5))
    ):
        mesh = solid(made.vertices, made.faces)
        corners = mesh.corners.reshape(-1, 3)
        points, _ = sample_surface(
            corners, np.arange(len(corners)).reshape(-1, 3), count=1500, rng=np.random.default_rng(number)
        )
        for distance in (1.6, 3, 8):
            eye = distance * camera(1.0 + number, 0.4)[2]
            outside = points + 1e-4 * (eye - points)  # a point on a face hides itself by rounding
            agreed.append((visible(points, eye) == _visible(mesh, eye, outside)).mean())
    assert np.mean(agreed) > 0.94
    assert min(agreed) > 0.85
