"""Making a released model: same bytes each time, refused where float16 loses something, loaded by name."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scripts import load_script

import crosspoint
from crosspoint.core.errors import CheckFailed
from crosspoint.models import PointNet
from crosspoint.models.weights import save_model
from crosspoint.parity.clouds import ordinary
from crosspoint.runtime import released as named


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_script("tools/release.py")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """An untrained PointNet."""
    torch.manual_seed(0)
    (tmp_path / "run").mkdir()
    save_model(PointNet(), tmp_path / "run" / "encoder.safetensors", recipe={"name": "toy"})
    return tmp_path / "run"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_release(tool: ModuleType, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "weights"
    result = tool.release(run, "toy", "3", 64, folder=folder)
    assert sorted(content(folder)) == ["registry.json", "toy.onnx", "toy.safetensors"]
    assert 0 < result["relative"] < tool.RELATIVE
    assert (folder / "toy.safetensors").stat().st_size < 0.55 * (run / "encoder.safetensors").stat().st_size
    before = content(folder)
    tool.release(run, "toy", "3", 64, folder=folder)
    assert content(folder) == before
    monkeypatch.setattr(named, "FOLDER", folder)
    clouds = ordinary(4, 64)
    with crosspoint.load("toy@3") as onnx, crosspoint.load("toy", backend="pytorch") as weights:
        a, b = weights.embed(clouds), onnx.embed(clouds)
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    original = crosspoint.load(run)
    far = np.linalg.norm(original.embed(clouds) - a, axis=1) / np.linalg.norm(a, axis=1)
    assert far.max() < tool.RELATIVE


def test_a_second_model_joins_the_registry(tool: ModuleType, run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    for name in ("one", "two"):
        tool.release(run, name, "1", 64, folder=folder)
    models = json.loads((folder / "registry.json").read_text())["models"]
    assert sorted(models) == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("RELATIVE", 1e-6, "float16 moves an embedding by"), ("MEGABYTES", 0.5, r"would have 0\.9\d MB, more than 0.5")],
)
def test_what_is_lost_or_too_large_is_not_released(
    tool: ModuleType, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: float, message: str
) -> None:
    monkeypatch.setattr(tool, name, value)
    with pytest.raises(CheckFailed, match=message):
        tool.release(run, "toy", "1", 64, folder=tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_a_weight_too_large_for_float16(tool: ModuleType, tmp_path: Path) -> None:
    model = PointNet()
    with torch.no_grad():
        model.linears[0].weight[0, 0] = 1e5
    save_model(model, tmp_path / "large.safetensors")
    with pytest.raises(CheckFailed, match=r"linears\.0\.weight holds values that float16 cannot"):
        tool.release(tmp_path / "large.safetensors", "toy", "1", 64, folder=tmp_path / "weights")
