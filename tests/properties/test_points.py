"""Normalisation takes place and size out of a cloud, whatever the unit and the order of its points."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from crosspoint.data.points import normalise, sample_points

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 40), st.just(3))
WHOLE = arrays.arrays(np.float64, SHAPES, elements=st.integers(-1000, 1000).map(float))  # exact under every move
FLOATS = arrays.arrays(np.float32, SHAPES, elements=st.floats(width=32, allow_nan=False, allow_infinity=False))


def farthest(points):
    return np.linalg.norm(points.astype(np.float64), axis=-1).max(axis=-1)


@given(WHOLE, arrays.arrays(np.float64, 3, elements=st.integers(-(10**6), 10**6).map(float)))
def test_the_place_of_a_cloud_does_not_matter(points, offset):
    np.testing.assert_allclose(normalise(points + offset), normalise(points), rtol=0, atol=1e-6)


@given(WHOLE, st.integers(-60, 60))
def test_the_unit_of_a_cloud_does_not_matter(points, exponent):
    np.testing.assert_array_equal(normalise(points * 2.0**exponent), normalise(points))


@given(FLOATS)
def test_every_finite_cloud_gets_its_mean_at_the_origin_and_its_farthest_point_at_one(points):
    result = normalise(points)
    assert (result.dtype, result.shape) == (np.float32, points.shape)
    one_place = (points == points[:, :1]).all(axis=(1, 2))
    np.testing.assert_allclose(farthest(result), np.where(one_place, 0, 1), atol=1e-6)
    np.testing.assert_allclose(result.mean(axis=1, dtype=np.float64), 0, atol=1e-6)


@given(FLOATS)
def test_a_normalised_cloud_stays_as_it_is(points):
    once = normalise(points)
    np.testing.assert_allclose(normalise(once), once, rtol=0, atol=1e-6)


@given(FLOATS, st.randoms(use_true_random=False))
def test_points_are_normalised_in_any_order(points, random):
    order = random.sample(range(points.shape[1]), points.shape[1])
    np.testing.assert_allclose(normalise(points[:, order]), normalise(points)[:, order], rtol=0, atol=1e-6)


@given(FLOATS)
def test_a_cloud_is_normalised_alone_as_among_others(points):
    np.testing.assert_array_equal(normalise(points), np.stack([normalise(cloud) for cloud in points]))


@given(st.integers(1, 40), st.data())
def test_chosen_points_are_different_rows_of_the_cloud(stored, data):
    count, seed = data.draw(st.integers(1, stored)), data.draw(st.integers(0, 2**32))
    points = np.arange(3 * stored).reshape(stored, 3)
    chosen = sample_points(points, count, rng=np.random.default_rng(seed))
    rows = chosen[:, 0] // 3
    assert len(set(rows.tolist())) == count
    np.testing.assert_array_equal(chosen, points[rows])
