"""What is learnt from a handful of labels, on embeddings whose truth is known."""

import numpy as np
import pytest

from crosspoint.classify.fit import FitOptions, fit
from crosspoint.classify.fitted import fit_objects
from crosspoint.classify.suspects import find_suspects
from crosspoint.core.errors import InputError
from crosspoint.runtime.classifier import softmax

CLASSES, EACH, WIDTH = 4, 6, 24


def drawn(count, seed, apart=1.0):
    """Objects of classes whose means are the same for every seed, `(n, 1, D)`."""
    means = apart * np.random.default_rng(0).normal(size=(CLASSES, WIDTH))
    labels = np.repeat(np.arange(CLASSES), count)
    features = means[labels] + np.random.default_rng(seed).normal(size=(len(labels), WIDTH))
    return features[:, None].astype(np.float32), labels


@pytest.fixture(scope="module")
def fitted():
    return fit_objects(*drawn(EACH, 1, apart=0.7), head="nearest")


def test_the_expected_accuracy_is_near_that_on_new_objects(fitted):
    features, labels = drawn(500, 2, apart=0.7)
    accuracy = (fitted.head.decide(features[:, 0]).argmax(axis=1) == labels).mean()
    assert fitted.interval[0] <= accuracy <= fitted.interval[1]


def novelty(fitted, features):
    scores = softmax(fitted.head.decide(features) / fitted.calibration.temperature)
    return fitted.novelty.measure(fitted.head.standardise(features), scores)


def test_few_known_objects_are_refused(fitted):
    features, _ = drawn(500, 3, apart=0.7)
    assert fitted.unknown.refused <= fitted.unknown.asked
    assert (novelty(fitted, features[:, 0]) > fitted.unknown.novelty).mean() < 0.15


def test_an_object_far_from_all_classes_is_unknown_however_sure_the_head_is(fitted):
    """Ten times the mean of a class: the head is surer of it than of the class."""
    features, _ = drawn(1, 4, apart=0.7)
    far = 10 * features[:, 0]
    scores = softmax(fitted.head.decide(far) / fitted.calibration.temperature)
    assert (scores.max(axis=1) > 0.99).all()
    assert (novelty(fitted, far) > fitted.unknown.novelty).all()


def test_an_object_between_two_classes_is_newer_than_one_of_them(fitted):
    """Both are as far from the nearest labelled object."""
    sure, torn = np.array([[0.9, 0.05, 0.03, 0.02]]), np.array([[0.5, 0.5, 0.0, 0.0]])
    distance = np.array([7.0])
    assert fitted.novelty.combine(distance, torn) > fitted.novelty.combine(distance, sure)


def test_a_label_that_was_exchanged_is_suspected():
    features, labels = drawn(EACH, 1, apart=3.0)
    wrong = labels.copy()
    wrong[0] = 2
    found = fit_objects(features, wrong, head="nearest")
    names, classes = [str(i) for i in range(len(labels))], [f"class{i}" for i in range(CLASSES)]
    (suspect,) = find_suspects(found.probabilities, wrong, names=names, classes=classes)
    assert (suspect.name, suspect.label, suspect.suggested) == ("0", "class2", "class0")


def test_equal_embeddings_make_no_classifier():
    with pytest.raises(InputError, match="all embeddings are equal"):
        fit_objects(np.ones((8, 1, 5), np.float32), np.repeat([0, 1], 4), head="nearest")


def test_the_same_labels_give_the_same_head():
    first, second = (fit_objects(*drawn(EACH, 1), head="nearest") for _ in range(2))
    assert first.chosen == second.chosen
    assert (first.head.weights == second.head.weights).all()
    assert first.accuracy == second.accuracy


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"head": "tree"}, "there is no head tree; give --head auto, "),
        ({"refuse": 1.0}, r"--refuse 1\.0 is not a share"),
        ({"refuse": float("nan")}, "--refuse nan is not a share"),
        ({"views": -1}, "--views is -1; give 0 to 100"),
        ({"turns": 0}, "--turns is 0; give 1 to 36"),
        ({"suggest": -1}, "--suggest is -1; give 1 or more"),
    ],
)
def test_options_out_of_range_are_refused_before_anything_is_read(tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        fit(tmp_path / "nowhere", tmp_path / "out", options=FitOptions(**options))


@pytest.mark.parametrize("option", ["views", "turns"])
def test_views_and_turns_need_points(tmp_path, option):
    (tmp_path / "e.npz").write_bytes(b"embeddings")
    with pytest.raises(InputError, match=f"which have no points; give the folder of the objects for --{option}"):
        fit(tmp_path / "e.npz", tmp_path / "out", options=FitOptions(**{option: 2}))


def test_embeddings_and_folders_do_not_mix(tmp_path):
    (tmp_path / "e.npz").write_bytes(b"embeddings")
    (tmp_path / "folder").mkdir()
    for data, other in (("e.npz", "folder"), ("folder", "e.npz")):
        options = FitOptions(suggest=2, unlabelled=tmp_path / other)
        with pytest.raises(InputError, match="holds embeddings"):
            fit(tmp_path / data, tmp_path / "out", options=options)
