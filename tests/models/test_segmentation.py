"""The part-segmentation networks: published sizes, and where dropout acts."""

import inspect

import pytest
import torch
from torch import nn

from crosspoint.models import DGCNN, DGCNNSegmenter
from crosspoint.models.segmentation import SegmentationBackbone


def test_the_published_numbers_of_neighbours_are_the_usual_ones():
    usual = {kind: inspect.signature(kind).parameters["k"].default for kind in (DGCNN, SegmentationBackbone)}
    assert usual == {DGCNN: 20, SegmentationBackbone: 40}
    assert inspect.signature(DGCNNSegmenter).parameters["k"].default == 40
    assert DGCNNSegmenter(5, 2).config["k"] == 40
    assert DGCNNSegmenter(5, 2).backbone.k == 40


def test_dropout_follows_the_first_two_hidden_layers_alone():
    network = DGCNNSegmenter(5, 2, k=4)
    seen = {}

    def keep(name):
        return lambda module, given, result: seen.__setitem__(name, (given[0].detach(), result.detach()))

    for number, dropout in enumerate(network.dropouts):
        dropout.register_forward_hook(keep(number))
    network.train()
    points = torch.randn(2, 500, 3, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    network(points, torch.eye(2))
    for number, share in enumerate([0.5, 0.5, 0.0]):
        given, result = seen[number]
        lost = (result[given != 0] == 0).float().mean().item()
        assert lost == pytest.approx(share, abs=0.01)
    network.eval()
    network(points, torch.eye(2))
    assert all(torch.equal(*seen[number]) for number in range(3))


def test_there_is_no_other_dropout():
    assert [m.p for m in DGCNNSegmenter(5, 2, k=4).modules() if isinstance(m, nn.Dropout)] == [0.5, 0.5]
