"""Weights on disk come back as the network they were, or say in one line why not."""

import pytest
import torch
from safetensors.torch import save_file

from crosspoint.core.errors import InputError
from crosspoint.models import DGCNN, DGCNNSegmenter, ImageEncoder, PointNet, SegmentationBackbone
from crosspoint.models.weights import build, load_model, read_metadata, save_model

NETWORKS = [DGCNN(k=7), PointNet(), SegmentationBackbone(k=9), DGCNNSegmenter(6, 2, k=5), ImageEncoder(18)]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.config["architecture"])
def test_round_trip(network, tmp_path):
    save_model(network, tmp_path / "a.safetensors", recipe={"name": "test"})
    loaded = load_model(tmp_path / "a.safetensors")
    assert type(loaded) is type(network)
    assert loaded.config == network.config
    assert not loaded.training
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in network.state_dict().items())
    assert read_metadata(tmp_path / "a.safetensors").recipe == {"name": "test"}


def test_same_weights_same_bytes(tmp_path):
    for name in ("a", "b"):
        save_model(NETWORKS[0], tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_rubbish_is_one_line(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_model(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("not tensors")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load_model(tmp_path / "text.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="not written by crosspoint"):
        load_model(tmp_path / "foreign.safetensors")
    save_model(NETWORKS[1], tmp_path / "cut.safetensors")
    content = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:-100])
    with pytest.raises(InputError, match="not a readable safetensors file"):
        load_model(tmp_path / "cut.safetensors")
    save_file(
        {"x": torch.zeros(1)},
        tmp_path / "other.safetensors",
        {"crosspoint": '{"model": {"architecture": "pointnet"}, "recipe": null}'},
    )
    with pytest.raises(InputError, match="does not hold the weights of its network"):
        load_model(tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="unknown architecture 'transformer'"):
        build({"architecture": "transformer"})
