"""Part segmenters and labelled data: mIoU on both sides against one worked out part by part, and the gate."""

import json
import sys

import h5py
import numpy as np
import pytest
import torch

from crosspoint.cli import main
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.data.points import normalise
from crosspoint.data.sets.datasets import load_parts
from crosspoint.export.bundle import Verification, export
from crosspoint.models import DGCNNSegmenter
from crosspoint.models.weights import save_model
from crosspoint.parity.limits import require_accuracy
from crosspoint.parity.part_accuracy import PartAccuracy, verification_parts

POINTS, OWN = 48, ((0, 1), (2, 3, 4))
SMALL = {"batch": "1:2:4", "points": POINTS}


def segmenter(seed=0):
    torch.manual_seed(seed)
    return DGCNNSegmenter(parts=5, categories=2, k=6).eval()


class Through:
    """A segmenter that gives what a network gives."""

    def __init__(self, network):
        self.network = network

    def segment(self, points, category):
        with torch.inference_mode():
            return self.network(torch.from_numpy(points), torch.from_numpy(category)).numpy()


def labels_by_hand(network, data):
    """The likeliest part of each category's own, one object at a time: `(n, N)`, in the number of points tested."""
    test = load_parts(data, None).test
    said = []
    for cloud, label in zip(test.points[:, :POINTS], test.labels, strict=True):
        logits = Through(network).segment(normalise(cloud)[None], np.eye(2, dtype=np.float32)[[label]])[0]
        said.append([max(OWN[label], key=lambda part: row[part]) for row in logits])
    return np.array(said)


def ious_by_hand(said, data):
    """IoU of each object `(n,)`, one part at a time."""
    test = load_parts(data, None).test
    ious = []
    for row, label, truth in zip(said, test.labels, test.parts[:, :POINTS], strict=True):
        of_parts = []
        for part in OWN[label]:
            union = np.sum((row == part) | (truth == part))
            of_parts.append(np.sum((row == part) & (truth == part)) / union if union else 1.0)
        ious.append(np.mean(of_parts))
    return np.array(ious)


@pytest.fixture
def own_labels(write_parts, tmp_path):
    """A set whose truth is what `segmenter()` says, so that every other label is a loss."""
    folder = write_parts(tmp_path, test=8)
    said = labels_by_hand(segmenter(), folder)
    with h5py.File(folder / "ply_data_test0.h5", "a") as file:
        file["pid"][:, :POINTS] = said
    return folder


@pytest.fixture
def saved_segmenter(tmp_path):
    path = tmp_path / "segmenter.safetensors"
    save_model(segmenter(), path)
    return path


def sample_of(data, limit=None):
    return verification_parts(data, POINTS, limit=limit, config={"categories": 2, "parts": 5})


def test_the_trained_network_loses_nothing_against_itself(part_set):
    task = PartAccuracy(segmenter(), sample_of(part_set)).compare(Through(segmenter()))
    expected = ious_by_hand(labels_by_hand(segmenter(), part_set), part_set).mean()
    assert task.reference_miou == task.candidate_miou == pytest.approx(expected)
    assert (task.difference, task.equal_labels, task.least_equal) == (0, 1, 1)
    assert (task.objects, task.points, task.interval) == (6, POINTS, (0, 0))
    require_accuracy("a.onnx", task, max_drop=0.0)


def test_another_network_s_loss_is_that_worked_out_by_hand(own_labels):
    task = PartAccuracy(segmenter(), sample_of(own_labels)).compare(Through(segmenter(1)))
    said = [labels_by_hand(segmenter(seed), own_labels) for seed in (0, 1)]
    before, after = (ious_by_hand(labels, own_labels) for labels in said)
    assert task.reference_miou == before.mean() == 1
    assert task.difference == pytest.approx((after - before).mean())
    half = 1.959964 * (after - before).std(ddof=1) / np.sqrt(8)
    assert task.interval == pytest.approx((task.difference - half, task.difference + half), abs=1e-6)
    assert task.largest_of_an_object == pytest.approx(np.abs(after - before).max())
    assert task.equal_labels == pytest.approx(np.mean(said[0] == said[1]))
    assert task.least_equal == pytest.approx(np.mean(said[0] == said[1], axis=1).min())
    with pytest.raises(CheckFailed, match=r"a\.onnx loses .* points of instance mIoU, 100\.00% to .* of 8 objects "):
        require_accuracy("a.onnx", task, max_drop=0.5)


