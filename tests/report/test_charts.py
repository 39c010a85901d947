"""Lines and ticks stand where their values are."""

import re

import numpy as np
import pytest

from crosspoint.report.charts import line_chart, ticks


@pytest.mark.parametrize(
    ("ends", "whole", "expected"),
    [
        ((0.0, 1.0), False, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ((-3.7, -3.2), False, [-3.7, -3.6, -3.5, -3.4, -3.3, -3.2]),
        ((1, 1125), True, [500, 1000]),
        ((0, 3), True, [0, 1, 2, 3]),
        ((2, 2), True, [2]),
    ],
)
def test_ticks_are_round_numbers_within_the_ends(ends, whole, expected):
    np.testing.assert_allclose(ticks(*ends, whole=whole), expected, atol=1e-12)


def test_line_chart_places_values_by_their_axes():
    step, values = np.array([0.0, 5.0, 10.0]), np.array([0.0, 1.0, 2.0])
    drawn = line_chart("x", "", step=step, series={"a": values})
    points = re.search(r'<polyline points="([^"]+)"', drawn)[1]
    x, y = np.array([pair.split(",") for pair in points.split()], float).T
    np.testing.assert_allclose(np.diff(x), np.diff(x)[0], atol=0.11)
    np.testing.assert_allclose(np.diff(y), np.diff(y)[0], atol=0.11)
    assert x[0] < x[-1]
    assert y[0] > y[-1]  # larger is higher


def test_constant_line_is_drawn():
    drawn = line_chart("x", "", step=np.array([3.0]), series={"a": np.array([2.0])})
    assert "nan" not in drawn
    assert "polyline" in drawn
