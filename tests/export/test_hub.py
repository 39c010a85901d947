"""A folder for a model hub: it opens in both forms, says what it holds, and is written whole or not at all."""

import json

import numpy as np
import pytest
from small_models import write_onnx

import crosspoint
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.files import sha256
from crosspoint.data.points import normalise
from crosspoint.export import hub
from crosspoint.export.hub import HubConfig, write_hub
from crosspoint.models import DGCNNSegmenter
from crosspoint.models.weights import save_model
from crosspoint.runtime import released


@pytest.fixture
def folder(tmp_path, pointnet):
    write_hub(pointnet, tmp_path / "hub")
    return tmp_path / "hub"


def test_both_forms_give_the_network_s_embeddings(folder, pointnet):
    clouds = normalise(np.random.default_rng(0).standard_normal((3, 64, 3)))
    with crosspoint.load(pointnet) as encoder:
        expected = encoder.embed(clouds)
    for place in (folder, folder / "onnx", folder / "encoder.safetensors"):
        with crosspoint.load(place) as encoder:
            np.testing.assert_allclose(encoder.embed(clouds), expected, rtol=1e-4, atol=1e-5)


def test_the_configuration_says_what_lies_there(folder):
    config = HubConfig.from_json(json.loads((folder / "config.json").read_text()))
    assert (config.name, config.architecture, config.dim, config.up) == ("hub", "pointnet", 1024, "y")
    assert config.files == {name: sha256(folder / name) for name in config.files}
    assert {"encoder.safetensors", "onnx/encoder.onnx", "onnx/manifest.json"} <= set(config.files)


def test_the_card_begins_with_what_hubs_read(folder):
    start, head, body = (folder / "README.md").read_text().split("---\n", 2)
    assert start == ""
    assert "pipeline_tag: feature-extraction\n" in head
    assert body.strip().startswith("# hub")
    assert "To be added by its author" in body


def test_an_earlier_folder_is_replaced_and_another_one_is_not(folder, pointnet, tmp_path):
    write_hub(pointnet, folder)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        write_hub(pointnet, folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="was not written by --hub"):
        write_hub(pointnet, tmp_path / "mine")


def test_forms_that_differ_are_not_written(pointnet, tmp_path, monkeypatch):
    def export_another(model, out, **options):
        manifest = export(model, out, **options)
        write_onnx(out / "encoder.onnx")
        return manifest

    export = hub.export
    monkeypatch.setattr(hub, "export", export_another)
    with pytest.raises((CheckFailed, InputError)):
        write_hub(pointnet, tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


def test_embeddings_that_differ_are_not_written(pointnet, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "relative_l2", lambda first, second: np.full(len(first), 2e-4))
    with pytest.raises(CheckFailed, match=r"differ by 2\.0e-04 of an embedding .* nothing was written"):
        write_hub(pointnet, tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


def test_a_segmenter_is_refused(tmp_path):
    save_model(DGCNNSegmenter(2, categories=1, k=4).eval(), tmp_path / "parts.safetensors")
    with pytest.raises(InputError, match="is a dgcnn_partseg, not an encoder"):
        write_hub(tmp_path / "parts.safetensors", tmp_path / "hub")


def test_the_card_of_the_released_models_names_their_versions():
    card = (released.FOLDER / hub.RELEASED_CARD).read_text()
    for release in released.releases().values():
        assert f"`{release}`" in card
        assert all(digest in card for digest in release.files.values())
