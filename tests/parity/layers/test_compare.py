"""Layers compared one by one."""

from types import SimpleNamespace

import numpy as np

from crosspoint.parity.layers import compare
from crosspoint.parity.layers.compare import Difference, NamedClouds, overlap_when_centred
from crosspoint.parity.layers.layers import Layer
from crosspoint.parity.limits import LIMITS


class Asked:
    """Layers that answer with given neighbours and keep what they were asked with."""

    def __init__(self, neighbours):
        self.neighbours = neighbours
        self.given = None

    def compute(self, names, given):
        (name,) = names
        self.given = given
        return {name: self.neighbours}


def test_the_layer_is_asked_again_with_each_clouds_mean_taken_away():
    rng = np.random.default_rng(0)
    features = (rng.standard_normal((2, 12, 5)) + np.array([[[100.0]], [[-30.0]]])).astype(np.float32)
    distances = np.linalg.norm(features[:, :, None].astype(float) - features[:, None], axis=-1)
    nearest = np.argsort(distances, axis=-1)[..., :4]
    layer = Layer("edge2", ("edge1",), graph="edge2/neighbours")
    asked = Asked(nearest)
    assert overlap_when_centred(asked, layer, features=features) == 1
    given = asked.given["edge1"]
    np.testing.assert_allclose(given.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(given, features - features.mean(axis=1, keepdims=True), atol=1e-5)


def test_wrong_neighbours_lower_the_share():
    features = np.arange(12, dtype=np.float32).reshape(1, 12, 1) ** 2
    far = np.broadcast_to(np.array([11]), (1, 12, 1)).copy()
    share = overlap_when_centred(Asked(far), Layer("e", ("x",), graph="g"), features=features)
    assert share == 1 / 12  # right for the last point alone


LIMIT = LIMITS["fp32"]


def made(own=None, overlap=None, channels=((0.0,),), **values):
    clouds = np.zeros(len(channels))
    return Difference(
        Layer("edge2", ("edge1",)),
        clouds,
        clouds,
        np.array(channels),
        None if own is None else np.array(own),
        values.pop("widths", None),
        None if overlap is None else np.array(overlap),
        **values,
    )


def test_a_share_or_an_error_at_its_limit_is_within_it():
    inside, outside = LIMIT.overlap, np.nextafter(LIMIT.overlap, 0)
    of_one = [((0.0,),) * 5]
    own, gate = [inside, outside, outside, inside, np.nan], [outside, inside, outside, inside, np.nan]
    found = made(own, gate, *of_one).wrong_neighbours(LIMIT)
    assert found.tolist() == [False, False, True, False, True]
    assert made(own, None, *of_one).wrong_neighbours(LIMIT).tolist() == [False, True, True, False, True]
    assert made(None, gate, *of_one).wrong_neighbours(LIMIT).tolist() == [False] * 5
    most = LIMIT.channel
    errors = [(0.0, most), (0.0, np.nextafter(most, 1)), (np.nan, 0.0), (np.inf, 0.0)]
    assert made(channels=errors).bad(LIMIT).tolist() == [False, True, True, True]
    passed = np.array([True, True, False, True])
    assert made(channels=errors, passed=passed).bad(LIMIT).tolist() == [False, False, True, False]


def test_another_number_of_neighbours_is_bad_on_every_cloud():
    zeros = ((0.0,),) * 3
    assert made(channels=zeros, widths=(6, 4), passed=np.ones(3, bool)).bad(LIMIT).tolist() == [True] * 3
    assert made(channels=zeros, widths=(6, 6)).bad(LIMIT).tolist() == [False] * 3


def test_some_clouds_of_a_difference():
    rows = np.arange(4.0)
    whole = Difference(Layer("a", ()), rows, rows + 10, rows[:, None] + 20, rows + 30, (6, 6), rows + 40, rows > 2)
    some = whole.at([3, 1])
    assert some.total.tolist() == [3, 1]
    assert some.introduced.tolist() == [13, 11]
    assert some.channels.tolist() == [[23], [21]]
    assert some.own_overlap.tolist() == [33, 31]
    assert some.overlap.tolist() == [43, 41]
    assert some.passed.tolist() == [True, False]
    assert made().at([0]).own_overlap is None


def test_the_error_of_a_channel_is_relative_to_all_channels_of_its_cloud():
    """A cloud of two points and two channels, of root mean square 5; and one of zeros."""
    reference = np.array([[[7.0, 1.0], [7.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    candidate = reference + np.array([[[0.0, 3.0], [0.0, -4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    errors = compare._channel_errors(reference, candidate)
    np.testing.assert_allclose(errors, [[0, np.sqrt(12.5) / 5], [0, 0]])
    candidate[0, 1, 0] = np.nan
    assert compare._channel_errors(reference, candidate)[0].tolist()[0] == np.inf


class Scaled:
    """A model of two layers that multiply: `a` by its factor, `b` by ten and its factor."""

    def __init__(self, a, b):
        self.factors = {"a": a, "b": 10 * b}
        self.specification = SimpleNamespace(categories=None)

    def compute(self, names, given):
        known = dict(given)
        for name, source in (("a", "points"), ("b", "a")):
            known.setdefault(name, known[source] * self.factors[name] if source in known else None)
        return {name: known[name] for name in names}


def test_what_a_layer_adds_is_told_from_what_came_in():
    """Nine clouds, in pieces of four: layer a of the candidate is 2 % larger, layer b 5 %."""
    layers = (Layer("a", ("points",)), Layer("b", ("a",)))
    points = np.random.default_rng(0).standard_normal((9, 6, 3)).astype(np.float32)
    clouds = NamedClouds(points, [str(i) for i in range(9)], [False] * 9)
    first, second = compare.compare(Scaled(1, 1), Scaled(1.02, 1.05), layers=layers, clouds=clouds)
    assert [one.layer.name for one in (first, second)] == ["a", "b"]
    np.testing.assert_allclose(first.total, np.full(9, 0.02), rtol=1e-4)
    np.testing.assert_allclose(first.introduced, np.full(9, 0.02), rtol=1e-4)
    np.testing.assert_allclose(second.introduced, np.full(9, 0.05), rtol=1e-4)
    np.testing.assert_allclose(second.total, np.full(9, 1.02 * 1.05 - 1), rtol=1e-4)
    assert second.channels.shape == (9, 3)
    assert (second.own_overlap, second.widths) == (None, None)
