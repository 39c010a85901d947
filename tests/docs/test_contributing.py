"""The code in CONTRIBUTING.md does what the text beside it says."""

import textwrap
from pathlib import Path

import pytest
import torch

from crosspoint.models import DGCNN, PointNet
from crosspoint.models.weights import save_model
from crosspoint.parity.layers.diagnose import diagnose
from crosspoint.runtime.options import Sampling

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("network", [PointNet, lambda: DGCNN(k=4)], ids=["pointnet", "dgcnn"])
def test_a_failed_export_is_compared_layer_by_layer(network, tmp_path, monkeypatch):
    torch.manual_seed(0)
    (tmp_path / "run").mkdir()
    save_model(network().eval(), tmp_path / "run" / "encoder.safetensors", recipe=None)
    monkeypatch.chdir(tmp_path)
    _, _, rest = TEXT.partition("```python\n")
    exec(textwrap.dedent(rest.partition("    ```")[0]), {})
    assert diagnose(Path("run"), Path("candidate.onnx"), sampling=Sampling(32), clouds=2).passed
