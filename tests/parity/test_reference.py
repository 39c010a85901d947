import numpy as np
import pytest
import torch

from crosspoint.models.neighbours import nearest
from crosspoint.parity.reference import Reference, overlap


@pytest.fixture
def cloud():
    return torch.from_numpy(np.random.default_rng(0).standard_normal((50, 3)))


def test_the_nearest_points_are_all_right(cloud):
    assert overlap(cloud, nearest(cloud[None], 6)[0]) == 1.0


def test_a_far_point_among_the_neighbours_counts_as_wrong(cloud):
    chosen = nearest(cloud[None], 50)[0]  # ascending
    wrong = torch.cat([chosen[:, :5], chosen[:, -1:]], dim=1)
    assert overlap(cloud, wrong) == pytest.approx(5 / 6)


def test_a_point_named_twice_counts_once(cloud):
    chosen = nearest(cloud[None], 6)[0]
    chosen[:, 5] = chosen[:, 4]
    assert overlap(cloud, chosen) == pytest.approx(5 / 6)


def test_any_choice_among_equally_far_points_is_right():
    x = torch.tensor([[0.0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], dtype=torch.float64)
    first = torch.tensor([[0, 1, 2], [1, 0, 3], [2, 0, 3], [3, 0, 1], [4, 0, 1]])
    second = torch.tensor([[0, 3, 4], [1, 0, 4], [2, 0, 4], [3, 0, 2], [4, 0, 2]])
    assert overlap(x, first) == overlap(x, second) == 1.0


@pytest.mark.parametrize("name", ["dgcnn", "dgcnn_seg", "dgcnn_partseg"])
def test_on_its_own_graphs_given_back_the_network_gives_the_same(name, network, inputs):
    model, drawn = network(name).double(), inputs(name, 1, 30)
    features = []
    edges = [module for module in model.modules() if type(module).__name__ in ("EdgeConv", "EdgeConv2")]
    hooks = [edge.register_forward_hook(lambda _, args, __: features.append(args[0])) for edge in edges]
    with torch.inference_mode():
        expected = model(**{key: torch.from_numpy(value).double() for key, value in drawn.items()})
    for hook in hooks:
        hook.remove()
    reference = Reference(model)
    graphs = {f"edge{i}": nearest(x, model.config["k"]).numpy() for i, x in enumerate(features)}
    output, shares = reference.on_graphs(drawn, graphs)
    np.testing.assert_allclose(output, expected.numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(reference.on_own_graphs(drawn), expected.numpy())
    assert shares == dict.fromkeys(graphs, 1.0)


def test_on_other_graphs_the_network_gives_something_else(network, inputs):
    drawn = inputs("dgcnn", 1, 30)
    reference = Reference(network("dgcnn"))
    everyone_and_itself = np.tile(np.arange(6), (1, 30, 1))
    output, shares = reference.on_graphs(
        drawn, dict.fromkeys(("edge1", "edge2", "edge3", "edge4"), everyone_and_itself)
    )
    assert np.linalg.norm(output - reference.on_own_graphs(drawn)) > 1e-2 * np.linalg.norm(output)
    assert max(shares.values()) < 0.9


@pytest.mark.parametrize(("further", "right"), [(0.0005, True), (0.005, False)])
def test_far_from_the_origin_a_neighbour_may_be_further_by_the_rounding_of_float32(further, right):
    """At 1000 a coordinate in float32 may be off by 0.001, however many points there are."""
    far = 1000.5 + np.linspace(0, 1, 100) ** 2
    x = torch.from_numpy(np.concatenate([[1000.0, 1000.1, 1000.1 + further], far]))[:, None]
    chosen = nearest(x[None], 2)[0]
    chosen[0] = torch.tensor([0, 2])  # in place of point 1, which is nearer
    assert overlap(x, chosen) == (1.0 if right else 1 - 1 / (2 * len(x)))
