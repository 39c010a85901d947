"""mIoU of a segmenter on a small set, from PyTorch and ONNX, against the network run by hand."""

import json
import subprocess
import sys
from importlib import import_module

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from crosspoint.cli import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.data.frames import Frame
from crosspoint.data.points import normalise
from crosspoint.data.sets.datasets import load_parts
from crosspoint.eval.partseg import draw_points, partseg
from crosspoint.eval.partseg_pictures import project
from crosspoint.export.bundle import export
from crosspoint.models import DGCNNSegmenter
from crosspoint.models.weights import load_model, save_model
from crosspoint.runtime.options import Sampling

K = 6


def make_segmenter(path, seed, parts=5, categories=2):
    torch.manual_seed(seed)
    save_model(DGCNNSegmenter(parts, categories, k=K).eval(), path)
    return path


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    return make_segmenter(tmp_path_factory.mktemp("model") / "segmenter.safetensors", 0)


@pytest.fixture(scope="module")
def bundle(segmenter, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    export(segmenter, out, points=64, batch=(1, 2, 4))
    return out


def by_hand(path, data, points, restrict):
    """Instance and class mIoU, one object and one part at a time."""
    model, test = load_model(path), load_parts(data, None).test
    of_category = {0: [], 1: []}
    for cloud, label, truth in zip(test.points[:, :points], test.labels, test.parts[:, :points], strict=True):
        with torch.no_grad():
            logits = model(torch.from_numpy(normalise(cloud))[None], torch.eye(2)[[label]])[0].numpy()
        own = [[0, 1], [2, 3, 4]][label]
        said = np.array([max(own if restrict else range(5), key=lambda p: row[p]) for row in logits])
        ious = []
        for part in own:
            union = np.sum((said == part) | (truth == part))
            ious.append(np.sum((said == part) & (truth == part)) / union if union else 1.0)
        of_category[label].append(np.mean(ious))
    return np.mean(of_category[0] + of_category[1]), np.mean([np.mean(of_category[0]), np.mean(of_category[1])])


def test_both_rules_are_those_of_the_network_run_by_hand(segmenter, part_set):
    result = partseg(segmenter, part_set, sampling=Sampling(64))
    official, clean = by_hand(segmenter, part_set, 64, False), by_hand(segmenter, part_set, 64, True)
    scores = result.official.scores
    assert (scores.instance_miou, scores.class_miou) == pytest.approx(official)
    assert (result.clean.instance_miou, result.clean.class_miou) == pytest.approx(clean)
    assert len(result.clean.runs) == 1, "all stored points leave no choice"
    assert [row.category for row in result.per_category] == ["Mushroom", "Dumbbell"]
    assert list(result.per_category[1].parts) == ["Dumbbell/ball", "Dumbbell/bar", "Dumbbell/ring"]
    assert np.mean([row.clean for row in result.per_category]) == pytest.approx(clean[1])


def test_fewer_points_are_drawn_several_times(segmenter, part_set):
    result = partseg(segmenter, part_set, sampling=Sampling(32, seeds=4))
    runs = [run.instance_miou for run in result.clean.runs]
    assert len(set(runs)) > 1
    assert result.clean.summary.std == pytest.approx(np.std(runs, ddof=1))
    assert result.official.scores.instance_miou == pytest.approx(by_hand(segmenter, part_set, 32, False)[0])
    assert result.clean == partseg(segmenter, part_set, sampling=Sampling(32, seeds=4)).clean


def test_drawn_points_keep_their_parts(part_set):
    test = load_parts(part_set, None).test
    drawn = draw_points(test, 20, seed=0)
    for before, parts, points, labels in zip(test.points, test.parts, drawn.points, drawn.parts, strict=True):
        rows = [int(np.flatnonzero((before == point).all(axis=1))[0]) for point in points]
        assert len(set(rows)) == 20
        assert parts[rows].tolist() == labels.tolist()


def test_the_onnx_bundle_gives_the_same_labels(segmenter, bundle, part_set):
    result = partseg(bundle, part_set, against=segmenter)
    against = result.against
    assert result.model.backend == "onnxruntime"
    assert against.reference.backend == "pytorch"
    assert against.equal_labels > 0.999
    assert against.largest_margin < 1e-4
    assert against.instance_miou.reference == pytest.approx(by_hand(segmenter, part_set, 64, True)[0])


def test_another_model_is_told_apart(segmenter, part_set, tmp_path):
    other = make_segmenter(tmp_path / "other.safetensors", 1)
    against = partseg(segmenter, part_set, sampling=Sampling(64), against=other).against
    first, second = (partseg(m, part_set, sampling=Sampling(64)).clean.instance_miou for m in (other, segmenter))
    assert against.instance_miou.difference == pytest.approx(second - first)
    assert against.equal_labels < 1
    assert against.largest_margin > 0
    assert against.points.objects == 6 * 64
    low, high = against.instance_miou.interval
    assert low <= second - first <= high


def test_the_command_writes_numbers_and_pictures(segmenter, part_set, tmp_path):
    options = ["--data", part_set, "--points", 64, "--out", tmp_path / "pictures", "--json", tmp_path / "a.json"]
    arguments = ["eval", "partseg", segmenter, *options, "--against", segmenter]
    result = CliRunner().invoke(crosspoint, [str(a) for a in arguments], catch_exceptions=False)
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["schema"] == "crosspoint.partseg/1"
    assert written["against"]["equal_labels"] == 1
    for rule in ("official", "clean"):
        assert f"{written[rule]['instance_miou']:.2%}" in result.output
    for name in ("partseg.png", "partseg_worst.png"):
        pixels = np.asarray(Image.open(tmp_path / "pictures" / name).convert("RGB")).reshape(-1, 3)
        assert (pixels == (0x44, 0x77, 0xAA)).all(axis=1).sum() > 100, "the first part's colour"
        assert (pixels == (0xCC, 0x22, 0x22)).all(axis=1).sum() > 100, "wrong points"


def test_pictures_show_y_up_and_keep_lengths():
    axes = project(np.eye(3, dtype=np.float32))
    assert axes[1, 1] > 0.9
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1), "not a mirror image"


