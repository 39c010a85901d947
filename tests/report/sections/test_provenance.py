"""Versions, and which files the hashes are of."""

import hashlib
from pathlib import Path

import numpy as np
from report_pieces import manifest, pieces

from crosspoint.report.embedded import Embedded
from crosspoint.report.records import RunConfig
from crosspoint.report.sections import (
    provenance,
)


def test_the_page_says_which_files_the_hashes_are_of(tmp_path, shown, monkeypatch):
    (tmp_path / "encoder.safetensors").write_bytes(b"weights")
    weights = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setattr(provenance, "load_manifest", lambda path: path)
    monkeypatch.setattr(provenance, "verify_files", lambda _: {"encoder.onnx": "123", "engine.plan": "456"})
    config = RunConfig(recipe={"epochs": 3}, versions={"torch": "1", "numpy": "2"})
    made = Embedded(Path("e.npz"), 5, np.zeros((5, 8), np.float32), None, "456")
    found = pieces(
        run=tmp_path, bundle=Path("bundle"), config=config, embeddings=made, manifest=manifest(versions={"torch": "3"})
    )
    provenance.provenance(found)
    context = shown[0][1]
    assert (context.versions, context.recipe) == ({"torch": "3", "numpy": "2"}, {"epochs": 3})
    assert [(one.name, one.sha256, one.remark, one.kind) for one in context.hashes] == [
        ("encoder.safetensors", weights, "", ""),
        ("encoder.onnx", "123", "as exported", "good"),
        ("engine.plan", "456", "as exported", "good"),
        ("e.npz", "456", "the model of the embeddings: engine.plan", ""),
    ]


def test_embeddings_of_a_model_from_elsewhere_say_so(shown):
    made = Embedded(Path("e.npz"), 5, np.zeros((5, 8), np.float32), None, "789")
    provenance.provenance(pieces(embeddings=made))
    (one,) = shown[0][1].hashes
    assert (one.sha256, one.remark) == ("789", "the model of the embeddings, not in this folder")
