"""How the fault of a layer is told, on layers that were made by hand."""

import numpy as np
import pytest

from crosspoint.parity.layers import cause as module
from crosspoint.parity.layers.cause import Cause, find_cause, measure, swapped_layers
from crosspoint.parity.layers.compare import Difference
from crosspoint.parity.layers.diagnosis import ChannelFacts, NeighbourCounts
from crosspoint.parity.layers.layers import Layer
from crosspoint.parity.limits import LIMITS

EDGE = Layer("edge2", ("edge1",), "edge2/neighbours", 0.2)
PLAIN = Layer("layer2", ("layer1",), None, 0.0)
JOINED = Layer("embed", ("edge1", "edge2"), None, 0.2)


class Linear:
    """A layer with these weights `(F + 1, D)`, the bias last, and an activation with a slope below 0."""

    def __init__(self, layer, weights):
        self.layer, self.weights = layer, weights

    def compute(self, names, given):
        assert names == [self.layer.name]
        inputs = [given[name].astype(np.float64) for name in self.layer.inputs]
        if self.layer.graph:
            x, graph = inputs[0], given[self.layer.graph]
            near = np.take_along_axis(x, graph[:, :, :1], axis=1)  # its neighbours are one, repeated
            assert (graph == graph[:, :, :1]).all()
            inputs = [near - x, x]
        values = np.concatenate(inputs, axis=2) @ self.weights[:-1] + self.weights[-1]
        return {self.layer.name: np.where(values > 0, values, values * self.layer.slope)}


def difference(layer, channels, widths=None, own=None, overlap=None):
    one = np.zeros(len(channels))
    return Difference(layer, one, one, np.asarray(channels, float), own, widths, overlap)


def features(layer, width=3, points=20, clouds=2):
    rng = np.random.default_rng(1)
    return {name: rng.standard_normal((clouds, points, width)).astype(np.float32) for name in layer.inputs}


def weights_of(layer, width=3, channels=5):
    rows = len(layer.inputs) * width * (2 if layer.graph else 1) + 1
    return np.random.default_rng(2).standard_normal((rows, channels))


@pytest.mark.parametrize("layer", [EDGE, PLAIN, JOINED])
def test_the_weights_of_both_models_are_measured(layer):
    first, second = weights_of(layer), weights_of(layer) + 1
    widths = (4, 4) if layer.graph else None
    found = measure(
        Linear(layer, first),
        Linear(layer, second),
        difference=difference(layer, np.ones((2, 5)), widths),
        features=features(layer),
        channels=np.array([1, 3]),
    )
    np.testing.assert_allclose(found[0], first[:, [1, 3]], atol=1e-6)
    np.testing.assert_allclose(found[1], second[:, [1, 3]], atol=1e-6)


def test_probes_have_the_spread_of_each_channel_and_at_least_a_tenth_of_all():
    """Channels of deviation 3, 0 and 0.001 about the means 0, 2 and 0: their root mean square is √(13/3)."""
    signs = np.tile([1.0, -1.0], 10)
    real = np.stack([3 * signs, np.full(20, 2.0), 0.001 * signs], axis=1)[None].astype(np.float32)
    given, rows = module._probes(PLAIN, {"layer1": real}, 1)
    normal = np.random.default_rng(0).standard_normal(given["layer1"].shape)
    least = 0.1 * np.sqrt(13 / 3)
    np.testing.assert_allclose(given["layer1"] / normal, np.broadcast_to([3, least, least], normal.shape), rtol=1e-4)
    assert given["layer1"].dtype == np.float32
    assert (given["layer1"].shape[1:], rows.shape[1]) == ((20, 3), 4)
    assert rows.shape[0] >= 32 * 4  # ReLU hides half of the rows
    np.testing.assert_array_equal(rows[:, :3], given["layer1"].reshape(-1, 3))
    assert (rows[:, 3] == 1).all()


