"""The page that specifies sampling and normalisation, run beside the package."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspoint.data.frames import UPS, to_y_up
from crosspoint.data.points import drawing

PAGE = (Path(__file__).parents[2] / "docs" / "preprocessing.md").read_text(encoding="utf-8")
SPECIFIED: dict = {}
exec(re.search(r"```python\n(M32.*?)```", PAGE, re.DOTALL)[1], SPECIFIED)


def specified(seed, stored, count, draws=1):
    rng = SPECIFIED["Rng"]([seed, stored, *SPECIFIED["NO_FACES"]])
    return [SPECIFIED["draw"](rng, stored, count) for _ in range(draws)]


def drawn(seed, stored, count, draws=1):
    rng = drawing(seed, stored)
    return [rng.choice(stored, count, replace=False).tolist() for _ in range(draws)]


@pytest.mark.parametrize(
    ("stored", "count"),
    [(1, 1), (2, 1), (1024, 1024), (10_000, 512), (10_001, 200), (10_001, 201), (10_001, 10_001), (300_000, 1024)],
)
def test_points_are_drawn_as_specified(stored, count):
    assert drawn(0, stored, count, draws=2) == specified(0, stored, count, draws=2)


@given(seed=st.integers(0, 2**32 - 1), stored=st.integers(1, 3000), share=st.floats(0, 1))
def test_any_seed_and_size_is_drawn_as_specified(seed, stored, share):
    count = max(1, int(stored * share))
    assert drawn(seed, stored, count) == specified(seed, stored, count)


def test_frames_turn_as_specified():
    table = dict(re.findall(r"\| `(-?[xyz])`[^|]*\| \(([^)]*)\) \|", PAGE))
    point = {"x": 1.0, "y": 2.0, "z": 3.0}
    for up in UPS:
        expected = [(-1 if word[0] == "−" else 1) * point[word[-1]] for word in table[up].split(", ")]
        assert to_y_up(np.array([[1.0, 2.0, 3.0]]), up).tolist() == [expected]
