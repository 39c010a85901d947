import json
import shutil

import numpy as np
import onnx
import pytest
import torch

from crosspoint.core.errors import InputError
from crosspoint.core.files import sha256
from crosspoint.data.points import normalise
from crosspoint.export.bundle import export
from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.fold import deploy, deploy_head
from crosspoint.export.onnx.projection import Projected, append_head, load_head
from crosspoint.export.options import ExportOptions
from crosspoint.models.heads import PointHead
from crosspoint.models.weights import load_model, read_weights, save_model
from crosspoint.runtime.load import load_encoder

SMALL = {"batch": "1:2:2", "points": 48}


def make_head(dim):
    torch.manual_seed(1)
    head = PointHead(dim).eval()
    norm = head[1]
    with torch.no_grad():
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 1.5)
        norm.weight.normal_()
        norm.bias.normal_(0, 0.2)
    return head


@pytest.fixture
def run(saved, tmp_path):
    """Makes a run folder of an architecture, with its head."""

    def make(name, recipe=None):
        folder = tmp_path / "run"
        folder.mkdir()
        shutil.copy(saved(name), folder / "encoder.safetensors")
        save_model(
            make_head(load_model(folder / "encoder.safetensors").dim), folder / "projection.safetensors", recipe=recipe
        )
        return folder

    return make


@pytest.mark.parametrize("name", ["dgcnn", "pointnet", "dgcnn_seg"])
def test_a_bundle_with_projection_gives_what_head_and_encoder_give(name, run, tmp_path):
    folder = run(name)
    manifest = export(folder, tmp_path / "bundle", options=ExportOptions(projection=True), **SMALL).to_json()
    clouds = normalise(np.random.default_rng(0).standard_normal((3, 48, 3)))
    encoder, head = load_model(folder / "encoder.safetensors"), load_model(folder / "projection.safetensors")
    with torch.inference_mode():
        expected = head(encoder(torch.from_numpy(clouds))).numpy()
    with load_encoder(tmp_path / "bundle") as exported:
        found = exported.embed(clouds)
        assert exported.specification.dim == 256
    assert (np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)).max() < 1e-4
    assert manifest["outputs"] == {"embedding": ["batch", 256]}
    assert manifest["model"]["projection"] == 256
    head_file = folder / "projection.safetensors"
    assert manifest["source"]["projection"] == {"path": head_file.name, "sha256": sha256(head_file)}
    assert json.loads(json.dumps(manifest)) == json.loads((tmp_path / "bundle" / "manifest.json").read_text())


def test_without_the_option_the_embedding_is_the_encoder_s(run, tmp_path):
    manifest = export(run("pointnet"), tmp_path / "bundle", **SMALL).to_json()
    assert manifest["outputs"] == {"embedding": ["batch", 1024]}
    assert "projection" not in manifest["source"]


def test_the_head_follows_the_precision(run, tmp_path):
    manifest = export(
        run("pointnet"), tmp_path / "bundle", options=ExportOptions(projection=True), precision="fp16", **SMALL
    ).to_json()
    assert manifest["precision"]["layers"]["head2/product"] == "fp16"


def test_the_graph_is_valid_and_keeps_its_contract(network):
    model, head = build(deploy(network("dgcnn")), None), make_head(2048)
    append_head(model, deploy_head(head))
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.output] == ["embedding"]
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert Projected(network("dgcnn"), head).config == {"architecture": "dgcnn", "k": 6, "projection": 256}


def test_a_head_that_is_missing_or_of_another_network_or_step_is_refused(run, saved, tmp_path):
    encoder = load_model(saved("pointnet"))
    with pytest.raises(InputError, match=r"holds no projection\.safetensors"):
        load_head(read_weights(saved("pointnet")), encoder)
    folder = run("pointnet", {"steps": 7})
    source = folder / "encoder.safetensors"
    with pytest.raises(InputError, match="different steps"):
        load_head(read_weights(source), encoder)
    save_model(make_head(2048), folder / "projection.safetensors")
    with pytest.raises(InputError, match="is no projection head of"):
        load_head(read_weights(source), encoder)
    shutil.copy(source, folder / "projection.safetensors")
    with pytest.raises(InputError, match="is no projection head of"):
        load_head(read_weights(source), encoder)


def test_a_part_segmenter_has_no_head(saved, tmp_path):
    with pytest.raises(InputError, match="part segmenter without a projection head"):
        export(saved("dgcnn_partseg"), tmp_path / "bundle", options=ExportOptions(projection=True), **SMALL)
