import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation
from trimesh.triangles import closest_point

from crosspoint.core.errors import InputError
from crosspoint.data.shapes import CATEGORIES
from crosspoint.runtime.library import surface
from crosspoint.runtime.library.limits import COPY, SAME
from crosspoint.runtime.library.register import register
from crosspoint.runtime.library.surface import Surface, of_cloud, of_mesh, surface_distance

TURN = Rotation.from_euler("yxz", [70, 40, 10], degrees=True).as_matrix()


@pytest.fixture(autouse=True)
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface, "SAMPLES", 1024)
    monkeypatch.setattr(surface, "PROBES", 64)


def shape(category: str, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    made = CATEGORIES[category](np.random.default_rng(seed))
    return made.vertices, made.faces


def test_moments_are_those_of_many_points_drawn_by_area() -> None:
    vertices, faces = shape("chair")
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    points = trimesh.sample.sample_surface(mesh, 200_000, seed=0)[0]
    points = points - points.mean(axis=0)
    shares = np.linalg.eigvalsh(points.T @ points)[::-1]
    np.testing.assert_allclose(of_mesh(vertices, faces).shares, shares / shares.sum(), atol=3e-3)


def test_the_size_is_1_and_the_mean_0() -> None:
    made = of_mesh(*shape("mug"))
    weights = np.linalg.norm(np.cross(*np.diff(made.corners, axis=1).transpose(1, 0, 2)), axis=1)
    middle = np.average(made.corners.mean(axis=1), axis=0, weights=weights)
    np.testing.assert_allclose(middle, 0, atol=1e-12)
    assert (made.samples**2).sum(axis=1).mean() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("category", ["chair", "bookshelf", "mug"])
def test_another_unit_place_and_division_leave_the_surface_where_it_is(category: str) -> None:
    vertices, faces = shape(category)
    moved = of_mesh(*trimesh.remesh.subdivide(1000 * vertices + [5, 600, -70], faces))
    assert surface_distance(of_mesh(vertices, faces), moved) < 1e-6


def test_the_distance_is_that_of_every_triangle() -> None:
    a, b = of_mesh(*shape("chair")), of_mesh(*shape("chair", 2))

    def by_brute_force(one: Surface, other: Surface) -> float:
        found = [
            np.linalg.norm(closest_point(other.corners, np.tile(point, (len(other.corners), 1))) - point, axis=1).min()
            for point in one.probes()
        ]
        return max(found)

    assert surface_distance(a, b) == pytest.approx(max(by_brute_force(a, b), by_brute_force(b, a)), abs=1e-12)


def test_a_part_that_moved_is_no_copy() -> None:
    vertices, faces = shape("table")
    changed = vertices.copy()
    changed[faces[-1]] += 0.03
    assert surface_distance(of_mesh(vertices, faces), of_mesh(changed, faces)) > COPY


def test_a_cloud_is_its_points_in_any_order_and_unit() -> None:
    points = np.random.default_rng(0).normal(size=(300, 3))
    assert surface_distance(of_cloud(points), of_cloud(40 * points[::-1] + 7)) < 1e-9
    changed = points.copy()
    changed[0] += 1
    assert surface_distance(of_cloud(points), of_cloud(changed)) > COPY


def test_a_cloud_of_one_place_is_no_division_by_zero() -> None:
    one = of_cloud(np.ones((5, 3)))
    assert surface_distance(one, one) == 0
    assert register(one, of_cloud(np.random.default_rng(0).normal(size=(9, 3))), enough=0) > SAME


@pytest.mark.parametrize("mirror", [1, -1])
@pytest.mark.parametrize("category", ["chair", "mug"])
def test_a_turned_or_mirrored_shape_is_found(category: str, mirror: int) -> None:
    vertices, faces = shape(category)
    turned = trimesh.remesh.subdivide((vertices * [mirror, 1, 1]) @ TURN.T, faces)
    assert register(of_mesh(vertices, faces), of_mesh(*turned), enough=SAME / 2) <= SAME


BOXES = {
    "cube": [[1.0, 1, 1]],  # every axis is a principal axis
    "square": [[1.0, 2, 1]],  # two of them are
    "cross": [[3.0, 1, 1], [1.0, 3, 1], [1.0, 1, 3]],
}


@pytest.mark.parametrize("name", BOXES)
def test_a_shape_whose_principal_axes_are_many_is_found_however_it_is_tipped(name: str) -> None:
    parts = [trimesh.creation.box(sides) for sides in BOXES[name]]
    parts.append(trimesh.creation.box([0.1, 0.1, 0.1], trimesh.transformations.translation_matrix([0.3, 0.4, 0.45])))
    mesh = trimesh.util.concatenate(parts)
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    tipped = (vertices * [-1, 1, 1]) @ TURN.T
    assert register(of_mesh(vertices, faces), of_mesh(tipped, faces), enough=SAME / 2) <= SAME


def test_a_distance_beyond_the_largest_of_interest_need_not_be_measured_further() -> None:
    a, b = of_mesh(*shape("chair")), of_mesh(*shape("bench"))
    assert surface_distance(a, b, most=COPY) > COPY
    same = of_mesh(*trimesh.remesh.subdivide(*shape("chair")))
    assert surface_distance(a, same, most=COPY) == pytest.approx(surface_distance(a, same), abs=1e-9)


def test_a_small_part_is_seen_by_its_corners() -> None:
    vertices, faces = shape("bookshelf")
    more = trimesh.creation.box([0.004, 0.004, 0.004])
    more.apply_translation(vertices.max(axis=0) + 0.05)
    changed = trimesh.util.concatenate([trimesh.Trimesh(vertices, faces, process=False), more])
    assert surface_distance(of_mesh(vertices, faces), of_mesh(changed.vertices, changed.faces)) > COPY


@pytest.mark.parametrize("other", ["bench", "table", "stool"])
def test_another_shape_is_not(other: str) -> None:
    assert register(of_mesh(*shape("chair")), of_mesh(*shape(other)), enough=SAME / 2) > SAME


def test_faces_without_area_are_one_line() -> None:
    with pytest.raises(InputError, match="faces without area"):
        of_mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]))


def test_triangles_without_area_change_nothing() -> None:
    vertices, faces = shape("mug")
    flat = np.concatenate([faces, [[0, 0, 0], [0, 1, 1]]])
    assert surface_distance(of_mesh(vertices, flat), of_mesh(vertices, faces)) < 1e-6
