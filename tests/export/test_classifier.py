"""A classifier's head and novelty in the graph, beside both in float64."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.spatial.distance import cdist

from crosspoint.cli import crosspoint
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.data.points import normalise
from crosspoint.parity.limits import LIMITS, require_scores
from crosspoint.parity.scores import ScoreAgreement, require_head
from crosspoint.runtime.classifier import Classifier, ClassifierInfo, LinearHead, parse_classifier, write_classifier
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.novelty import Novelty, Scale
from crosspoint.runtime.released import resolve

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CLASSES, POINTS = ("bed", "car", "lamp"), 64


@pytest.fixture(scope="module")
def classifier():
    rng = np.random.default_rng(0)
    info = ClassifierInfo(CLASSES, 0.7, POINTS, True, "logistic", 0.1, 2.0, 6)
    with load_encoder("pointnet", threads=1) as encoder:
        clouds = normalise(rng.normal(size=(4, POINTS, 3)) * rng.uniform(0.2, 1, (4, 1, 3)))
        features = encoder.embed(clouds)
    width = features.shape[1]
    scale = np.full(width, 0.1)
    head = LinearHead(features.mean(axis=0).astype(float), scale, rng.normal(size=(width, 3)) / 9, rng.normal(size=3))
    references = head.standardise(features[:3] + rng.normal(size=(3, width)) / 50).astype(np.float32)
    novelty = Novelty(references, Scale(8.0, 2.0), Scale(0.3, 0.2))
    return Classifier(info, head, novelty, clouds, np.array([0, 1, 2, 0]))


@pytest.fixture(scope="module")
def path(classifier, tmp_path_factory):
    from crosspoint.export.onnx.classifier_head import append_classifier

    path = tmp_path_factory.mktemp("classifier") / "encoder.onnx"
    model = append_classifier(onnx.load(resolve("pointnet", ".onnx")), classifier)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path


def test_scores_are_those_of_the_head_in_float64(classifier, path):
    with load_encoder(path, threads=1) as encoder:
        found, features = encoder.predict(classifier.clouds), encoder.embed(classifier.clouds)
    np.testing.assert_allclose(found.scores, classifier.scores(features), atol=1e-5)
    np.testing.assert_allclose(found.scores.sum(axis=1), 1, atol=1e-6)
    assert found.labels == [CLASSES[i] for i in classifier.scores(features).argmax(axis=1)]


def test_novelty_is_the_distance_and_the_doubt_in_float64(classifier, path):
    with load_encoder(path, threads=1) as encoder:
        found, features = encoder.predict(classifier.clouds), encoder.embed(classifier.clouds).astype(float)
    standard = (features - classifier.head.mean) / classifier.head.scale
    distances = cdist(standard, classifier.novelty.references.astype(float)).min(axis=1)
    expected = (distances - 8) / 2 + (1 - classifier.scores(features).max(axis=1) - 0.3) / 0.2
    np.testing.assert_allclose(found.novelty, expected, atol=1e-3)
    np.testing.assert_allclose(classifier.rows(features)[:, -1], expected, atol=1e-9)


def test_the_embedding_is_that_of_the_encoder(classifier, path):
    with load_encoder(path, threads=1) as own, load_encoder("pointnet", threads=1) as plain:
        assert (own.embed(classifier.clouds) == plain.embed(classifier.clouds)).all()


def test_the_same_head_gives_the_same_bytes(classifier, path):
    from crosspoint.export.onnx.classifier_head import append_classifier

    again = append_classifier(onnx.load(resolve("pointnet", ".onnx")), classifier)
    assert again.SerializeToString(deterministic=True) == path.read_bytes()


def test_an_unknown_object_keeps_its_best_class(classifier, path):
    with load_encoder(path, threads=1) as encoder:
        found = encoder.predict(classifier.clouds)
    assert (found.unknown == (found.novelty > 0.7)).all()
    assert 0 < found.unknown.sum() < len(classifier.clouds)
    assert len(found.labels) == len(classifier.clouds)


def test_an_encoder_without_a_head_does_not_predict(classifier):
    with load_encoder("pointnet", threads=1) as encoder, pytest.raises(InputError, match="is not a classifier"):
        encoder.predict(classifier.clouds)


def test_agreement_reports_a_label_that_differs_with_its_margin(classifier, path):
    with load_encoder(path, threads=1) as encoder:
        features = encoder.embed(classifier.clouds).astype(float)
        same = ScoreAgreement(features, classifier, limits=LIMITS["fp32"]).compare(encoder)
        shifted = Classifier(
            classifier.info,
            LinearHead(*list(vars(classifier.head).values())[:3], classifier.head.biases[::-1] * 9),
            classifier.novelty,
            classifier.clouds,
            classifier.labels,
        )
        other = ScoreAgreement(features, shifted, limits=LIMITS["fp32"]).compare(encoder)
    assert (same.changed, same.equal_labels) == ((), 1.0)
    require_scores("it", same)
    expected = np.sort(shifted.scores(features), axis=1)
    assert other.changed
    assert other.changed[0].margin == pytest.approx(
        expected[other.changed[0].cloud, -1] - expected[other.changed[0].cloud, -2]
    )
    with pytest.raises(CheckFailed, match="differs from the trained classifier"):
        require_scores("it", other)


def test_a_novelty_that_differs_fails_and_names_the_cloud(classifier, path):
    """The same scores; the distances of another classifier are half as far apart in standard deviations."""
    wider = replace(classifier.novelty, distance=Scale(8.0, 4.0))
    with load_encoder(path, threads=1) as encoder:
        features = encoder.embed(classifier.clouds).astype(float)
        task = ScoreAgreement(features, replace(classifier, novelty=wider), limits=LIMITS["fp32"]).compare(encoder)
        with pytest.raises(CheckFailed, match="it differs from the classifier's head: the novelty by"):
            require_head(encoder, replace(classifier, novelty=wider), name="it")
        require_head(encoder, classifier, name="it")
    own, other = classifier.rows(features)[:, -1], replace(classifier, novelty=wider).rows(features)[:, -1]
    assert task.largest_error < 1e-4
    assert task.largest_novelty_error == pytest.approx(np.abs(own - other).max(), abs=1e-2)
    assert {change.cloud for change in task.changed_unknown} == set(np.flatnonzero((own > 0.7) != (other > 0.7)))
    with pytest.raises(CheckFailed, match="the novelty by"):
        require_scores("it", task)


def test_head_and_clouds_come_back_from_their_file(classifier, tmp_path):
    file = tmp_path / "classifier.npz"
    write_classifier(file, classifier)
    again = parse_classifier(file, file.read_bytes(), info=classifier.info)
    for name in ("mean", "scale", "weights", "biases"):
        assert (getattr(again.head, name) == getattr(classifier.head, name)).all()
    assert again.head.hidden == ()
    assert (again.clouds == classifier.clouds).all()
    assert (again.novelty.references == classifier.novelty.references).all()
    assert (again.novelty.distance, again.novelty.doubt) == (classifier.novelty.distance, classifier.novelty.doubt)
    other = ClassifierInfo((*CLASSES, "tree"), 0.4, POINTS, True, "svm", 0.1, 2.0, 6)
    with pytest.raises(InputError, match="not the head of 4 classes"):
        parse_classifier(file, file.read_bytes(), info=other)


def test_predictions_of_files_are_those_of_their_clouds(path, tmp_path):
    np.save(tmp_path / "a.npy", np.random.default_rng(1).normal(size=(POINTS, 3)))
    out = tmp_path / "out.csv"
    done = CliRunner().invoke(crosspoint, ["predict", str(path), str(tmp_path / "a.npy"), "--out", str(out)])
    assert done.exit_code == 0, done.output
    (row,) = csv.DictReader(out.open())
    with load_encoder(path, threads=1) as encoder:
        found = encoder.predict(tmp_path / "a.npy")
    assert (row["name"], row["label"]) == ("a.npy", found.labels[0])
    assert float(row["probability"]) == pytest.approx(float(found.probabilities[0]), abs=1e-6)
    assert row["unknown"] == str(bool(found.unknown[0])).lower()


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    from crosspoint.parity.clouds import SURFACES

    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("shapes")
    for name, surface in zip(("box", "ball", "tube"), SURFACES, strict=False):
        (folder / name).mkdir()
        for i in range(4):
            np.save(folder / name / f"{i}.npy", surface(rng, 100))
    return folder


@pytest.mark.slow
def test_fit_predict_evaluate_and_export_go_together(shapes, tmp_path):
    pytest.importorskip("torch")

    def run(*words):
        done = CliRunner().invoke(crosspoint, [*map(str, words)], catch_exceptions=False)
        assert done.exit_code == 0, done.output

    fitted, half = tmp_path / "classifier", tmp_path / "half"
    run(
        "fit",
        shapes,
        "--out",
        fitted,
        "--model",
        "pointnet",
        "--points",
        64,
        "--draws",
        2,
        "--json",
        tmp_path / "f.json",
    )
    run("predict", fitted, shapes, "--top", 2, "--out", tmp_path / "p.json")
    run("eval", "classify", fitted, "--data", shapes, "--json", tmp_path / "e.json")
    run("export", fitted, "--precision", "fp16", "--points", 64, "--out", half)
    run("eval", "classify", half, "--data", shapes, "--against", fitted, "--json", tmp_path / "h.json")
    result, exact, lowered = (json.loads((tmp_path / name).read_text()) for name in ("f.json", "e.json", "h.json"))
    assert [entry["name"] for entry in result["classes"]] == ["ball", "box", "tube"]
    assert exact["accuracy"] > 0.8
    assert lowered["against"]["paired"]["equal_predictions"] > 0.9
    task = json.loads((half / "manifest.json").read_text())["parity"]["task"]
    assert task["largest_error"] <= task["score_limit"]
    assert task["changed"] == []


@pytest.mark.slow
def test_up_columns_and_patterns_hold_for_fit_and_predict(shapes, tmp_path):
    """Lying text files with the columns z, x, y beside others; predictions equal those of the standing arrays."""
    pytest.importorskip("torch")
    lying, standing = tmp_path / "lying", tmp_path / "standing"
    for path in shapes.rglob("*.npy"):
        points = np.load(path).astype(np.float64)
        turned = np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)  # y-up to z-up
        for root in (lying, standing):
            (root / path.parent.name).mkdir(parents=True, exist_ok=True)
        np.save(standing / path.relative_to(shapes), points)
        text = lying / path.relative_to(shapes).with_suffix(".xyz")
        text.write_text("\n".join(f"{z!r} {x!r} {y!r}" for x, y, z in turned.tolist()))
        text.with_name("old-" + text.name).write_text("no points")
    options = ["--up", "z", "--columns", "2,3,1", "--include", "*.xyz", "--exclude", "*/old-*"]

    def run(*words):
        done = CliRunner().invoke(crosspoint, [*map(str, words)], catch_exceptions=False)
        assert done.exit_code == 0, done.output

    model = ["--model", "pointnet", "--points", 64, "--draws", 1]
    run("fit", lying, *options, *model, "--out", tmp_path / "of-lying", "--json", tmp_path / "fit.json")
    run("fit", standing, "--up", "y", *model, "--out", tmp_path / "of-standing")
    run("predict", tmp_path / "of-lying", lying, *options, "--out", tmp_path / "lying.json")
    run("predict", tmp_path / "of-standing", standing, "--up", "y", "--out", tmp_path / "standing.json")
    result = json.loads((tmp_path / "fit.json").read_text())
    assert (result["objects"], result["frame"]["up"]) == (12, "z")
    own, other = (json.loads((tmp_path / f"{name}.json").read_text())["predictions"] for name in ("lying", "standing"))
    assert [one["name"].removesuffix(".xyz") for one in own] == [one["name"].removesuffix(".npy") for one in other]
    assert [one["label"] for one in own] == [one["label"] for one in other]
    np.testing.assert_allclose([one["probability"] for one in own], [one["probability"] for one in other], atol=1e-3)


@pytest.mark.parametrize("points", [POINTS, 48])
def test_golden_vectors_have_the_number_of_points_that_the_bundle_takes(points, classifier, tmp_path):
    from crosspoint.export.bundle import export
    from crosspoint.export.options import ExportOptions

    export("pointnet", tmp_path / "out", points=points, options=ExportOptions(classifier=classifier))
    with np.load(tmp_path / "out" / "golden.npz") as golden:
        assert golden["points"].shape == (1, points, 3)