def test_mistakes_are_one_line(segmenter, pointnet, bundle, part_set, tmp_path):
    with pytest.raises(InputError, match="is an encoder, not a part segmenter"):
        partseg(pointnet, part_set, sampling=Sampling(64))
    with pytest.raises(InputError, match=r"has 3 categories and 7 parts, but .* has 2 and 5"):
        partseg(make_segmenter(tmp_path / "b.safetensors", 0, 7, 3), part_set, sampling=Sampling(64))
    with pytest.raises(InputError, match="is an encoder"):
        partseg(segmenter, part_set, sampling=Sampling(64), against=pointnet)
    with pytest.raises(InputError, match="64 points per cloud, fewer than 2048"):
        partseg(segmenter, part_set)
    with pytest.raises(InputError, match="takes exactly 64"):
        partseg(bundle, part_set, sampling=Sampling(32))
    with pytest.raises(InputError, match="takes at least 6"):
        partseg(segmenter, part_set, sampling=Sampling(3))
    with pytest.raises(InputError, match="--seeds is 0"):
        partseg(segmenter, part_set, sampling=Sampling(64, seeds=0))


def test_evaluating_does_not_import_torch():
    code = "import sys\nsys.modules['torch'] = None\nfrom crosspoint.eval import partseg, partseg_pictures"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_json_has_the_entries_that_scripts_read(segmenter, part_set):
    """Names and order are a contract: others read these files."""
    written = partseg(segmenter, part_set, sampling=Sampling(32, seeds=2), against=segmenter).to_json()
    assert list(written) == ["schema", "model", "data", "official", "clean", "per_category", "against", "seconds"]
    assert list(written["data"]) == [
        *("test", "points", "categories", "parts", "path", "format", "stored", "seed", "frame")
    ]
    assert list(written["official"]) == ["rule", "instance_miou", "class_miou", "point_accuracy", "interval"]
    assert list(written["clean"]) == [
        *("rule", "mean", "std", "standard_error", "instance_miou", "class_miou", "interval", "runs")
    ]
    assert list(written["clean"]["runs"][0]) == ["instance_miou", "class_miou", "point_accuracy"]
    assert list(written["per_category"][0]) == ["category", "objects", "official", "clean", "parts"]
    assert list(written["against"]) == [
        *("reference", "equal_labels", "objects_with_all_equal", "least_equal", "differing_points"),
        *("largest_margin", "points", "instance_miou"),
    ]
    assert list(written["against"]["instance_miou"]) == [
        *("reference", "candidate", "difference", "interval", "largest_of_an_object")
    ]
    assert partseg(segmenter, part_set, sampling=Sampling(64)).to_json()["against"] is None


def test_z_up_clouds_are_turned(segmenter, write_parts, tmp_path):
    y, z = write_parts(tmp_path / "y", train=2, test=4), write_parts(tmp_path / "z", train=2, test=4)
    for path in z.glob("*.h5"):
        with h5py.File(path, "r+") as file:
            file["data"][...] = file["data"][...][..., [0, 2, 1]] * np.float32([1, -1, 1])
    found = partseg(segmenter, z, sampling=Sampling(64, up="z"))
    assert found.per_category == partseg(segmenter, y, sampling=Sampling(64)).per_category
    assert found.data.frame == Frame("z", "given")


def test_pictures_may_lie_within_the_data_and_not_be_a_file(tmp_path, monkeypatch):
    class Read(Exception):
        pass

    def read(*_, **__):
        raise Read

    monkeypatch.setattr(import_module("crosspoint.eval.partseg"), "load_parts", read)
    with pytest.raises(Read):
        partseg(tmp_path / "model", tmp_path, out=tmp_path / "pictures")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file; give a folder"):
        partseg(tmp_path / "model", tmp_path / "data", out=tmp_path / "file")
    for name in ("partseg.png", "partseg_worst.png"):
        (tmp_path / name).mkdir(parents=True)
        with pytest.raises(InputError, match=name):
            partseg(tmp_path / "model", tmp_path / "data", out=tmp_path)
        (tmp_path / name).rmdir()
    with pytest.raises(InputError, match="--seeds is 0; give at least 1"):
        partseg(tmp_path / "model", tmp_path, sampling=Sampling(seeds=0))
