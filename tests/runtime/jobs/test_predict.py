"""Predictions for files, and for each object of a scan with its box."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import small_models as small
from click.testing import CliRunner
from toy_scenes import box, ground

from crosspoint.cli import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.data.frames import Frame
from crosspoint.data.objects.find import find_objects
from crosspoint.data.objects.sources import Scans
from crosspoint.runtime.jobs.predict import PredictResult, predict
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.options import Sampling

pytest.importorskip("onnxruntime")
CLASSES = ("box", "lamp", "tree")


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A head of three classes behind the small model; its objects are y-up."""
    return small.write_classifier(tmp_path / "classifier.onnx", CLASSES)


def scene(seed: int) -> np.ndarray:
    """Ground and two boxes, the larger one first."""
    rng = np.random.default_rng(seed)
    boxes = [box(rng, (-3, 0, 0), (1, 1, 1.5), 500), box(rng, (3, 1, 0), (2, 1, 1), 300)]
    return np.concatenate([ground(rng, size=5, count=2000), *boxes]).astype(np.float32)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    np.save(tmp_path / "scan.npy", scene(0))
    return tmp_path / "scan.npy"


def run(*words):
    return CliRunner().invoke(crosspoint, ["predict", *map(str, words)])


def test_each_object_of_a_scan_is_a_line_with_its_box(classifier, scan, tmp_path):
    out = tmp_path / "out.csv"
    done = run(classifier, scan, "--objects", "--out", out)
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(out.open()))
    found = find_objects(np.load(scan))
    assert [row["name"] for row in rows] == ["scan.npy#object-0001", "scan.npy#object-0002"]
    for row, one in zip(rows, found, strict=True):
        assert int(row["points"]) == len(one.points)
        assert [float(row[f"lower_{axis}"]) for axis in "xyz"] == list(one.lower)
        assert [float(row[f"upper_{axis}"]) for axis in "xyz"] == list(one.upper)


def test_an_object_has_the_class_of_its_cloud(classifier, scan):
    """Objects are z-up in the scan, so `up` turns them."""
    result = predict(classifier, Scans([scan]))
    with load_encoder(classifier) as encoder:
        for entry, one in zip(result.predictions, find_objects(np.load(scan)), strict=True):
            expected = encoder.predict(one.points[None], normalise=True, up="z")
            assert entry.label == expected.labels[0]
            assert entry.probability == pytest.approx(float(expected.probabilities[0]), abs=1e-5)
            assert entry.box is not None
            assert entry.box.points == len(one.points)


def test_the_options_of_objects_count(classifier, scan, tmp_path):
    done = run(classifier, scan, "--objects", "--least-points", 400, "--json", tmp_path / "out.json")
    assert done.exit_code == 0, done.output
    result = PredictResult.from_json(json.loads((tmp_path / "out.json").read_text()))
    assert [entry.name for entry in result.predictions] == ["scan.npy#object-0001"]


def test_options_of_objects_need_objects(classifier, scan):
    done = run(classifier, scan, "--least-points", 400)
    assert str(done.exception) == "--least-points needs --objects; give both, or neither"


def test_a_file_has_the_four_columns_alone(classifier, scan, tmp_path):
    out = tmp_path / "out.csv"
    assert run(classifier, scan, "--out", out).exit_code == 0
    assert out.read_text().splitlines()[0] == "name,label,probability,unknown"


def test_files_in_python_are_checked_for_their_frame(tmp_path, scan):
    path = small.write_classifier(tmp_path / "z.onnx", CLASSES, frame=Frame("z", "given"))
    with load_encoder(path) as encoder:
        with pytest.raises(InputError, match=r"are z-up, and scan\.npy does not state .* give --up z"):
            encoder.predict(scan)
        assert len(encoder.predict(scan, up="z").labels) == 1


def test_a_command_checks_it_too(tmp_path, scan):
    path = small.write_classifier(tmp_path / "z.onnx", CLASSES, frame=Frame("z", "given"))
    with pytest.raises(InputError, match=r"are z-up, and scan\.npy does not state"):
        predict(path, [scan])
    assert predict(path, [scan], sampling=Sampling(up="z")).predictions[0].name == "scan.npy"
