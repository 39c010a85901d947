import numpy as np
import pytest

from crosspoint.data.shapes import CATEGORIES
from crosspoint.data.shapes import primitives as solids

SEEDS = range(48)
REQUIRED = (
    "airplane bathtub bed bench bookshelf bottle bowl car chair cup desk door guitar hat knife lamp laptop monitor mug "
    "night_stand rocket skateboard sofa stairs stool table tent toilet vase wardrobe"
)


def volume(vertices, faces):
    a, b, c = vertices[faces].transpose(1, 0, 2)
    return np.einsum("fi,fi->", a, np.cross(b, c)) / 6


def is_closed(faces):
    """Every edge is passed as often in one direction as in the other."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    forwards = sorted(map(tuple, edges.tolist()))
    return forwards == sorted((b, a) for a, b in forwards)


@pytest.fixture(scope="module")
def objects():
    return {name: [draw(np.random.default_rng(seed)) for seed in SEEDS] for name, draw in CATEGORIES.items()}


def test_all_categories_that_were_promised_are_there():
    assert set(REQUIRED.split()) <= set(CATEGORIES)
    assert list(CATEGORIES) == sorted(CATEGORIES)


@pytest.mark.parametrize("name", CATEGORIES)
def test_meshes_are_sound(objects, name):
    for shape in objects[name]:
        assert np.isfinite(shape.vertices).all()
        assert shape.faces.min() == 0
        assert shape.faces.max() == len(shape.vertices) - 1
        corners = shape.vertices[shape.faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        assert np.linalg.norm(normals, axis=1).min() > 0


@pytest.mark.parametrize("name", CATEGORIES)
def test_meshes_are_closed_and_face_outwards(objects, name):
    for shape in objects[name][:12]:
        assert is_closed(shape.faces)
        for part in np.unique(shape.face_parts):
            assert volume(shape.vertices, shape.faces[shape.face_parts == part]) > 0


@pytest.mark.parametrize("name", CATEGORIES)
def test_shapes_stand_on_the_ground_at_unit_size(objects, name):
    for shape in objects[name]:
        low, high = shape.vertices.min(axis=0), shape.vertices.max(axis=0)
        np.testing.assert_allclose((high - low).max(), 1)
        np.testing.assert_allclose([low[1], (low + high)[0], (low + high)[2]], 0, atol=1e-12)


@pytest.mark.parametrize("name", CATEGORIES)
def test_every_declared_part_occurs_and_no_other(objects, name):
    names = CATEGORIES[name].part_names
    assert len(set(names)) == len(names) >= 2
    used = [set(shape.face_parts.tolist()) for shape in objects[name]]
    assert set.union(*used) == set(range(len(names)))
    assert all(shape.face_parts.shape == shape.faces.shape[:1] for shape in objects[name])


@pytest.mark.parametrize("name", CATEGORIES)
def test_there_are_structural_variants(objects, name):
    structures = {(len(shape.faces), frozenset(shape.face_parts.tolist())) for shape in objects[name]}
    assert len(structures) >= 3


def test_no_two_objects_are_alike(objects):
    seen = [shape.vertices.tobytes() for shapes in objects.values() for shape in shapes]
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize("name", CATEGORIES)
def test_an_object_follows_from_its_generator(objects, name):
    again = CATEGORIES[name](np.random.default_rng(SEEDS[-1]))
    np.testing.assert_array_equal(again.vertices, objects[name][-1].vertices)
    np.testing.assert_array_equal(again.faces, objects[name][-1].faces)


POLYGON = [(0, 0), (4, 0), (4, 3), (2, 1), (0, 3)]  # not convex; area 8
RIM = [(1.0, 0.0), (1.0, 2.0)]


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        (solids.box((2, 3, 4), (1, 1, 1)), 24),
        (solids.taper((2, 2), (1, 1), height=3), (4 + 2 + 1) * 3 / 3),  # a frustum: h (A + sqrt(A B) + B) / 3
        (solids.extrude(POLYGON, 0.5), 4),
        (solids.extrude(POLYGON[::-1], 0.5), 4),
        (solids.lathe(RIM, sides=400), 2 * np.pi),
        (solids.lathe(RIM[::-1], sides=400), 2 * np.pi),
        (solids.hollow(RIM, 0.5, sides=400), 2 * np.pi - 0.25 * np.pi * 1.5),
        (solids.rod((1, 2, 3), (1, 2, 5), radius=1, sides=400), 2 * np.pi),
        (solids.rod((0, 0, 0), (0, 3, 0), radius=1, end_radius=0, sides=400), np.pi),
        (solids.tube(np.insert(solids.circle(200), 1, 0, axis=1) * 2, 0.5, sides=100, closed=True), np.pi**2),
        (solids.sheet([(0, 0), (1, 0), (3, 0)], 0.5, height=2), 3),
        (solids.box((2, 3, 4)).scale((-2, 1, 1)), 48),
        (solids.box((2, 3, 4)).turn("x", 30).turn("y", 50).turn("z", 70), 24),
    ],
)
def test_solids_have_their_volume(mesh, expected):
    assert is_closed(mesh.faces)
    assert volume(*mesh) == pytest.approx(expected, rel=2e-3)


def test_round_solids_approach_their_volume_from_inside():
    for mesh, exact in (
        (solids.ellipsoid((1, 2, 3)), 8 * np.pi),
        (solids.torus(2, 0.5), np.pi**2),
        (solids.disc(1, 1), np.pi),
        (solids.rounded_box((2, 2, 2), 0.3), 8.0),
        (solids.wheel(1, 1), np.pi),
    ):
        assert is_closed(mesh.faces)
        assert 0.85 * exact < volume(*mesh) < exact


def test_an_extruded_star_is_cut_into_triangles_that_do_not_overlap():
    radius = np.where(np.arange(14) % 2, 1.0, 0.3)[:, None]
    star = solids.circle(14) * radius
    triangles = star[solids.triangulate(star)]
    edges = triangles[:, 1:] - triangles[:, :1]
    areas = (edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]) / 2
    assert (areas > 0).all()
    assert areas.sum() == pytest.approx(14 * 0.5 * 0.3 * np.sin(np.pi / 7))


def test_turning_is_right_handed():
    up = solids.Mesh(np.array([[0.0, 1.0, 0.0]]), np.zeros((0, 3), np.int64))
    np.testing.assert_allclose(up.turn("x", 90).vertices, [[0, 0, 1]], atol=1e-15)
    np.testing.assert_allclose(up.turn("z", 90).vertices, [[-1, 0, 0]], atol=1e-15)


def test_a_smooth_curve_never_overshoots():
    curve = solids.smooth([(0, 0), (1, 0), (1, 1)], 50)
    assert curve.min() >= 0
    assert curve.max() <= 1
    np.testing.assert_allclose(curve[[0, -1]], [(0, 0), (1, 1)])
