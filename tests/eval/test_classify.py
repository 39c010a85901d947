"""Accuracy of a classifier, with scores that are written down instead of computed by a network."""

import json
from dataclasses import replace

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.frames import Frame
from crosspoint.data.sources import find_sources
from crosspoint.eval import classify as module
from crosspoint.eval.classify import ClassifyResult, classify
from crosspoint.runtime.classifier import ClassifierInfo, Predictions, check_frames
from crosspoint.runtime.jobs.predict import ScoredSources
from crosspoint.runtime.options import Sampling

INFO = ClassifierInfo(("bed", "car"), 1.5, 8, False, "nearest", 1.0, 1.0, 4)
SCORES = {  # by object
    "bed/a.npy": (0.9, 0.1),
    "bed/b.npy": (0.45, 0.55),  # wrong, and unknown
    "car/a.npy": (0.2, 0.8),
    "car/b.npy": (0.42, 0.58),  # right, and unknown
    "tree/a.npy": (0.51, 0.49),  # a stranger, unknown
    "tree/b.npy": (0.99, 0.01),  # a stranger, taken for a bed
}
NOVELTY = dict(zip(SCORES, (-1.0, 1.6, 0.0, 2.0, 1.51, 1.49), strict=True))


@pytest.fixture
def folder(tmp_path):
    for name in SCORES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, np.random.default_rng(0).random((8, 3)))
    return tmp_path


@pytest.fixture
def written_down(monkeypatch):
    """The released PointNet runs as a classifier that gives `SCORES`."""

    def scores(encoder, sources, **options):
        names = [source.name for source in sources]
        rows = np.array([(*SCORES[name], NOVELTY[name]) for name in names], np.float32)
        return ScoredSources(names, Predictions.from_rows(INFO, rows), ())

    monkeypatch.setattr(module, "require_classifier", lambda encoder: INFO)
    monkeypatch.setattr(module, "score_sources", scores)


def measure(folder, **options):
    return classify("pointnet", folder, sampling=Sampling(8), **options)


def test_accuracy_counts_the_best_class_of_unknown_objects_too(folder, written_down):
    result = measure(folder)
    assert (result.objects, result.accuracy) == (4, 0.75)
    assert [(entry.name, entry.objects, entry.accuracy) for entry in result.classes] == [
        ("bed", 2, 0.5),
        ("car", 2, 1.0),
    ]
    assert result.confusion == [[1, 1], [0, 2]]


def test_strangers_are_counted_apart(folder, written_down):
    unknown = measure(folder).unknown
    assert (unknown.known_refused, unknown.accuracy_of_rest) == (0.5, 1.0)
    assert (unknown.strangers, unknown.strangers_refused) == (2, 0.5)


def test_the_result_is_read_back_as_it_was_written(folder, written_down):
    result = measure(folder)
    assert ClassifyResult.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_against_itself_all_labels_are_equal(folder, written_down):
    paired = measure(folder, against="pointnet").against.paired
    assert (paired.equal_predictions, paired.difference) == (1.0, 0.0)


def test_the_pictures_are_drawn(folder, written_down, tmp_path):
    pytest.importorskip("matplotlib")
    measure(folder, out=tmp_path / "pictures")
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"confusion.png", "calibration.png"}


def test_data_without_the_classes_are_refused(tmp_path, written_down, monkeypatch):
    for name in ("tree/a.npy", "tree/b.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        np.save(tmp_path / name, np.random.default_rng(0).random((8, 3)))
    with pytest.raises(InputError, match="no objects of the classifier's classes \\(bed, car\\)"):
        measure(tmp_path)


def test_an_encoder_is_no_classifier(folder):
    with pytest.raises(InputError, match="is not a classifier"):
        measure(folder)


@pytest.mark.parametrize(
    ("frame", "refused"), [(Frame("z", "given"), True), (Frame("z", "format"), False), (None, False)]
)
def test_a_file_without_a_frame_is_refused_by_a_classifier_of_turned_objects(folder, frame, refused):
    sources = find_sources([folder], 8, seed=0)
    info = replace(INFO, frame=frame)
    if not refused:
        check_frames(info, sources, path="model")
        return
    with pytest.raises(InputError, match=r"the objects of model are z-up, and bed/a\.npy does not state .* --up z"):
        check_frames(info, sources, path="model")
    check_frames(info, find_sources([folder], 8, seed=0, up="x"), path="model")