def test_probes_of_an_edge_have_one_neighbour_and_rows_of_differences():
    given, rows = module._probes(EDGE, features(EDGE), 4)
    x, graph = given["edge1"], given["edge2/neighbours"]
    assert graph.shape == (*x.shape[:2], 4)
    assert (graph == graph[:, :, :1]).all()
    near = np.stack([cloud[chosen] for cloud, chosen in zip(x, graph[:, :, 0], strict=True)])
    np.testing.assert_allclose(rows[:, :3], (near - x).reshape(-1, 3), atol=1e-6)
    np.testing.assert_allclose(rows[:, 3:6], x.reshape(-1, 3))
    assert len(rows) >= 4 * 7


@pytest.mark.parametrize(("live", "enough"), [(6, False), (7, True)])
def test_relu_needs_more_than_twice_as_many_values_as_unknowns(live, enough):
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.uniform(1, 2, (12, 2)), np.ones((12, 1))], axis=1)
    weights = np.array([2.0, 3.0, 1.0])
    values = rows @ weights
    values[live:] = 0
    found = module._least_squares(rows, values[:, None], 0.0)[:, 0]
    if enough:
        np.testing.assert_allclose(found, weights)
    else:
        assert np.isnan(found).all()


def test_factors_of_columns_that_are_parallel():
    first = np.array([[3.0, 0.0, 1.0, 2.0], [4.0, 2.0, 1.0, 0.0]])
    second = np.array([[6.0, 0.0, 1.0, 0.0], [8.0, -1.0, 1.1, 3.0]])
    found = module._scales(first, second, 0.01)
    np.testing.assert_array_equal(found[:2], [2.0, -0.5])
    assert np.isnan(found[2:]).all()
    assert module._scales(first[:, 2:3], second[:, 2:3], 0.05)[0] == pytest.approx(1.05)


def test_another_number_of_neighbours_comes_before_all_else():
    cause = find_cause(
        None, None, difference=difference(EDGE, np.ones((1, 3)), (6, 4)), features={}, limits=LIMITS["fp32"]
    )
    assert (cause.layer, cause.kind, cause.facts) == ("edge2", "neighbours", NeighbourCounts([6, 4]))
    assert cause.text == "looks at 4 neighbours of each point where the reference looks at 6"
    assert cause.advice == "export or train it again with k = 6"


@pytest.mark.parametrize("wrong", [2e-4, np.nan])
def test_a_layer_that_is_not_linear_names_the_channels_beyond_the_limit(wrong):
    layer = Layer("embedding", ("embed",))
    channels = np.full((2, 4), 0.9e-4)
    channels[1, 2] = wrong
    cause = find_cause(None, None, difference=difference(layer, channels), features={}, limits=LIMITS["fp32"])
    assert (cause.kind, cause.facts) == ("values", ChannelFacts([2]))
    assert cause.text == "computes something else in channel 2"


def found(layer, change, limits=LIMITS["fp32"]):
    """The cause when the candidate's weights were changed, with all channels beyond the limit."""
    first = weights_of(layer)
    second = change(first.copy())
    apart = difference(layer, np.ones((1, 5)), (4, 4) if layer.graph else None)
    return find_cause(
        Linear(layer, first), Linear(layer, second), difference=apart, features=features(layer), limits=limits
    )


@pytest.mark.parametrize("layer", [EDGE, PLAIN, JOINED])
def test_scaled_columns_are_another_batch_normalisation(layer):
    factors, shifts = np.array([2.0, 0.5, -1.5, 1.0, 3.0]), np.array([0.0, 1.0, 0.0, -1.0, 0.5])

    def change(weights):
        weights *= factors
        weights[-1] = weights_of(layer)[-1] + shifts
        return weights

    cause = found(layer, change)
    assert cause.kind == "batch normalisation"
    np.testing.assert_allclose(cause.facts.scales, factors, atol=1e-5)
    np.testing.assert_allclose(cause.facts.shifts, shifts, atol=1e-5)
    assert cause.facts.channels == [*cause.scales] == [0, 1, 2, 3, 4]
    assert cause.text.startswith("scales and shifts all 5 channels otherwise (by 2, 0.5, -1.5, 1, 3)")
    assert "swapped" not in cause.text


