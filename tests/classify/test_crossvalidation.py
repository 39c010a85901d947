"""Cross-validation: no object is judged by a head that saw it, and flat curves do not decide by chance."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from crosspoint.classify.crossvalidation import (
    REFERENCES,
    REPEATS,
    choose,
    choose_references,
    expected_accuracy,
    folds,
    hold_out,
)
from crosspoint.classify.heads import strengths


def objects(classes=4, each=5, width=30, apart=1.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    features = apart * rng.normal(size=(classes, width))[labels] + rng.normal(size=(len(labels), width))
    return features[:, None].astype(np.float32), labels


def test_every_object_is_held_out_once_in_each_repeat():
    _, labels = objects()
    seen = np.zeros((REPEATS, len(labels)), int)
    for repeat, train, test in folds(labels, repeats=REPEATS, seed=0):
        assert not set(train) & set(test)
        assert set(labels[train]) == set(labels)
        seen[repeat, test] += 1
    assert (seen == 1).all()


def test_labels_without_meaning_are_right_by_chance_alone():
    features, labels = objects(apart=0.0, each=10)
    right = hold_out(features, labels, classes=4, candidates=strengths("nearest"), seed=0).correct
    assert right.mean() < 0.45  # a head that had seen the objects would have nearly all


def test_samples_of_one_object_stay_on_one_side():
    features, labels = objects(apart=0.0, each=6)
    features = np.repeat(features, 3, axis=1)
    right = hold_out(features, labels, classes=4, candidates=[("nearest", 1.0)], seed=0).correct
    assert right.mean() < 0.5


def test_an_object_is_right_in_as_many_shares_as_its_samples_are():
    """Samples of class 0 lie at −1 and those of class 1 at +1, except one sample of the first object."""
    labels = np.repeat([0, 1], 6)
    side = np.where(labels == 0, -1.0, 1.0)[:, None].repeat(4, axis=1)  # (n, 4)
    side[0, 2] = 1.0
    features = side[..., None] + 0.01 * np.random.default_rng(0).normal(size=(12, 4, 5))
    right = hold_out(features.astype(np.float32), labels, classes=2, candidates=[("nearest", 1.0)], seed=0).correct
    np.testing.assert_array_equal(right[0], [0.75] + [1.0] * 11)


def test_distances_are_to_objects_on_the_other_side_of_the_fold():
    """No object is at distance 0 from itself; where every object has a twin, some twins are on the other side."""
    features, labels = objects(each=6)
    found = hold_out(features, labels, classes=4, candidates=[("nearest", 1.0)], seed=0).distances
    assert found.shape == (REPEATS, len(labels))
    assert (found > 1).all()
    twins = np.concatenate([features, features])
    found = hold_out(twins, np.tile(labels, 2), classes=4, candidates=[("nearest", 1.0)], seed=0).distances
    assert (np.abs(found) < 1e-5).any()


def test_distances_are_those_of_standardised_embeddings():
    features, labels = objects(each=3)
    found = hold_out(features, labels, classes=4, candidates=[("nearest", 1.0)], seed=0).distances
    _, train, test = next(folds(labels, repeats=1, seed=0))
    inner, outer = (features[rows, 0].astype(float) for rows in (train, test))
    scale = inner.std(axis=0)
    np.testing.assert_allclose(found[0, test], cdist(outer / scale, inner / scale).min(axis=1), rtol=1e-6)


def test_many_objects_are_reduced_evenly_over_the_classes():
    features = np.arange(2000, dtype=np.float32).reshape(1000, 2, 1)
    labels = np.repeat([0, 1], [900, 100])
    kept = choose_references(features, labels, seed=0)[:, 0].astype(int) // 2
    assert len(kept) == REFERENCES
    assert np.bincount(labels[kept]).tolist() == [REFERENCES - 200, 200]


def flat(rng, rows, count=60, share=0.8):
    return (rng.random((rows, count)) < share).astype(float)


def test_a_flat_curve_goes_to_the_most_regularised():
    same = flat(np.random.default_rng(0), 1)
    better = same.copy()
    better[0, np.flatnonzero(better[0] == 0)[:1]] = 1  # one object more
    candidates = [("logistic", 0.01), ("logistic", 0.1), ("logistic", 3.16)]
    assert choose(np.vstack([same, same, better]), candidates) == 0


def test_a_candidate_that_is_clearly_better_is_taken():
    poor, good = flat(np.random.default_rng(0), 1, share=0.5), flat(np.random.default_rng(1), 1, share=0.95)
    assert choose(np.vstack([poor, good, good]), [("svm", 0.01), ("svm", 0.1), ("svm", 1.0)]) == 1


def test_the_best_head_is_taken():
    rng = np.random.default_rng(0)
    rows = np.vstack([flat(rng, 1, share=0.4), flat(rng, 1, share=0.9)])
    assert choose(rows, [("nearest", 1.0), ("svm", 0.1)]) == 1


def test_the_expected_accuracy_is_below_that_of_the_best_of_many_equal_candidates():
    rows = flat(np.random.default_rng(0), 40, count=40)
    candidates = [(f"head{i}", 1.0) for i in range(40)]
    expected = expected_accuracy(rows, candidates, seed=0)
    assert expected < rows.mean(axis=1).max() - 0.02
    assert expected == pytest.approx(0.8, abs=0.06)
