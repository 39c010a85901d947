import math

import numpy as np
import pytest

from crosspoint.parity.measures import Errors, cosine, relative_l2


def test_errors_by_hand():
    reference = np.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.0]], np.float32)
    candidate = np.array([[3.0, 4.5], [0.0, 1.0], [0.0, 0.0]], np.float32)
    errors = Errors.between(reference, candidate)
    assert errors.relative_l2_max == pytest.approx(math.sqrt(2))
    assert errors.relative_l2_median == pytest.approx(0.1)
    assert errors.cosine_min == pytest.approx(0)
    assert cosine(reference[:1], candidate[:1])[0] == pytest.approx(27 / (5 * math.hypot(3, 4.5)))
    assert cosine(reference[2:], candidate[2:])[0] == 1


def test_errors_with_a_slow_reference():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((300, 7))
    b = a + 0.1 * rng.standard_normal((300, 7))
    errors = sorted(math.dist(x, y) / math.hypot(*x) for x, y in zip(a.tolist(), b.tolist(), strict=True))
    found = Errors.between(a.astype(np.float32), b.astype(np.float32))
    assert found.relative_l2_max == pytest.approx(errors[-1], rel=1e-5)
    assert found.relative_l2_median == pytest.approx(errors[149], rel=1e-5)  # 150 of 300 are within it
    assert found.relative_l2_p99 == pytest.approx(errors[297], rel=1e-5)


def test_special_cases_of_relative_l2_and_cosine():
    a = np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    b = np.array([[3.0, 4.5], [0.0, 0.0], [np.nan, 0.0], [1.0, 1.0], [np.inf, 0.0]])
    np.testing.assert_allclose(relative_l2(a, b), [0.1, 0, np.inf, 0, np.inf])
    np.testing.assert_allclose(cosine(a, b), [27 / (5 * math.hypot(3, 4.5)), 1, -1, 1, -1])


def test_outputs_of_points_are_taken_together():
    a, b = np.ones((2, 3, 4)), np.ones((2, 3, 4))
    b[1, 2, 3] = 2
    np.testing.assert_allclose(relative_l2(a, b), [0, 1 / math.sqrt(12)])
