import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from crosspoint.data.shapes import CATEGORIES
from crosspoint.runtime.library import measures as module
from crosspoint.runtime.library import surface
from crosspoint.runtime.library.measures import CLOSE, COUNT, EQUAL, match, measures
from crosspoint.runtime.library.surface import of_cloud, of_mesh

TURN = Rotation.from_euler("yxz", [70, 40, 10], degrees=True).as_matrix()


@pytest.fixture(autouse=True)
def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface, "SAMPLES", 64)


def shape(category: str, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    made = CATEGORIES[category](np.random.default_rng(seed))
    return made.vertices, made.faces


def test_they_are_moments_of_the_surface() -> None:
    vertices, faces = shape("chair")
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    x = np.asarray(trimesh.sample.sample_surface(mesh, 400_000, seed=0)[0])
    x = x - x.mean(axis=0)
    x /= np.sqrt((x**2).sum(axis=1).mean())
    r2, n = (x**2).sum(axis=1), len(x)
    corners = of_mesh(vertices, faces).corners.reshape(-1, 3)
    expected = [
        *np.linalg.eigvalsh(x.T @ x / n)[::-1],
        np.linalg.norm(corners, axis=1).max(),
        np.linalg.norm(r2 @ x / n),
        np.sqrt(sum((x[:, i] * x[:, j] * x[:, k]).mean() ** 2 for i, j, k in np.ndindex(3, 3, 3))),
        *np.linalg.eigvalsh((r2[:, None] * x).T @ x / n)[::-1],
        np.sqrt(sum((x[:, i] * x[:, j] * x[:, k] * x[:, m]).mean() ** 2 for i, j, k, m in np.ndindex(3, 3, 3, 3))),
    ]
    np.testing.assert_allclose(np.expm1(measures(of_mesh(vertices, faces))), expected, rtol=0.01, atol=5e-3)


@pytest.mark.parametrize("category", ["chair", "mug", "airplane"])
def test_no_turn_mirror_scale_place_or_division_changes_them(category: str) -> None:
    vertices, faces = shape(category)
    moved = 1000 * (vertices * [-1, 1, 1]) @ TURN.T + [5, 600, -70]
    own = measures(of_mesh(vertices, faces))
    np.testing.assert_allclose(measures(of_mesh(*trimesh.remesh.subdivide(moved, faces))), own, atol=1e-9)
    assert own.shape == (COUNT,)


def test_parts_of_a_surface_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, cloud = of_mesh(*shape("chair")), of_cloud(np.random.default_rng(0).normal(size=(100, 3)))
    whole = measures(mesh), measures(cloud)
    monkeypatch.setattr(module, "ROWS", 30)
    np.testing.assert_allclose((measures(mesh), measures(cloud)), whole, atol=1e-12)


def test_another_shape_has_others() -> None:
    assert not match(measures(of_mesh(*shape("chair"))), measures(of_mesh(*shape("chair", 2))), tolerance=CLOSE)


def test_what_was_not_read_agrees_with_nothing() -> None:
    assert not match(np.full(COUNT, np.nan), np.full(COUNT, np.nan), tolerance=EQUAL)
