"""Single views: one side of an object, of the right size."""

import numpy as np
import pytest

from crosspoint.data.single_views import single_view, single_views
from crosspoint.data.sources import find_sources


def sphere(count):
    points = np.random.default_rng(0).normal(size=(count, 3))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("count", [64, 700])
def test_a_view_of_a_sphere_is_a_cap_with_points_of_the_cloud(count):
    cloud = sphere(1000) * 3 + 5
    view = single_view(cloud, count, rng=np.random.default_rng(1))
    assert view.shape == (count, 3)
    assert {tuple(point) for point in view} <= {tuple(point) for point in cloud}
    middle = view.mean(axis=0) - 5
    assert ((view - 5) @ middle > 0).mean() > 0.95, "all on one side"


def test_copies_are_even():
    _, counts = np.unique(single_view(sphere(200), 500, rng=np.random.default_rng(1)), axis=0, return_counts=True)
    assert counts.max() - counts.min() <= 1


def test_the_view_depends_on_content_and_seed_alone(tmp_path):
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, sphere(300))
    sources = find_sources([tmp_path], None, seed=0)
    first, second = (source.read() for source in single_views(sources, 50, seed=3))
    other = single_views(sources, 50, seed=4)[0].read()
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
