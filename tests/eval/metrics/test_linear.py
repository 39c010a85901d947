import numpy as np
import pytest
from sklearn.svm import SVC

from crosspoint.core.errors import InputError
from crosspoint.eval.metrics import linear


def blobs(classes, per_class=12, dim=30, seed=0, spread=1.2):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes) * 3 + 1, per_class)  # labels need not be 0, 1, 2 …
    features = rng.standard_normal((classes, dim))[labels // 3] + spread * rng.standard_normal((len(labels), dim))
    return features.astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("c", [0.001, 0.1, 10.0])
def test_it_is_scikit_learns_linear_svc(classes, c):
    features, labels = blobs(classes)
    new, _ = blobs(classes, seed=1)
    theirs = SVC(kernel="linear", C=c, tol=1e-8, decision_function_shape="ovo").fit(features, labels)
    ours = linear.fit(features, labels, c=c, tolerance=1e-8)
    expected = theirs.decision_function(new)
    if classes == 2:
        expected = -expected[:, None]  # scikit-learn's only pair speaks for the second class
    np.testing.assert_allclose(ours.decide(new), expected, atol=1e-5)
    np.testing.assert_array_equal(ours.predict(new), theirs.predict(new))


def test_predictions_at_the_default_tolerance_are_those_of_svc():
    features, labels = blobs(10, per_class=30, spread=2.0)
    train, test = np.arange(0, 300, 2), np.arange(1, 300, 2)
    expected = SVC(kernel="linear", C=0.1).fit(features[train], labels[train]).predict(features[test])
    assert 0.3 < np.mean(expected == labels[test]) < 0.95  # hard enough to tell machines apart
    np.testing.assert_array_equal(linear.fit(features[train], labels[train], c=0.1).predict(features[test]), expected)


def test_a_part_of_the_gram_matrix_gives_the_machine_of_these_rows():
    features, labels = blobs(4)
    rows = np.arange(0, len(labels), 2)
    products = linear.gram(features)[np.ix_(rows, rows)]
    a = linear.fit(features[rows], labels[rows], c=1.0, products=products)
    b = linear.fit(features[rows], labels[rows], c=1.0)
    np.testing.assert_allclose(a.weights, b.weights, atol=1e-9)


def test_equal_votes_go_to_the_lower_class():
    weights = np.array([[1.0], [-1.0], [1.0]])  # 0 beats 1, 2 beats 0, 1 beats 2: one vote each
    machine = linear.LinearSVM(np.array([4, 5, 6]), weights, np.zeros(3))
    assert machine.predict(np.array([[1.0]], np.float32)).tolist() == [4]


def test_the_grid_follows_the_scale_of_the_features():
    features, labels = blobs(3)
    small = features / 100
    assert linear.grid(small) == pytest.approx([c * 1e4 for c in linear.grid(features)])
    chosen, _ = linear.choose_c(features, labels, products=linear.gram(features), seed=0)
    assert linear.choose_c(small, labels, products=linear.gram(small), seed=0)[0] == pytest.approx(chosen * 1e4)


def test_cross_validation_is_that_of_scikit_learn():
    from sklearn.model_selection import GridSearchCV, StratifiedKFold

    features, labels = blobs(5, spread=2.5)
    chosen, tried = linear.choose_c(features, labels, products=linear.gram(features), seed=3)
    folds = StratifiedKFold(5, shuffle=True, random_state=3)
    search = GridSearchCV(SVC(kernel="linear"), {"C": linear.grid(features)}, cv=folds).fit(features, labels)
    np.testing.assert_allclose([row.accuracy for row in tried], search.cv_results_["mean_test_score"], atol=1e-12)
    assert chosen == search.best_params_["C"]


def test_a_collapsed_model_is_named():
    with pytest.raises(InputError, match="collapsed"):
        linear.grid(np.ones((5, 3), np.float32))


def test_one_class_cannot_be_fitted():
    with pytest.raises(InputError, match="two classes"):
        linear.fit(np.eye(3, dtype=np.float32), np.zeros(3, np.int64), c=1.0)


def test_a_class_with_one_object_cannot_be_cross_validated():
    features, labels = blobs(2)
    labels[0] = 99
    with pytest.raises(InputError, match="class 99 has one training object"):
        linear.choose_c(features, labels, products=linear.gram(features), seed=0)


def test_two_objects_of_a_class_are_enough_for_cross_validation():
    features, labels = blobs(2)
    kept = np.concatenate([np.flatnonzero(labels == label)[:2] for label in np.unique(labels)])
    chosen, _ = linear.choose_c(features[kept], labels[kept], products=linear.gram(features[kept]), seed=0)
    assert chosen > 0
