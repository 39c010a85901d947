"""What a pretraining run can start from by name."""

from pathlib import Path

import pytest
import torch
from torch import nn

from crosspoint.core.content import read_once
from crosspoint.core.errors import InputError
from crosspoint.models import DGCNN, PointNet
from crosspoint.models.crosspoint import CrossPoint
from crosspoint.models.weights import read_weights
from crosspoint.runtime.released import resolve
from crosspoint.train.pretrain.initial_weights import find_initial_weights, load_initial_weights
from crosspoint.train.pretrain.recipes import make_recipe


def test_a_released_model_is_a_start_by_its_name():
    found = find_initial_weights(Path("pointnet"))
    network = CrossPoint(PointNet(), nn.Identity(), image=None, image_head=None)
    load_initial_weights(read_once(found), network, recipe=make_recipe("quick", ["backbone=pointnet"]))
    released = read_weights(resolve("pointnet", ".safetensors")).network().state_dict()
    for name, tensor in network.points.state_dict().items():
        assert torch.equal(tensor, released[name]), name


def test_a_released_model_of_another_network_is_refused_with_the_option_that_helps():
    network = CrossPoint(DGCNN(), nn.Identity(), image=None, image_head=None)
    with pytest.raises(InputError, match=r"holds a pointnet, .* --set backbone=pointnet"):
        load_initial_weights(read_once(find_initial_weights(Path("pointnet"))), network, recipe=make_recipe("quick"))


def test_a_name_that_is_none_is_answered_with_those_that_are(tmp_path):
    with pytest.raises(InputError, match=r"does not exist; give .*dgcnn, dgcnn-scan, pointnet"):
        find_initial_weights(tmp_path / "dgcn")
