import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.rendering.raycast import (
    AMBIENT,
    COLOURS,
    FIELD_OF_VIEW,
    FILLED,
    LIGHTS,
    SUPERSAMPLING,
    _shade,
    camera,
    picture,
    solid,
)

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("embreex")


def coverage(rgba):
    return rgba[..., 3].sum() / 255


def test_camera_axes_are_right_handed_and_stand_where_the_angles_say():
    for azimuth, elevation in ((0.3, -0.2), (2.0, 0.9), (5.5, 0.0)):
        axes = camera(azimuth, elevation)
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(axes) == pytest.approx(1)
        assert axes[1, 1] > 0
    np.testing.assert_allclose(camera(0, 0), np.eye(3), atol=1e-12)
    np.testing.assert_allclose(camera(np.pi / 2, 0)[2], [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(camera(0, np.pi / 2)[2], [0, 1, 0], atol=1e-12)


def test_sphere_fills_the_frame_as_a_disc():
    ball = trimesh.creation.icosphere(4)
    rgba = picture(solid(ball.vertices, ball.faces), camera(0.4, 0.3), size=128)
    assert coverage(rgba) == pytest.approx(np.pi / 4 * (FILLED * 128) ** 2, rel=0.01)


def test_cube_from_the_front_is_a_square():
    cube = trimesh.creation.box()
    rgba = picture(solid(cube.vertices, cube.faces), camera(0, 0), size=100)
    assert coverage(rgba) == pytest.approx(92**2, rel=1e-6)
    assert set(np.unique(rgba[..., 3])) == {0, 255}


def test_coverage_equals_a_plain_rasteriser():
    generator = np.random.default_rng(5)
    corners = generator.normal(size=(6, 3, 3))
    axes, size = camera(0.8, 0.4), 20
    rgba = picture(solid(corners.reshape(-1, 3), np.arange(18).reshape(-1, 3)), axes, size=size)
    np.testing.assert_allclose(rgba[..., 3] / 255, rasterise(corners, axes, size), atol=0.5 / 255)


def rasterise(corners, axes, size):
    points = corners.reshape(-1, 3)
    points = points - (points.min(0) + points.max(0)) / 2
    points = points / np.linalg.norm(points, axis=1).max()
    seen = points @ axes.T
    depth = 1 / np.sin(FIELD_OF_VIEW / 2) - seen[:, 2]
    plane = seen[:, :2] / depth[:, None]
    middle, half = (plane.min(0) + plane.max(0)) / 2, np.ptp(plane, axis=0).max() / 2 / FILLED
    rays = size * SUPERSAMPLING
    triangles = ((plane - middle) / half).reshape(-1, 3, 2)
    inside = np.zeros((rays, rays), bool)
    for row in range(rays):
        for column in range(rays):
            at = np.array([(column + 0.5) / rays * 2 - 1, 1 - (row + 0.5) / rays * 2])
            for triangle in triangles:
                edges = np.roll(triangle, -1, axis=0) - triangle
                to = at - triangle
                signs = np.sign(edges[:, 0] * to[:, 1] - edges[:, 1] * to[:, 0])
                inside[row, column] |= abs(signs.sum()) == 3
    return inside.reshape(size, SUPERSAMPLING, size, SUPERSAMPLING).mean((1, 3))


def test_outside_is_black_and_clear_and_edges_are_soft():
    ball = trimesh.creation.icosphere(3)
    rgba = picture(solid(ball.vertices, ball.faces), camera(0, 0), size=64)
    border = np.concatenate([rgba[0], rgba[-1], rgba[:, 0], rgba[:, -1]])
    assert not border.any()
    assert not rgba[rgba[..., 3] == 0].any()
    assert set(np.unique(rgba[..., 3])) == {0, 64, 128, 191, 255}
    assert rgba[rgba[..., 3] > 0][:, :3].min() > 20


def test_shading_shows_direction():
    ball = trimesh.creation.icosphere(3)
    light = picture(solid(ball.vertices, ball.faces), camera(0, 0), size=64)[..., :3].mean(-1)
    assert light[20, 20] > light[32, 50] > light[50, 44]
    cube = trimesh.creation.box()
    rgba = picture(solid(cube.vertices, cube.faces), camera(np.radians(35), np.radians(30)), size=64)
    sides = np.unique(rgba[rgba[..., 3] == 255][:, :3].mean(-1).round(), return_counts=True)
    assert (sides[1] > 200).sum() == 3


def test_the_light_on_a_face_is_lambert_s_law_with_lights_of_unit_length():
    normals = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.6, 0.0, 0.8]])
    shades = []
    for normal in normals:
        side = np.linalg.svd(normal[None])[2][1:]  # two directions in the face
        corners = np.stack([normal, normal + side[0], normal + side[1]])
        shades.append(_shade(solid(corners, np.array([[0, 1, 2]])), 1e3 * normal, np.eye(3))[0])
    expected = AMBIENT.copy()[None].repeat(3, axis=0)
    for row, normal in zip(expected, normals, strict=True):
        for light, colour in zip(LIGHTS, COLOURS, strict=True):
            row += max(0.0, float(normal @ light) / float(np.sqrt((light**2).sum()))) * colour
    np.testing.assert_allclose(shades, expected.clip(0, 1), rtol=1e-5)


def test_inside_out_meshes_look_the_same():
    knot = trimesh.creation.torus(1.0, 0.4)
    right = picture(solid(knot.vertices, knot.faces), camera(1, 0.5), size=48)
    wrong = picture(solid(knot.vertices, knot.faces[:, ::-1]), camera(1, 0.5), size=48)
    np.testing.assert_array_equal(right, wrong)


def test_unit_place_and_unused_vertices_do_not_matter():
    cone = trimesh.creation.cone(0.5, 1.5)
    first = picture(solid(cone.vertices, cone.faces), camera(2, 0.2), size=48).astype(int)
    moved = np.vstack([cone.vertices * 1e4 + 1e5, [[9e9, 0, 0]]])
    second = picture(solid(moved, cone.faces), camera(2, 0.2), size=48)
    assert (np.abs(first - second).max(-1) > 2).mean() < 0.01


@pytest.mark.parametrize(
    ("vertices", "faces", "trouble"),
    [
        (np.zeros((3, 3)), np.array([[0, 1, 2]]), "all vertices of the mesh are equal"),
        (np.zeros((0, 3)), np.zeros((0, 3), int), "no faces"),
        (np.array([[0, 0, 0], [1, 0, np.nan], [0, 1, 0]]), np.array([[0, 1, 2]]), "not finite"),
    ],
)
def test_meshes_without_extent_are_refused(vertices, faces, trouble):
    with pytest.raises(InputError, match=trouble):
        solid(vertices, faces)
