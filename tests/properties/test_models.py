"""What the networks compute does not depend on the order of the points, nor on the other clouds of a batch."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

NAMES = ["DGCNN", "PointNet", "SegmentationBackbone", "DGCNNSegmenter"]
K = 6


@pytest.fixture(scope="module", params=NAMES)
def networks(request, make_network):
    """One network in float32, in float64, and in float64 with half as many neighbours."""
    network = make_network(request.param, K)
    return SimpleNamespace(
        single=network,
        double=copy.deepcopy(network).double(),
        half=make_network(request.param, K // 2).double(),
        of_points=request.param == "DGCNNSegmenter",
    )


@st.composite
def batches(draw, fewest=1):
    """Clouds `(B, N, 3)` within the unit sphere."""
    batch, count = draw(st.integers(fewest, 4)), draw(st.integers(K, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return torch.tensor(rng.uniform(-0.57, 0.57, (batch, count, 3)))


def assert_near(result, expected, tolerance):
    scale = 1 + expected.abs().max()
    torch.testing.assert_close(result.double() / scale, expected / scale, rtol=0, atol=tolerance)


@given(points=batches(), random=st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(networks, run_network, has_near_tie, points, random):
    order = random.sample(range(points.shape[1]), points.shape[1])
    expected = run_network(networks.double, points)
    if networks.of_points:
        expected = expected[:, order]
    assert_near(run_network(networks.double, points[:, order]), expected, 1e-10)
    assume(not has_near_tie(networks.double, points))
    assert_near(run_network(networks.single, points[:, order].float()), expected, 2e-5)


@given(points=batches(fewest=2))
def test_a_cloud_s_result_is_its_own_whatever_its_batch(networks, run_network, has_near_tie, points):
    together = run_network(networks.double, points)
    for i, cloud in enumerate(points):
        alone = torch.stack([cloud] * (i % 3 + 1))  # the last of these has the category that it has in the batch
        assert_near(run_network(networks.double, alone)[-1], together[i], 1e-10)
    assume(not has_near_tie(networks.double, points))
    others = torch.cat([points[:1], 0.9 * points[1:].flip(1)])
    for batch in (points, others):
        assert_near(run_network(networks.single, batch.float())[0], together[0], 2e-5)


@given(points=batches(), random=st.randoms(use_true_random=False))
def test_a_cloud_with_every_point_twice_and_twice_the_neighbours_is_the_cloud(
    networks, run_network, has_near_tie, points, random
):
    order = random.sample([*range(points.shape[1])] * 2, 2 * points.shape[1])
    expected = run_network(networks.half, points)
    if networks.of_points:
        expected = expected[:, order]
    assert_near(run_network(networks.double, points[:, order]), expected, 1e-10)
    assume(not has_near_tie(networks.half, points))
    assert_near(run_network(networks.single, points[:, order].float()), expected, 2e-5)


@given(count=st.integers(K, 40), batch=st.integers(1, 3), place=st.floats(-1, 1))
def test_a_cloud_of_one_place_has_the_result_of_its_point(networks, run_network, count, batch, place):
    """All points tie; the result is that of any number of them."""
    points = torch.tensor([place, -place, 0.5], dtype=torch.float64).expand(batch, count, 3)
    expected = run_network(networks.double, points[:, :K])
    result = run_network(networks.single, points.float())
    assert_near(
        result[:, :1] if networks.of_points else result, expected[:, :1] if networks.of_points else expected, 2e-5
    )
