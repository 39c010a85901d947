"""Checkpoints of other repositories give the features of their authors' networks, in float64 to rounding."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from foreign_networks import PointNetClassifier, PointNetEncoder, SceneTrunk, randomise

from crosspoint.core.errors import InputError
from crosspoint.models.official import convert, import_official, read_checkpoint
from crosspoint.models.pointnet import PointNet, fold_biases
from crosspoint.models.scenes import lift
from crosspoint.models.weights import load_model

K, EXACT = 6, {"rtol": 1e-12, "atol": 1e-12}
WEIGHTS = Path(os.environ.get("CROSSPOINT_TEST_DATA", "")) / "foreign_weights"
real = pytest.mark.skipif(
    not (WEIGHTS / "dgcnn_s3dis_fold1.t7").is_file(), reason="CROSSPOINT_TEST_DATA holds no foreign_weights"
)


def clouds(channels=3, count=40):
    return torch.randn(3, count, channels, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def close(ours, theirs, *inputs):
    with torch.inference_mode():
        torch.testing.assert_close(ours.double()(*inputs), theirs.double()(*inputs), **EXACT)


def old_file(path, state):
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


def filled(network, path):
    """The authors' form with the weights of a checkpoint; layers that it does not have are left out."""
    state = read_checkpoint(path).entries
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    return network.eval()


def test_a_pointnet_in_the_old_format_gives_its_features(tmp_path):
    network = randomise(PointNetEncoder())
    imported = import_official(
        old_file(tmp_path / "encoder.t7", network.state_dict()), out=tmp_path / "ours.safetensors"
    )
    assert imported.unused == ()
    close(load_model(tmp_path / "ours.safetensors"), network, clouds())


def test_a_pointnet_classifier_gives_its_encoder(tmp_path):
    network = randomise(PointNetClassifier(classes=7))
    imported = convert(network.state_dict(), source="test")
    close(imported.model, network.feature_model, clouds())
    assert all(not name.startswith("feature_model") for name in imported.unused)
    assert "linear3.weight" in imported.unused


def test_the_trunk_for_rooms_is_that_of_its_edges():
    network = randomise(SceneTrunk(K))
    imported = convert(network.state_dict(), K, source="test")
    assert imported.unused == ("conv9.weight",)
    close(imported.model, network, clouds(channels=9))


def test_a_cloud_without_colours_has_nine_channels_that_keep_its_shape():
    network = randomise(SceneTrunk(K))
    model, points = convert(network.state_dict(), K, source="test").model.double(), clouds()
    channels = torch.cat([points[..., [0, 2, 1]], torch.full_like(points, 0.5), points[..., [0, 2, 1]] / 2 + 0.5], 2)
    channels[..., 1] *= -1  # z points up there, y here
    channels[..., 7] = 1 - channels[..., 7]  # likewise, from 0 to 1
    torch.testing.assert_close(lift(points), channels, **EXACT)
    with torch.inference_mode():
        torch.testing.assert_close(model(points), network.double()(channels), **EXACT)


@pytest.mark.parametrize("k", [None, 5])
def test_the_number_of_neighbours_is_asked_for_where_it_matters(k):
    state = (SceneTrunk(K) if k is None else PointNetEncoder()).state_dict()
    with pytest.raises(InputError, match="give --k" if k is None else "leave --k out"):
        convert(state, k, source="x.pth")


def test_a_network_with_biases_can_be_trained():
    model = convert(randomise(PointNetEncoder()).state_dict(), source="test").model.train()
    model(clouds().float()).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_training_starts_from_it_without_the_biases():
    imported = convert(randomise(PointNetEncoder()).state_dict(), source="test").model
    plain = PointNet().eval()
    plain.load_state_dict(fold_biases(imported.state_dict()))
    with torch.inference_mode():
        torch.testing.assert_close(plain(clouds().float()), imported(clouds().float()), rtol=1e-4, atol=1e-4)
    assert fold_biases(plain.state_dict()).keys() == plain.state_dict().keys()


class _Evil:
    def __reduce__(self):
        return print, ("executed",)


def _claims_much(path):
    """An old file whose tensor of 8 bytes announces 8 gigabytes."""
    content = old_file(path, {"conv1.weight": torch.zeros(2)}).read_bytes()
    (number,) = (b"K\x02N",)
    assert number in content
    path.write_bytes(content.replace(number, b"\x8a\x05\x00\x00\x00\x00\x01N", 1))


def test_damaged_and_hostile_checkpoints_are_one_line(tmp_path, capfd):
    good = old_file(tmp_path / "good.t7", PointNetEncoder().state_dict()).read_bytes()
    (tmp_path / "cut.t7").write_bytes(good[: len(good) // 2])
    (tmp_path / "short.t7").write_bytes(good[:100])
    (tmp_path / "evil.t7").write_bytes(pickle.dumps(_Evil()))
    old_file(tmp_path / "code.t7", {"conv1.weight": _Evil()})
    old_file(tmp_path / "other.t7", {"weights": torch.zeros(3)})
    old_file(tmp_path / "sizes.t7", {**PointNetEncoder().state_dict(), "conv2.weight": torch.zeros(64, 32, 1)})
    _claims_much(tmp_path / "claims.t7")
    for name in ("cut", "short", "evil", "code", "other", "sizes", "claims"):
        with pytest.raises(InputError, match=f"{name}.t7") as error:
            import_official(tmp_path / f"{name}.t7", out=tmp_path / "out.safetensors")
        assert "\n" not in str(error.value)
    assert not (tmp_path / "out.safetensors").exists()
    assert "executed" not in capfd.readouterr().out


@real
def test_the_published_pointnet_gives_its_features(tmp_path):
    path = WEIGHTS / "pointnet_modelnet40_encoder.t7"
    import_official(path, out=tmp_path / "ours.safetensors")
    close(load_model(tmp_path / "ours.safetensors"), filled(PointNetEncoder(), path), clouds())


@real
def test_the_published_trunk_for_rooms_gives_its_features(tmp_path):
    path = WEIGHTS / "dgcnn_s3dis_fold1.t7"
    import_official(path, 20, out=tmp_path / "ours.safetensors")
    close(load_model(tmp_path / "ours.safetensors"), filled(SceneTrunk(20), path), clouds(channels=9, count=64))
