"""A small classifier bundle for the examples to run."""

from pathlib import Path

import numpy as np
import pytest

CLASSES = ("bed", 'lamp "α" \\', "car")
POINTS = 64


@pytest.fixture(scope="session")
def examples():
    return Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """PointNet with a head of three classes that tells random clouds apart."""
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from crosspoint.data.points import normalise
    from crosspoint.export.bundle import export
    from crosspoint.export.options import ExportOptions
    from crosspoint.runtime.classifier import Classifier, ClassifierInfo, LinearHead
    from crosspoint.runtime.load import load_encoder
    from crosspoint.runtime.novelty import Novelty, Scale

    rng = np.random.default_rng(0)
    clouds = normalise(rng.normal(size=(6, POINTS, 3)) * rng.uniform(0.2, 1, (6, 1, 3)))
    with load_encoder("pointnet", threads=1) as encoder:
        features = encoder.embed(clouds).astype(float)
    scale = np.full(features.shape[1], 0.1)
    weights = rng.normal(size=(features.shape[1], 3)) / 9
    head = LinearHead(features.mean(axis=0), scale, weights, np.zeros(3))
    novelty = Novelty(head.standardise(features[:2]).astype(np.float32), Scale(40.0, 10.0), Scale(0.3, 0.2))
    info = ClassifierInfo(CLASSES, 0.5, POINTS, True, "logistic", 0.1, 2.0, 6)
    classifier = Classifier(info, head, novelty, clouds, np.array([0, 1, 2, 0, 1, 2]))
    out = tmp_path_factory.mktemp("examples") / "classifier"
    export("pointnet", out, points=(1, POINTS, POINTS + 16), options=ExportOptions(classifier=classifier))
    return out


@pytest.fixture(scope="session")
def golden(bundle):
    return dict(np.load(bundle / "golden.npz"))
