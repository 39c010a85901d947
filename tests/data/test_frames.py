"""Turning a cloud to y-up is a rotation that moves the named axis to y."""

import numpy as np
import pytest

from crosspoint.core.console import verbosity
from crosspoint.core.errors import InputError
from crosspoint.data.frames import (
    ASSUMED,
    TO_Y_UP,
    UPS,
    Frame,
    common_frame,
    find_frame,
    from_y_up,
    parse_up,
    to_y_up,
)

AXES = dict(zip("xyz", np.eye(3), strict=True))


def axis(up):
    return -AXES[up[1]] if up.startswith("-") else AXES[up]


@pytest.mark.parametrize("up", UPS)
def test_what_pointed_up_points_along_y(up):
    np.testing.assert_array_equal(np.array(TO_Y_UP[up]) @ axis(up), AXES["y"])


@pytest.mark.parametrize("up", UPS)
def test_it_is_a_rotation_and_no_mirror(up):
    turn = np.array(TO_Y_UP[up])
    np.testing.assert_array_equal(turn @ turn.T, np.eye(3))
    assert np.linalg.det(turn) == 1


@pytest.mark.parametrize("up", UPS)
def test_points_are_turned_by_that_rotation(up):
    points = np.random.default_rng(0).normal(size=(2, 5, 3))
    np.testing.assert_array_equal(to_y_up(points, up), points @ np.array(TO_Y_UP[up]).T)


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


@pytest.mark.parametrize("up", UPS)
def test_turned_points_lie_in_memory_as_others_do(up):
    """So that their sums are taken in the same order, to the same bits."""
    assert to_y_up(np.zeros((2, 5, 3), np.float32), up).flags.c_contiguous


def test_y_up_points_are_left_as_they_are():
    points = np.array([[-0.0, 1.0, 2.0]])
    assert to_y_up(points, "y") is points


@pytest.mark.parametrize(
    ("up", "own", "found"),
    [
        (None, None, Frame("y", "assumed")),
        (None, "y", Frame("y", "format")),
        ("z", None, Frame("z", "given")),
        ("z", "y", Frame("z", "given")),
    ],
)
def test_what_is_given_counts_before_the_format_and_that_before_the_assumption(up, own, found):
    assert find_frame(up, own, what=".glb files") == found


def test_a_frame_that_is_assumed_is_said_once_a_command(capsys):
    for _ in range(2):
        with verbosity():
            find_frame(None, None, what=".ply files")
            find_frame(None, None, what=".obj files")
    line = "y-up is assumed, since the inputs do not say; give --up z (Python: up=) if z points up in them\n"
    assert capsys.readouterr().err == 2 * line


def test_another_axis_may_be_assumed_and_is_said(capsys):
    with verbosity():
        assert find_frame(None, None, what=".ply files", assumed="z") == Frame("z", "assumed")
    line = "z-up is assumed, since the inputs do not say; give --up y (Python: up=) if y points up in them\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(("up", "own"), [("z", None), ("y", "y"), (None, "y")])
def test_a_frame_that_is_stated_is_not_talked_about(up, own, capsys):
    with verbosity():
        find_frame(up, own, what=".glb files")
    assert capsys.readouterr().err == ""


def test_a_format_that_is_overruled_is_said(capsys):
    with verbosity():
        find_frame("z", "y", what=".glb files")
    assert capsys.readouterr().err == ".glb files are y-up by their format; they are taken to be z-up, as --up says\n"


def test_quiet_commands_say_nothing_of_it(capsys):
    with verbosity(quiet=True):
        find_frame(None, None, what=".ply files")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("frames", "together"),
    [
        ([Frame("z", "given")] * 2, Frame("z", "given")),
        ([Frame("y", "format"), ASSUMED], ASSUMED),
        ([Frame("y", "format")], Frame("y", "format")),
        ([Frame("z", "format"), Frame("y", "format")], Frame("y", "format")),
        ([Frame("z", "format"), Frame("z", "assumed")], Frame("z", "assumed")),
        ([Frame("y", "format"), Frame("z", "assumed")], Frame("y", "assumed")),
        ([], ASSUMED),
    ],
)
def test_the_frame_of_several_inputs_is_assumed_if_that_of_one_is(frames, together):
    assert common_frame(frames) == together


@pytest.mark.parametrize("up", UPS)
def test_what_was_turned_is_turned_back_exactly(up):
    points = np.random.default_rng(0).normal(size=(9, 3))
    np.testing.assert_array_equal(from_y_up(to_y_up(points, up), up), points)
