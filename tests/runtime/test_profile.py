import pytest

from crosspoint.core.errors import InputError
from crosspoint.runtime.profile import make_profile, parse_range


@pytest.mark.parametrize(
    ("given", "expected"),
    [("8", (8, 8, 8)), (8, (8, 8, 8)), ("1:8:32", (1, 8, 32)), ((1, 8, 32), (1, 8, 32)), ("4:4:4", (4, 4, 4))],
)
def test_a_number_and_a_range_are_read(given, expected):
    assert parse_range("--batch", given) == expected


@pytest.mark.parametrize("given", ["", "x", "1:2", "1:2:3:4", "3:2:1", "0:1:2", "-1", "1.5", "any", (1, 2), None])
def test_anything_else_is_refused_by_name(given):
    with pytest.raises(InputError, match=r"--batch .* is invalid"):
        parse_range("--batch", given)


def test_points_may_be_open():
    assert make_profile("1:2:4", "any").points is None
    assert make_profile("1:2:4", None).tested_points(20) == (20, 1024, 2048)


def test_one_number_of_points_is_fixed_and_a_range_is_not():
    assert make_profile(8, 1024).fixed_points == 1024
    assert make_profile(8, "64:128:256").fixed_points is None


def test_an_engine_gets_the_shapes_of_every_input():
    profile = make_profile("1:8:32", "64:128:256")
    assert profile.shapes("points", 3) == ((1, 64, 3), (8, 128, 3), (32, 256, 3))
    assert profile.shapes("category", 16) == ((1, 16), (8, 16), (32, 16))


def test_an_engine_needs_bounds():
    with pytest.raises(InputError, match="give --points min:opt:max"):
        make_profile(8, "any").shapes("points", 3)
