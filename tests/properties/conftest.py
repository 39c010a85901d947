"""Networks in evaluation mode with statistics of their own, and how close a choice of neighbours was."""

import pytest
import torch
from compiled_operators import compiled
from torch import nn
from triton_schema import schema

from crosspoint.models import DGCNN, DGCNNSegmenter, PointNet, SegmentationBackbone
from crosspoint.models.edgeconv import EdgeConv, EdgeConv2

__all__ = ["compiled", "has_near_tie", "make_network", "run_network", "schema"]

BUILD = {
    "DGCNN": DGCNN,
    "PointNet": lambda k: PointNet(),
    "SegmentationBackbone": SegmentationBackbone,
    "DGCNNSegmenter": lambda k: DGCNNSegmenter(7, 3, k=k),
}


@pytest.fixture(scope="session")
def make_network():
    """Builds a network by its name and k; for any k it has the same weights, and γ of every sign."""

    def make(name, k):
        torch.manual_seed(0)
        network = BUILD[name](k)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d):
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias, std=0.2)
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
            if module.__class__.__name__ == "TransformNet":
                nn.init.normal_(module.transform.weight, std=0.02)
        return network.eval()

    return make


@pytest.fixture(scope="session")
def run_network():
    """Results `(B, D)`, or `(B, N, parts)` of a segmenter that is told the categories 0, 1, 2, 0, …."""

    def run(network, points):
        inputs = [points]
        if isinstance(network, DGCNNSegmenter):
            inputs.append(torch.eye(3, dtype=points.dtype)[torch.arange(len(points)) % 3])
        with torch.inference_mode():
            return network(*inputs)

    return run


@pytest.fixture(scope="session")
def has_near_tie(run_network):
    """Whether a float32 program may choose other neighbours than the float64 network did for `points (B, N, 3)`.

    It may where the first point left out is hardly farther than the last neighbour, as against the largest distance.
    """

    def has(network, points):
        margins = [1.0]

        def look(module, inputs):
            x = inputs[0] - inputs[0].mean(1, keepdim=True)
            ordered = (x[:, :, None] - x[:, None]).square().sum(-1).sort(-1).values  # (B, N, N)
            k = inputs[1].shape[2] if len(inputs) > 1 else module.k
            if k < x.shape[1]:
                margins.append(float((ordered[..., k] - ordered[..., k - 1]).min() / ordered.max()))

        layers = [module for module in network.modules() if isinstance(module, EdgeConv | EdgeConv2)]
        hooks = [layer.register_forward_pre_hook(look) for layer in layers]
        run_network(network, points)
        for hook in hooks:
            hook.remove()
        return min(margins) < 3e-6

    return has
