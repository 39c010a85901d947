"""Where the dots of a map are, and which cloud each of them shows."""

import base64

import numpy as np
import pytest

from crosspoint.report import scatter as module
from crosspoint.report.scatter import colour, packed, place_labels, scatter


@pytest.fixture
def shown(monkeypatch):
    """What the template was given."""
    kept = {}
    monkeypatch.setattr(module, "render", lambda template, **values: kept.update(values, template=template))
    return kept


def cloud(value):
    return np.full((2, 3), value, np.float32)


def test_every_dot_knows_the_number_of_its_own_cloud(shown):
    places = np.array([[0.0, 0.0], [1.0, 4.0], [2.0, 8.0], [4.0, 2.0]])
    scatter(places, ["b", "a", "", "b"], clouds=[cloud(-1), None, None, cloud(1)])
    assert [number for *_, number in shown["dots"]] == [0, None, None, 1]
    assert base64.b64decode(shown["clouds"]) == bytes([0] * 6 + [255] * 6)
    assert shown["points"] == 2
    assert shown["template"] == "scatter"


def test_dots_fill_the_box_but_for_its_margin(shown):
    places = np.array([[-1.0, 10.0], [0.0, 30.0], [3.0, 20.0]])
    scatter(places, ["b", "a", ""], clouds=[None] * 3)
    at = [(x, y) for x, y, *_ in shown["dots"]]
    np.testing.assert_allclose(at, [(30, 30), (265, 730), (970, 380)])
    assert [name for _, _, name, _, _ in shown["dots"]] == ["b", "a", ""]
    assert [colours for *_, colours, _ in shown["dots"]] == [colour(2), colour(1), colour(0)]
    assert (shown["clouds"], shown["points"], shown["size"]) == ("", 0, (1000, 760))


def test_equal_places_are_one_dot_and_no_division_by_zero(shown):
    scatter(np.full((3, 2), 7.0), ["", "", ""], clouds=[None] * 3)
    assert {(x, y) for x, y, *_ in shown["dots"]} == {(30, 30)}
    assert shown["labels"] == []


def test_a_label_stands_above_the_median_of_its_class(shown):
    places = np.array([[0.0, 0.0], [10.0, 10.0], [4.0, 6.0], [5.0, 5.0], [6.0, 5.0]])
    scatter(places, ["", "", "lamp", "lamp", "lamp"], clouds=[None] * 5)
    ((x, y, name),) = shown["labels"]
    assert (float(x), float(y), name) == (pytest.approx(30 + 940 * 0.5), pytest.approx(30 + 700 * 0.5 - 15), "lamp")


def test_coordinates_are_packed_as_bytes():
    values = np.array([[[-2.0, -1.0, -0.5], [0.0, 0.5, 1.5]]], np.float32)
    assert base64.b64decode(packed(values)) == bytes([0, 0, 64, 128, 191, 255])


def test_consecutive_colours_differ_in_hue_and_lightness():
    assert [colour(i) for i in range(4)] == [
        "hsl(0 72% 46%)",
        "hsl(138 50% 58%)",
        "hsl(275 72% 52%)",
        "hsl(53 50% 46%)",
    ]


def test_labels_are_pushed_apart_within_the_box():
    rng = np.random.default_rng(0)
    at = place_labels(rng.normal([500, 380], 40, (40, 2)), [80.0] * 40, height=17, box=(1000, 760))
    gap = np.abs(at[:, None] - at[None])
    overlap = (gap[..., 0] < 79) & (gap[..., 1] < 16)
    assert overlap.sum() == 40  # each with itself
    assert ((at >= [40, 8.5]) & (at <= [960, 751.5])).all()
