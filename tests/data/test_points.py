import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.points import normalise, sample_points


@pytest.mark.parametrize("shape", [(1, 3), (7, 3), (2, 5, 3), (2, 3, 11, 3)])
def test_mean_at_origin_and_farthest_point_at_distance_one(shape):
    points = np.random.default_rng(0).normal(size=shape) * 40 + 1000
    result = normalise(points)
    assert result.shape == shape
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.mean(axis=-2), 0, atol=1e-6)
    farthest = np.linalg.norm(result, axis=-1).max(axis=-1)
    np.testing.assert_allclose(farthest, 0 if shape[-2] == 1 else 1, rtol=1e-6)


def test_equals_a_loop():
    clouds = np.random.default_rng(1).uniform(-3, 9, (4, 20, 3)).astype(np.float32)
    for cloud, result in zip(clouds, normalise(clouds), strict=True):
        mean = [sum(float(point[axis]) for point in cloud) / 20 for axis in range(3)]
        moved = [[float(point[axis]) - mean[axis] for axis in range(3)] for point in cloud]
        radius = max(sum(value**2 for value in point) ** 0.5 for point in moved)
        np.testing.assert_allclose(result, np.array(moved) / radius, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e30, 12345.678])
def test_equal_points_become_zeros(value):
    np.testing.assert_array_equal(normalise(np.full((33, 3), value)), np.zeros((33, 3)))


def test_extremes_of_float32_stay_finite():
    points = np.array([[3e38, 0, 0], [-3e38, 0, 0], [0, 3e38, 0]], np.float32)
    assert np.linalg.norm(normalise(points), axis=1).max() == pytest.approx(1)
    tiny = np.array([[1e-44, 0, 0], [-1e-44, 0, 0]], np.float32)
    np.testing.assert_allclose(normalise(tiny), [[1, 0, 0], [-1, 0, 0]])


def test_choose_draws_without_replacement():
    points = np.random.default_rng(0).normal(size=(50, 3))
    chosen = sample_points(points, 20, rng=np.random.default_rng(3))
    assert len({tuple(point) for point in chosen} & {tuple(point) for point in points}) == 20
    np.testing.assert_array_equal(chosen, sample_points(points, 20, rng=np.random.default_rng(3)))
    assert not np.array_equal(chosen, sample_points(points, 20, rng=np.random.default_rng(4)))
    assert sorted(map(tuple, sample_points(points, 50, rng=np.random.default_rng(0)))) == sorted(map(tuple, points))


@pytest.mark.parametrize(("count", "message"), [(6, "5 points, fewer than the 6"), (0, "at least 1"), (-1, "at least")])
def test_choose_refuses(count, message):
    with pytest.raises(InputError, match=message):
        sample_points(np.zeros((5, 3)), count, rng=np.random.default_rng(0))
