"""A classifier that others trained: its head in float64, its bundle, and what is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from crosspoint.cli import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.runtime.load import load_encoder

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from foreign_networks import PointNetClassifier, PointNetEncoder, randomise  # noqa: E402

from crosspoint.classify.imported import import_checkpoint, read_head  # noqa: E402
from crosspoint.models.official import convert, read_checkpoint  # noqa: E402

CLASSES = ("bed", "car", "lamp")
REAL = Path(os.environ.get("CROSSPOINT_TEST_DATA", "")) / "foreign_weights" / "pointnet_modelnet40_classifier.t7"


def logits(path, clouds):
    """Those of the imported encoder and head, in float64."""
    checkpoint = read_checkpoint(path)
    encoder = convert(checkpoint.entries, source="test").model.double()
    with torch.inference_mode():
        return read_head(checkpoint).decide(encoder(torch.from_numpy(clouds)).numpy())


def of_authors(network, clouds):
    with torch.inference_mode():
        return network.double()(torch.from_numpy(clouds)).numpy()


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "classifier.t7"
    torch.save(randomise(PointNetClassifier(len(CLASSES))).state_dict(), path, _use_new_zipfile_serialization=False)
    (tmp_path / "classes.txt").write_text("\n".join(CLASSES))
    return path


def filled(path, classes):
    network = PointNetClassifier(classes)
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


def test_logits_are_those_of_the_authors_network(checkpoint):
    clouds = np.random.default_rng(0).normal(size=(4, 50, 3))
    expected = of_authors(filled(checkpoint, 3), clouds)
    np.testing.assert_allclose(logits(checkpoint, clouds), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


@pytest.mark.skipif(not REAL.is_file(), reason="CROSSPOINT_TEST_DATA holds no foreign_weights")
def test_logits_are_those_of_the_published_classifier():
    clouds = np.random.default_rng(0).normal(size=(4, 50, 3))
    expected = of_authors(filled(REAL, 40), clouds)
    np.testing.assert_allclose(logits(REAL, clouds), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


@pytest.mark.slow
def test_the_bundle_predicts_and_is_exported_again(checkpoint, tmp_path):
    for i, name in enumerate(CLASSES):
        (tmp_path / "data" / name).mkdir(parents=True)
        np.save(tmp_path / "data" / name / "a.npy", np.random.default_rng(i).normal(size=(60, 3)))
    out, half = tmp_path / "bundle", tmp_path / "half"
    words = ["import", checkpoint, "--classes", tmp_path / "classes.txt", "--data", tmp_path / "data", "--out", out]
    for line in (words, ["export", out, "--precision", "int8", "--points", 60, "--out", half]):
        done = CliRunner().invoke(crosspoint, [*map(str, line)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    clouds = np.stack([np.load(tmp_path / "data" / name / "a.npy") for name in CLASSES]).astype(np.float32)
    with load_encoder(out, threads=1) as encoder:
        found = encoder.predict(clouds, normalise=True)
    from crosspoint.data.points import normalise

    expected = of_authors(filled(checkpoint, 3), normalise(clouds).astype(np.float64))
    shares = np.exp(expected - expected.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found.scores, shares / shares.sum(axis=1, keepdims=True), atol=1e-4)
    assert not found.unknown.any()
    assert (half / "encoder.onnx").is_file()


def test_what_is_missing_is_named(checkpoint, tmp_path):
    torch.save(PointNetEncoder().state_dict(), tmp_path / "encoder.pth")
    (tmp_path / "two.txt").write_text("bed\ncar\n")
    out = tmp_path / "bundle"
    with pytest.raises(InputError, match=r"classifier of 3 classes.*--classes FILE"):
        import_checkpoint(checkpoint, out)
    with pytest.raises(InputError, match="needs 3 names"):
        import_checkpoint(checkpoint, out, classes=tmp_path / "two.txt")
    with pytest.raises(InputError, match=r"no classifier's head; give --out FILE\.safetensors"):
        import_checkpoint(tmp_path / "encoder.pth", out)
    with pytest.raises(InputError, match="--classes is for classifiers"):
        import_checkpoint(checkpoint, tmp_path / "a.safetensors", classes=tmp_path / "classes.txt")
    with pytest.raises(InputError, match="give --data with it"):
        import_checkpoint(checkpoint, out, classes=tmp_path / "classes.txt", up="z")
    assert not out.exists()


def test_a_head_of_another_shape_is_refused(checkpoint):
    state = torch.load(checkpoint, weights_only=True)
    for name, value in (
        ("linear2.weight", torch.zeros(256, 300)),
        ("bn1.running_var", torch.full((512,), -1.0)),
        ("linear3.bias", torch.full((3,), float("nan"))),
    ):
        torch.save({**state, name: value}, checkpoint)
        with pytest.raises(InputError, match=name):
            read_head(read_checkpoint(checkpoint))
