"""What a segmenter can start from, and what it refuses."""

import pytest
import torch

from crosspoint.core.errors import InputError
from crosspoint.core.files import sha256
from crosspoint.models import DGCNN, DGCNNSegmenter
from crosspoint.models.segmentation import SegmentationBackbone
from crosspoint.models.weights import save_model
from crosspoint.train.partseg import weights as partseg_weights
from crosspoint.train.partseg.weights import find_initial, load_initial


def save(path, model):
    save_model(model.eval(), path)
    return path


@pytest.mark.parametrize(("k", "note"), [(8, None), (20, "trained with k = 20, this run has k = 8")])
def test_a_pretrained_backbone_is_loaded_and_nothing_else(tmp_path, k, note):
    torch.manual_seed(1)
    backbone = SegmentationBackbone(k)
    save(tmp_path / "run" / "encoder.safetensors", backbone)
    network = DGCNNSegmenter(5, 2, k=8)
    head = {name: t.clone() for name, t in network.state_dict().items() if not name.startswith("backbone.")}
    initial = find_initial(tmp_path / "run")
    load_initial(initial, network)
    assert initial.tensors == len(backbone.state_dict())
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(network.backbone.state_dict()[name], tensor)
    for name, tensor in head.items():
        assert torch.equal(network.state_dict()[name], tensor)
    assert "the head starts anew" in initial.describe(8)
    assert note is None or note in initial.describe(8)


def test_the_backbone_of_another_segmenter_is_loaded(tmp_path):
    other = DGCNNSegmenter(50, 16, k=8)
    initial = find_initial(save(tmp_path / "segmenter.safetensors", other).parent)
    network = DGCNNSegmenter(5, 2, k=8)
    load_initial(initial, network)
    assert initial.architecture == "dgcnn_partseg"
    assert torch.equal(network.backbone.embed.linear.weight, other.backbone.embed.linear.weight)


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"holds dgcnn, which does not fit .* crosspoint train --set backbone=dgcnn_seg"
    ):
        find_initial(save(tmp_path / "dgcnn.safetensors", DGCNN(4)))
    with pytest.raises(InputError, match=r"holds no encoder\.safetensors or segmenter\.safetensors"):
        find_initial(tmp_path)
    with pytest.raises(InputError, match="holds no"):
        find_initial(tmp_path / "nothing.safetensors")
    (tmp_path / "model.pth").write_bytes(b"")
    with pytest.raises(InputError, match="crosspoint import"):
        find_initial(tmp_path / "model.pth")
    (tmp_path / "bad.safetensors").write_bytes(b"rubbish")
    with pytest.raises(InputError, match="not a readable safetensors file"):
        find_initial(tmp_path / "bad.safetensors")
    broken = SegmentationBackbone(4)
    torch.nn.init.constant_(broken.embed.linear.weight, float("nan"))
    with pytest.raises(InputError, match="NaN or infinite weights"):
        find_initial(save(tmp_path / "nan.safetensors", broken))


def test_a_file_that_changed_is_not_loaded(tmp_path):
    path = save(tmp_path / "encoder.safetensors", SegmentationBackbone(4))
    initial = find_initial(path)
    torch.manual_seed(3)
    save(path, SegmentationBackbone(4))
    with pytest.raises(InputError, match="not the file that the run was started from"):
        load_initial(initial, DGCNNSegmenter(5, 2, k=4))


def test_what_is_loaded_is_what_was_compared(tmp_path, monkeypatch):
    """Another file takes the place after its hash was found right."""
    torch.manual_seed(2)
    first = SegmentationBackbone(4)
    path = save(tmp_path / "encoder.safetensors", first)
    initial = find_initial(path)
    original = partseg_weights.read_weights

    def read_and_replace(place):
        found = original(place)
        save(path, SegmentationBackbone(4))
        return found

    monkeypatch.setattr(partseg_weights, "read_weights", read_and_replace)
    network = DGCNNSegmenter(5, 2, k=4)
    load_initial(initial, network)
    assert torch.equal(network.backbone.embed.linear.weight, first.embed.linear.weight)
    assert sha256(path) != initial.sha256


def test_a_released_encoder_is_refused_as_a_backbone_by_what_it_holds():
    with pytest.raises(InputError, match="holds dgcnn, which does not fit a segmenter's backbone"):
        find_initial("dgcnn")
