"""Turning a cloud to y-up is a rotation that moves the named axis to y."""

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.frames import UPS, parse_up, rotation_to_y_up, to_y_up

AXES = dict(zip("xyz", np.eye(3), strict=True))


def axis(up):
    return -AXES[up[1]] if up.startswith("-") else AXES[up]


@pytest.mark.parametrize("up", UPS)
def test_what_pointed_up_points_along_y(up):
    np.testing.assert_array_equal(rotation_to_y_up(up) @ axis(up), AXES["y"])


@pytest.mark.parametrize("up", UPS)
def test_it_is_a_rotation_and_no_mirror(up):
    turn = rotation_to_y_up(up)
    np.testing.assert_array_equal(turn @ turn.T, np.eye(3))
    assert np.linalg.det(turn) == 1


@pytest.mark.parametrize("up", UPS)
def test_points_are_turned_by_that_rotation(up):
    points = np.random.default_rng(0).normal(size=(2, 5, 3))
    np.testing.assert_array_equal(to_y_up(points, up), points @ rotation_to_y_up(up).T)


def test_z_up_keeps_x():
    np.testing.assert_array_equal(to_y_up(np.array([[1.0, 2.0, 3.0]]), "z"), [[1, 3, -2]])


def test_the_type_of_the_numbers_is_kept():
    assert to_y_up(np.zeros((4, 3), np.float32), "-y").dtype == np.float32


@pytest.mark.parametrize("up", UPS)
def test_every_axis_is_parsed(up):
    assert parse_up(up) == up


@pytest.mark.parametrize("text", ["", "Z", "+z", "w", "--z", "xy"])
def test_other_text_is_refused_with_what_would_do(text):
    with pytest.raises(InputError, match="is no axis; give --up x, y, z, -x, -y or -z"):
        parse_up(text)
