"""The average of encoders: number by number, from runs, files and names, and refused where networks differ."""

from pathlib import Path
from types import ModuleType

import pytest
import torch
from scripts import load_script

from crosspoint.models import DGCNN, PointNet
from crosspoint.models.weights import load_model, read_weights, save_model
from crosspoint.runtime.released import FOLDER


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_script("tools/average_weights.py")


def made(path: Path, seed: int) -> Path:
    """A PointNet with weights and statistics that depend on the seed."""
    torch.manual_seed(seed)
    network = PointNet().train()
    network(torch.randn(4, 32, 3) + seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(network, path)
    return path


def test_every_number_is_the_mean(tool: ModuleType, tmp_path: Path) -> None:
    files = [
        made(tmp_path / "run" / "encoder.safetensors", 0),
        *(made(tmp_path / f"{i}.safetensors", i) for i in (1, 2)),
    ]
    tool.main([str(tmp_path / "run"), *map(str, files[1:]), "--out", str(tmp_path / "mean.safetensors")])
    states = [load_model(file).state_dict() for file in files]
    for name, value in load_model(tmp_path / "mean.safetensors").state_dict().items():
        if value.is_floating_point():
            expected = sum(state[name].double() for state in states) / 3
            torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-9)
        else:
            assert torch.equal(value, states[0][name])
    told = read_weights(tmp_path / "mean.safetensors").recipe
    assert told == {"average_of": [read_weights(file).sha256 for file in files]}


def test_a_released_model_averaged_with_itself_is_itself(tool: ModuleType, tmp_path: Path) -> None:
    tool.average([Path("pointnet"), FOLDER / "pointnet.safetensors"], tmp_path / "mean.safetensors")
    expected = load_model(FOLDER / "pointnet.safetensors").state_dict()
    for name, value in load_model(tmp_path / "mean.safetensors").state_dict().items():
        assert torch.equal(value, expected[name])


def test_other_networks_are_refused(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(tmp_path / "a.safetensors", 0)
    save_model(DGCNN(5), tmp_path / "b.safetensors")
    with pytest.raises(SystemExit) as stopped:
        tool.main([str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors"), "--out", str(tmp_path / "c")])
    assert stopped.value.code == 2
    assert "give equal networks" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