def test_a_limit_takes_categories_in_balance(own_labels):
    sample = sample_of(own_labels, limit=4)
    assert np.bincount(sample.labels).tolist() == [2, 2]
    assert np.linalg.norm(sample.points, axis=2).max(axis=1) == pytest.approx(np.ones(4), abs=1e-6)


def test_labelled_parts_are_part_of_the_gate(saved_segmenter, own_labels, tmp_path):
    verification = Verification(own_labels, max_drop=0.0)
    manifest = export(saved_segmenter, tmp_path / "bundle", verification=verification, **SMALL).to_json()
    task = manifest["parity"]["task"]
    assert (task["measure"], task["objects"], task["max_drop"]) == ("instance mIoU", 8, 0.0)
    assert (task["reference_miou"], task["candidate_miou"], task["equal_labels"]) == (1, 1, 1)
    assert task["source"] == f"shapenetpart, test split, first {POINTS} points"
    assert task["candidate"] == "onnxruntime on the CPU"
    assert "real clouds" in {case["name"] for case in manifest["parity"]["cases"]}
    written = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert written["parity"]["task"] == json.loads(json.dumps(task))
    assert str(tmp_path) not in json.dumps(written)


def test_layers_return_to_float32_until_no_object_is_worse(saved_segmenter, own_labels, tmp_path):
    verification = Verification(own_labels, max_drop=0.0)
    manifest = export(
        saved_segmenter, tmp_path / "bundle", precision="int8", verification=verification, **SMALL
    ).to_json()
    assert manifest["parity"]["task"]["candidate_miou"] == 1
    narrow = {"transform/edge/near", "transform/edge/own/product", "category/linear/product"}
    assert set(manifest["precision"]["kept"]) > narrow
    assert "int8" in manifest["precision"]["layers"].values()
    assert manifest["precision"]["calibration"]["clouds"] == 20


def test_a_precision_that_loses_more_than_allowed_leaves_nothing(saved_segmenter, own_labels, tmp_path):
    said = (
        r"encoder\.onnx loses .* points of instance mIoU, 100\.00% to .* of 8 objects .*limit 0\); nothing was written"
    )
    verification = Verification(own_labels, max_drop=0.0)
    with pytest.raises(CheckFailed, match=said):
        export(saved_segmenter, tmp_path / "bundle", precision="bf16", verification=verification, **SMALL)
    assert not (tmp_path / "bundle").exists()


def test_data_of_another_format_is_refused(saved_segmenter, modelnet, tmp_path):
    with pytest.raises(InputError, match=r"no data set found; expected shapenetpart: "):
        export(saved_segmenter, tmp_path / "bundle", verification=Verification(modelnet), **SMALL)
    with pytest.raises(InputError, match="nowhere does not exist; give --verify-data a dataset with labelled parts"):
        export(saved_segmenter, tmp_path / "bundle", verification=Verification(tmp_path / "nowhere"), **SMALL)
    assert not (tmp_path / "bundle").exists()


def test_data_with_other_parts_is_refused(saved, part_set, tmp_path):
    with pytest.raises(
        InputError, match=r"has 3 categories and 7 parts, but --verify-data .* has 2 and 5; give the data"
    ):
        export(saved("dgcnn_partseg"), tmp_path / "bundle", verification=Verification(part_set), **SMALL)
    assert not (tmp_path / "bundle").exists()


def test_the_command_says_what_was_measured(saved_segmenter, own_labels, tmp_path, monkeypatch, capsys):
    arguments = ["export", saved_segmenter, "--out", tmp_path / "bundle", "--points", POINTS, "--batch", "1:2:4"]
    arguments += ["--verify-data", own_labels, "--verify-clouds", 4]
    monkeypatch.setattr(sys, "argv", ["crosspoint", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    said = "instance mIoU: 100.00% trained, 100.00% exported (onnxruntime on the CPU; limit 0.2 points lost; 4 clouds; "
    assert said + "100.00% of the labels are equal)" in capsys.readouterr().out
