from pathlib import Path

import numpy as np
import pytest
import torch

from crosspoint.core.errors import InputError
from crosspoint.core.files import sha256
from crosspoint.data.points import normalise
from crosspoint.models import DGCNN, DGCNNSegmenter, ImageEncoder, PointNet
from crosspoint.models.weights import save_model
from crosspoint.runtime.backends.pytorch import PyTorchEncoder


@pytest.fixture
def points() -> np.ndarray:
    return normalise(np.random.default_rng(0).standard_normal((3, 32, 3)))


def test_is_the_network_in_evaluation_mode(tmp_path: Path, points: np.ndarray) -> None:
    torch.manual_seed(0)
    model = DGCNN(k=10)
    model(torch.from_numpy(points))  # moves the running statistics off their start
    save_model(model, tmp_path / "m.safetensors")
    with PyTorchEncoder(tmp_path / "m.safetensors") as encoder, torch.no_grad():
        specification = encoder.specification
        np.testing.assert_allclose(encoder.embed(points), model.eval()(torch.from_numpy(points)), rtol=1e-5, atol=1e-6)
    assert (specification.architecture, specification.dim, specification.min_points) == ("dgcnn", 2048, 10)
    assert (specification.points, specification.max_batch, specification.precision) == (None, None, "fp32")


def test_fewer_points_than_neighbours(tmp_path: Path, points: np.ndarray) -> None:
    save_model(DGCNN(k=10), tmp_path / "m.safetensors")
    with PyTorchEncoder(tmp_path / "m.safetensors") as encoder:
        assert encoder.embed(points[:, :10]).shape == (3, 2048)
        with pytest.raises(InputError, match=r"takes at least 10 points per cloud, not 9"):
            encoder.embed(points[:, :9])


def test_segments(tmp_path: Path, points: np.ndarray) -> None:
    torch.manual_seed(0)
    model = DGCNNSegmenter(parts=5, categories=3, k=8).eval()
    save_model(model, tmp_path / "m.safetensors")
    category = np.eye(3, dtype=np.float32)
    with PyTorchEncoder(tmp_path / "m.safetensors") as encoder, torch.no_grad():
        assert (encoder.specification.dim, encoder.specification.categories) == (5, 3)
        expected = model(torch.from_numpy(points), torch.from_numpy(category))
        np.testing.assert_allclose(encoder.segment(points, category), expected, rtol=1e-4, atol=1e-5)
        with pytest.raises(InputError, match="part segmenter"):
            encoder.embed(points)


def test_an_image_encoder_is_refused(tmp_path: Path) -> None:
    save_model(ImageEncoder(18), tmp_path / "m.safetensors")
    with pytest.raises(InputError, match=r"holds an image encoder; give the point encoder"):
        PyTorchEncoder(tmp_path / "m.safetensors")


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    save_model(PointNet(), tmp_path / "m.safetensors")
    count = torch.cuda.device_count()
    with pytest.raises(InputError, match=rf"cuda:{count} was asked for, .* finds {count} CUDA devices"):
        PyTorchEncoder(tmp_path / "m.safetensors", f"cuda:{count}")


def test_the_hash_is_of_the_weights_that_run(
    tmp_path: Path, points: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file takes the place while the network is made."""
    path, expected = tmp_path / "m.safetensors", {}
    for seed in (1, 0):
        torch.manual_seed(seed)
        model = PointNet().eval()
        save_model(model, path)
        expected[sha256(path)] = model
    other = tmp_path / "other.safetensors"
    torch.manual_seed(1)
    save_model(PointNet(), other)
    original = torch.nn.Module.eval

    def replace(module: torch.nn.Module) -> torch.nn.Module:
        path.write_bytes(other.read_bytes())
        return original(module)

    monkeypatch.setattr(torch.nn.Module, "eval", replace)
    with PyTorchEncoder(path) as encoder, torch.no_grad():
        assert encoder.specification.sha256 != sha256(path)
        network = expected[encoder.specification.sha256]
        np.testing.assert_allclose(encoder.embed(points), network(torch.from_numpy(points)), rtol=1e-5, atol=1e-6)
