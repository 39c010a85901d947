"""Official checkpoints are read completely, safely, and reproduce the features of the network they came from."""

import pickle

import pytest
import torch

from crosspoint.core.errors import InputError
from crosspoint.models.official import convert, import_official
from crosspoint.models.weights import load_model

K = 6


def points(batch=3, count=48):
    return torch.randn(batch, count, 3, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("head", [True, False])
def test_dgcnn_features_are_reproduced(reference, tmp_path, prefix, head):
    network = reference("dgcnn", K).eval()
    state = {prefix + name: value for name, value in network.state_dict().items() if head or "inv_head" not in name}
    torch.save(state, tmp_path / "official.pth")
    imported = import_official(tmp_path / "official.pth", K, out=tmp_path / "ours.safetensors")
    model = load_model(tmp_path / "ours.safetensors")
    with torch.inference_mode():
        torch.testing.assert_close(model(points()), network(points()), rtol=1e-5, atol=1e-5)
    assert all(name.startswith("inv_head") for name in imported.unused)
    assert bool(imported.unused) == head


def test_segmentation_backbone_features_are_reproduced(reference):
    network = reference("dgcnn_seg", K).eval().double()
    imported = convert(network.state_dict(), K, source="test")
    with torch.inference_mode():
        torch.testing.assert_close(imported.model.double()(points().double()), network(points().double()))
    assert imported.model.config["architecture"] == "dgcnn_seg"


def test_segmenter_logits_are_reproduced(reference):
    network = reference("dgcnn_partseg", K, 11, 4).eval().double()
    imported = convert(network.state_dict(), K, source="test")
    category = torch.eye(4, dtype=torch.float64)[[0, 3, 1]]
    with torch.inference_mode():
        ours = imported.model.double()(points().double(), category)
        torch.testing.assert_close(ours, network(points().double(), category))
    assert imported.model.config["parts"] == 11


def test_rubbish_is_one_line(tmp_path, reference):
    class Evil:
        def __reduce__(self):
            return print, ("executed",)

    cases = {
        "missing.pth": None,
        "text.pth": b"not a checkpoint",
        "empty.pth": b"",
        "evil.pth": pickle.dumps(Evil()),
    }
    for name, content in cases.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name) as error:
            import_official(tmp_path / name, K, out=tmp_path / "out.safetensors")
        assert "\n" not in str(error.value)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match="state dict"):
        import_official(tmp_path / "list.pth", K, out=tmp_path / "out.safetensors")
    state = reference("dgcnn", K).state_dict()
    del state["conv3.0.weight"]
    with pytest.raises(InputError, match=r"conv3\.0\.weight"):
        convert(state, K, source="x.pth")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_checkpoint_is_not_written_over(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"mine")
    with pytest.raises(InputError):
        import_official(path, 15, out=path)
    assert path.read_bytes() == b"mine"
