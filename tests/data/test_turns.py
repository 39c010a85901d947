import numpy as np

from crosspoint.data.turns import turn


def test_a_quarter_turn_takes_z_to_x_and_keeps_y():
    found = turn(np.eye(3, dtype=np.float32), 90)
    np.testing.assert_allclose(found, [[0, 0, -1], [0, 1, 0], [1, 0, 0]], atol=1e-7)
    assert found.dtype == np.float32


def test_four_quarter_turns_are_none():
    points = np.random.default_rng(0).normal(size=(2, 5, 3))
    np.testing.assert_allclose(turn(turn(turn(turn(points, 90), 90), 90), 90), points, atol=1e-12)
