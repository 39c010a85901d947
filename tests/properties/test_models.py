"""What the networks compute does not depend on the order of the points, nor on the other clouds of a batch."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from crosspoint.models import DGCNN, DGCNNSegmenter, PointNet, SegmentationBackbone
from crosspoint.models.edgeconv import EdgeConv, EdgeConv2

NETWORKS = {
    "DGCNN": DGCNN,
    "PointNet": PointNet,
    "SegmentationBackbone": SegmentationBackbone,
    "DGCNNSegmenter": lambda k: DGCNNSegmenter(7, 3, k),
}
NEAR_TIE = 3e-6  # of the largest distance; a float32 network may choose another neighbour below it


@pytest.fixture(scope="module", params=[*NETWORKS])
def network(request):
    """In evaluation mode, with statistics and γ of every sign."""
    torch.manual_seed(0)
    result = NETWORKS[request.param](*([] if request.param == "PointNet" else [6]))
    for module in result.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias, std=0.2)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        if hasattr(module, "transform") and isinstance(module.transform, nn.Linear):
            nn.init.normal_(module.transform.weight, std=0.02)
    return result.eval()


@pytest.fixture(scope="module")
def exact(network):
    return copy.deepcopy(network).double()


@st.composite
def batches(draw, fewest=1):
    """Clouds `(B, N, 3)` within the unit sphere."""
    batch, count = draw(st.integers(fewest, 4)), draw(st.integers(6, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return torch.tensor(rng.uniform(-0.57, 0.57, (batch, count, 3)))


def run(network, points):
    """Results `(B, D)`, or `(B, N, parts)` of a segmenter that is told the categories 0, 1, 2, 0, …."""
    inputs = [points]
    if isinstance(network, DGCNNSegmenter):
        inputs.append(torch.eye(3, dtype=points.dtype)[torch.arange(len(points)) % 3])
    with torch.inference_mode():
        return network(*inputs)


def margin(network, points):
    """How much farther the first point left out is than the last neighbour, relative to the largest distance."""
    found = [1.0]

    def look(module, inputs):
        x = inputs[0] - inputs[0].mean(1, keepdim=True)
        ordered = (x[:, :, None] - x[:, None]).square().sum(-1).sort(-1).values
        k = inputs[1].shape[2] if len(inputs) > 1 else module.k
        if k < x.shape[1]:
            found.append(float((ordered[..., k] - ordered[..., k - 1]).min() / ordered.max()))

    layers = [module for module in network.modules() if isinstance(module, EdgeConv | EdgeConv2)]
    hooks = [layer.register_forward_pre_hook(look) for layer in layers]
    run(network, points)
    for hook in hooks:
        hook.remove()
    return min(found)


def assert_near(result, expected, tolerance):
    scale = 1 + expected.abs().max()
    torch.testing.assert_close(result / scale, expected / scale, rtol=0, atol=tolerance)


@given(points=batches(), random=st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(network, exact, points, random):
    order = random.sample(range(points.shape[1]), points.shape[1])
    pointwise = isinstance(network, DGCNNSegmenter)
    expected = run(exact, points)
    moved = run(exact, points[:, order])
    assert_near(moved, expected[:, order] if pointwise else expected, 1e-10)
    assume(margin(exact, points) > NEAR_TIE)
    result = run(network, points[:, order].float()).double()
    assert_near(result, expected[:, order] if pointwise else expected, 2e-5)


@given(points=batches(fewest=2), random=st.randoms(use_true_random=False))
def test_a_cloud_s_result_is_its_own_whatever_its_batch(network, exact, points, random):
    points = points[random.sample(range(len(points)), len(points))]
    together = run(exact, points)
    for i, cloud in enumerate(points):
        category = [cloud] * (i % 3 + 1)  # the last of these has the category that it has in the batch
        assert_near(run(exact, torch.stack(category))[-1], together[i], 1e-10)
    assume(margin(exact, points) > NEAR_TIE)
    others = torch.cat([points[:1], points[1:].flip(1) * 0.9])
    for batch in (points, others):
        assert_near(run(network, batch.float())[0].double(), together[0], 2e-5)


@given(points=batches(), repeats=st.integers(2, 3))
def test_a_cloud_several_times_in_a_batch_has_one_result(network, points, repeats):
    if isinstance(network, DGCNNSegmenter):
        repeats = 4  # the first and the last have one category
    result = run(network, points[:1].float().repeat(repeats, 1, 1))
    assert_near(result[-1], result[0], 2e-5)
