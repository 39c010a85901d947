"""What an export starts from: a name, a bundle, a checkpoint of another repository."""

import pytest
import torch
from foreign_networks import PointNetClassifier, PointNetEncoder, SceneTrunk, randomise

from crosspoint.core.errors import InputError
from crosspoint.export.bundle import export
from crosspoint.export.options import ExportOptions
from crosspoint.export.trained import read_trained, trained_weights
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.released import resolve

SMALL = {"batch": 1, "points": 48}


def checkpoint(path, network):
    torch.save(randomise(network).state_dict(), path)
    return path


def clouds():
    import numpy as np

    from crosspoint.data.points import normalise

    return normalise(np.random.default_rng(0).normal(size=(2, 48, 3)))


@pytest.mark.parametrize(("network", "k"), [(PointNetEncoder, None), (lambda: SceneTrunk(6), 6)])
def test_a_checkpoint_is_exported_as_it_is(tmp_path, network, k):
    path = checkpoint(tmp_path / "m.pth", network())
    manifest = export(path, tmp_path / "bundle", options=ExportOptions(k=k), **SMALL)
    assert manifest.source.path == "m.pth"
    model = read_trained(path, k=k).network().double()
    with load_encoder(tmp_path / "bundle", threads=1) as encoder, torch.inference_mode():
        expected = model(torch.from_numpy(clouds()).double()).numpy()
        assert abs(encoder.embed(clouds()) - expected).max() <= 1e-4 * abs(expected).max()


def test_a_bundle_of_a_released_model_is_exported_again(tmp_path):
    export("pointnet", tmp_path / "one", **SMALL)
    assert trained_weights(tmp_path / "one") == resolve("pointnet", ".safetensors")


def test_a_bundle_whose_weights_are_not_here_names_them(saved, tmp_path):
    source = saved("pointnet")
    manifest = export(source, tmp_path / "one", **SMALL)
    with pytest.raises(InputError, match=rf"without trained weights; give .*{manifest.source.sha256[:16]}"):
        trained_weights(tmp_path / "one")


def test_what_is_missing_is_named(saved, tmp_path):
    scene = checkpoint(tmp_path / "scene.pth", SceneTrunk(6))
    with pytest.raises(InputError, match="give --k"):
        read_trained(scene)
    with pytest.raises(InputError, match="leave --k out"):
        read_trained(trained_weights(saved("pointnet")), k=5)
    whole = checkpoint(tmp_path / "whole.pth", PointNetClassifier(3))
    with pytest.raises(InputError, match="import it first, with its class names: crosspoint import"):
        read_trained(whole)
