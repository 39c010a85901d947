import json

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from crosspoint.core.errors import InputError
from crosspoint.data.points import normalise
from crosspoint.data.sets.datasets import load_classification
from crosspoint.eval.svm import svm
from crosspoint.models import PointNet
from crosspoint.models.weights import load_model, save_model
from crosspoint.runtime.options import RunOn, Sampling


@pytest.mark.parametrize(("form", "c"), [("modelnet40", 0.1), ("scanobjectnn", 0.01)])
def test_official_is_svc_on_the_first_points(form, c, tmp_path, writers, pointnet):
    root = writers[form](tmp_path)
    result = svm(pointnet, root, sampling=Sampling(32, seeds=1)).official
    whole = load_classification(root, None)
    assert whole.test is not None
    network, prepare = load_model(pointnet), normalise if form == "modelnet40" else np.asarray
    with torch.inference_mode():
        train, test = (
            network(torch.from_numpy(prepare(part.points[:, :32]))).numpy() for part in (whole.train, whole.test)
        )
    classifier = SVC(kernel="linear", C=c).fit(train, whole.train.labels)
    assert result.accuracy == pytest.approx(classifier.score(test, whole.test.labels))
    assert result.c == c
    assert result.interval[0] < result.accuracy <= result.interval[1]


def test_clean_averages_over_choices_of_points(modelnet, pointnet):
    result = svm(pointnet, modelnet, sampling=Sampling(16, 5, 3)).clean
    accuracies = [run.accuracy for run in result.runs]
    assert [run.seed for run in result.runs] == [5, 6, 7]
    assert len(set(accuracies)) > 1
    assert result.accuracy == pytest.approx(np.mean(accuracies))
    assert result.std == pytest.approx(np.std(accuracies, ddof=1))
    for run in result.runs:
        best = max(row.accuracy for row in run.cross_validation)
        assert run.c == min(row.c for row in run.cross_validation if row.accuracy == best)


def test_clean_runs_once_where_every_stored_point_is_used(modelnet, pointnet):
    result = svm(pointnet, modelnet, sampling=Sampling(64)).clean
    assert len(result.runs) == 1
    assert result.std is None


def test_the_result_is_repeatable_and_json(modelnet, pointnet):
    def timeless(value):
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if "seconds" not in k}
        return value

    first, second = (timeless(svm(pointnet, modelnet, sampling=Sampling(16, seeds=2)).to_json()) for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


def test_classes_objects_and_confusion_add_up(modelnet, pointnet):
    result = svm(pointnet, modelnet, sampling=Sampling(16, seeds=2))
    confusion = np.array(result.confusion)
    assert confusion.sum() == 2 * 15
    assert confusion.trace() / confusion.sum() == pytest.approx(result.clean.accuracy)
    assert [row.name for row in result.per_class] == ["ball", "stick", "plate"]
    assert [row.objects for row in result.per_class] == [5, 5, 5]
    assert np.mean([row.clean for row in result.per_class]) == pytest.approx(result.clean.class_accuracy)


def test_the_picture_is_drawn_and_nothing_else_is_left(tmp_path, modelnet, pointnet):
    svm(pointnet, modelnet, sampling=Sampling(16, seeds=1), out=tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["confusion.png"]
    assert (tmp_path / "out" / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_an_output_folder_that_cannot_be_made_is_known_before_the_work(tmp_path, pointnet):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        svm(pointnet, tmp_path / "no-data-was-read", out=tmp_path / "file" / "out")


def test_one_class_is_refused(tmp_path, writers, pointnet):
    root = writers["modelnet40"](tmp_path)
    import h5py

    for path in root.glob("*.h5"):
        with h5py.File(path, "r+") as file:
            file["label"][...] = 0
    with pytest.raises(InputError, match="two classes"):
        svm(pointnet, root, sampling=Sampling(16, seeds=1))


def test_zero_seeds_are_refused(modelnet, pointnet):
    with pytest.raises(InputError, match="--seeds is 0"):
        svm(pointnet, modelnet, sampling=Sampling(seeds=0))


@pytest.fixture
def other(tmp_path):
    torch.manual_seed(5)
    save_model(PointNet().eval(), tmp_path / "other.safetensors")
    return tmp_path / "other.safetensors"


def test_a_model_against_itself_differs_in_nothing(modelnet, pointnet, tmp_path):
    run_on = RunOn(cache=tmp_path / "cache")
    against = svm(pointnet, modelnet, sampling=Sampling(16, seeds=2), run_on=run_on, against=pointnet).against
    for pair in (against.official, against.clean):
        assert (pair.equal_predictions, pair.mcnemar_p, pair.difference) == (1, 1, 0)


def test_against_gives_what_both_models_give_alone(modelnet, pointnet, other):
    result = svm(pointnet, modelnet, sampling=Sampling(16, seeds=1), against=other)
    alone = svm(other, modelnet, sampling=Sampling(16, seeds=1))
    for rule in ("official", "clean"):
        pair = getattr(result.against, rule)
        assert pair.candidate_accuracy == pytest.approx(getattr(result, rule).accuracy)
        assert pair.reference_accuracy == pytest.approx(getattr(alone, rule).accuracy)
        assert pair.interval[0] < pair.difference < pair.interval[1]


def test_the_json_has_the_entries_that_scripts_read(modelnet, pointnet):
    """Names and order are a contract: others read these files."""
    written = svm(pointnet, modelnet, sampling=Sampling(16, seeds=2), against=pointnet).to_json()
    assert list(written) == [
        *("schema", "model", "data", "official", "clean", "per_class", "confusion", "embedding_seconds", "against")
    ]
    assert written["schema"] == "crosspoint.svm/1"
    assert list(written["model"]) == ["path", "sha256", "architecture", "dim", "precision", "backend", "device"]
    assert list(written["data"]) == [
        *("path", "format", "classes", "train", "test", "test_from", "points", "seed", "frame")
    ]
    assert list(written["official"]) == ["accuracy", "interval", "class_accuracy", "rule", "C", "seconds"]
    assert list(written["clean"]) == ["accuracy", "interval", "class_accuracy", "rule", "std", "runs", "seconds"]
    assert list(written["clean"]["runs"][0]) == ["seed", "C", "accuracy", "cross_validation"]
    assert list(written["clean"]["runs"][0]["cross_validation"][0]) == ["C", "accuracy", "std"]
    assert list(written["per_class"][0]) == ["class", "objects", "official", "clean"]
    assert list(written["against"]) == ["model", "accuracy", "official", "clean"]
    assert list(written["against"]["accuracy"]) == ["official", "clean"]
    assert list(written["against"]["clean"]) == [
        *("objects", "reference_accuracy", "candidate_accuracy", "equal_predictions", "only_reference_right"),
        *("only_candidate_right", "mcnemar_p", "difference", "interval"),
    ]
    assert "against" not in svm(pointnet, modelnet, sampling=Sampling(64)).to_json()