@pytest.mark.parametrize(
    ("factor", "kind", "words"), [(-1.0, "weight sign", "with the wrong sign"), (3.0, "weights", "one other")]
)
@pytest.mark.parametrize(
    ("layer", "row", "source"),
    [
        (EDGE, 1, "channel 1 of x_j − x_i"),
        (EDGE, 5, "channel 2 of x_i"),
        (PLAIN, 2, "channel 2 of layer1"),
        (JOINED, 0, "channel 0 of edge1"),
        (JOINED, 4, "channel 1 of edge2"),
    ],
)
def test_one_wrong_weight_is_found_with_its_input(layer, row, source, factor, kind, words):
    def change(weights):
        weights[row, 3] *= factor
        return weights

    cause = found(layer, change)
    assert cause.kind == kind
    assert words in cause.text
    assert f"from {source} to channel 3" in cause.text
    before = weights_of(layer)[row, 3]
    assert (cause.facts.input, cause.facts.channel) == (row, 3)
    assert (cause.facts.before, cause.facts.after) == pytest.approx((before, before * factor), abs=1e-5)


def test_many_other_weights_are_counted():
    def change(weights):
        weights[0, 1] += 1
        weights[2, 4] -= 1
        return weights

    cause = found(PLAIN, change)
    assert (cause.kind, cause.facts.weights) == ("weights", 2)
    assert cause.text == "has 2 other weights, in all 5 channels"


def test_in_a_coarse_precision_single_weights_cannot_be_told():
    def change(weights):
        weights[0, 1] *= -1
        return weights

    assert found(PLAIN, change, LIMITS["bf16"]).kind == "weight sign"
    assert found(PLAIN, change, LIMITS["int8"]).kind == "values"


def norm(layer, **scales):
    return Cause(layer, "batch normalisation", "", "", None, {int(name[1:]): value for name, value in scales.items()})


def test_layers_with_each_other_s_statistics_have_inverse_factors():
    one, other = norm("edge1", c0=2.0, c1=0.25, c2=3.0), norm("edge3", c0=0.5, c1=4.0, c2=1 / 3, c3=7.0)
    between = norm("edge2", c0=2.0, c1=0.25, c2=3.0)
    assert swapped_layers([one, between, other]) == (one, other)
    assert swapped_layers([one, between]) is None
    few = norm("edge3", c0=0.5, c5=1.0)
    assert swapped_layers([one, few]) is None  # one of three channels alone
    assert swapped_layers([norm("a", c0=2.0), norm("b", c0=0.5)]) is None  # one channel is no pattern
    weights = Cause("edge3", "weights", "", "", None, other.scales)
    assert swapped_layers([one, weights]) is None


@pytest.mark.parametrize(
    ("channels", "width", "words"),
    [
        ([3], 8, "channel 3"),
        ([1, 2], 8, "channels 1, 2"),
        ([0, 1, 2, 3, 4, 5], 8, "channels 0, 1, 2, 3, 4, 5"),
        ([0, 1, 2, 3, 4, 5, 6], 8, "7 of 8 channels (0, 1, 2, 3, 4, 5, …)"),
        ([0, 1], 2, "all 2 channels"),
    ],
)
def test_channels_in_words(channels, width, words):
    assert module._channels(np.array(channels), width) == words


def test_two_channels_with_inverse_factors_were_swapped():
    swapped = module._normalisation(PLAIN, {3: 2.0, 7: 0.5}, np.zeros(2), 64)
    assert swapped.text.endswith(", with the statistics of these two channels swapped")
    assert swapped.text.startswith("scales and shifts channels 3, 7 otherwise (by 2, 0.5)")
    assert "swapped" not in module._normalisation(PLAIN, {3: 2.0, 7: 0.6}, np.zeros(2), 64).text
    assert "swapped" not in module._normalisation(PLAIN, {3: 2.0, 7: 0.5, 8: 1.0}, np.zeros(3), 64).text
