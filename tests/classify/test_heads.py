"""Heads beside scikit-learn's own classifiers, fitted to all features."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from crosspoint.classify.heads import HEADS, STRENGTHS, Span, fit_head, strengths

CLASSES, EACH, WIDTH = 4, 6, 40


@pytest.fixture(scope="module")
def objects():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), EACH)
    means = rng.normal(size=(CLASSES, WIDTH))
    features = 3 + 2 * rng.uniform(0.5, 2, WIDTH) * (means[labels] + rng.normal(size=(len(labels), WIDTH)))
    return features, labels, 3 + 2 * (means[labels] + rng.normal(size=(len(labels), WIDTH)))


def standard(features, others):
    return (others - features.mean(axis=0)) / features.std(axis=0)


@pytest.mark.parametrize("strength", [1e-3, 1e-1])
def test_logistic_regression_decides_as_that_of_all_features(objects, strength):
    features, labels, others = objects
    head = fit_head("logistic", features, labels=labels, classes=CLASSES, strength=strength)
    model = LogisticRegression(C=strength, max_iter=5000, tol=1e-8).fit(standard(features, features), labels)
    expected = model.decision_function(standard(features, others))
    found = head.decide(others)
    np.testing.assert_allclose(
        found - found.mean(axis=1)[:, None], expected - expected.mean(axis=1)[:, None], atol=1e-3
    )


def test_the_svm_decides_as_that_of_all_features(objects):
    features, labels, others = objects
    head = fit_head("svm", features, labels=labels, classes=CLASSES, strength=0.01)
    model = LinearSVC(C=0.01, tol=1e-8, max_iter=100000).fit(standard(features, features), labels)
    np.testing.assert_allclose(head.decide(others), model.decision_function(standard(features, others)), atol=1e-3)


def test_the_nearest_mean_without_covariance_is_the_nearest_centroid(objects):
    features, labels, others = objects
    head = fit_head("nearest", features, labels=labels, classes=CLASSES, strength=1.0)
    known = standard(features, features)
    means = [known[labels == label].mean(axis=0) for label in range(CLASSES)]
    expected = cdist(standard(features, others), means).argmin(axis=1)
    assert (head.decide(others).argmax(axis=1) == expected).all()


def test_the_nearest_mean_is_nearest_by_the_distance_of_the_shrunk_covariance(objects):
    features, labels, others = objects
    head = fit_head("nearest", features, labels=labels, classes=CLASSES, strength=0.3)
    span = Span(features)
    x, y = span.coordinates, span.coordinates_of(others)
    means = np.array([x[labels == label].mean(axis=0) for label in range(CLASSES)])
    within = sum(np.outer(row - means[label], row - means[label]) for row, label in zip(x, labels, strict=True)) / len(
        x
    )
    shrunk = 0.7 * within + 0.3 * np.trace(within) / x.shape[1] * np.eye(x.shape[1])
    inverse = np.linalg.inv(shrunk)
    distances = np.array([[(a - m) @ inverse @ (a - m) for m in means] for a in y])
    expected = -0.5 * distances
    found = head.decide(others)
    np.testing.assert_allclose(found - found[:, :1], expected - expected[:, :1], atol=1e-8)


@pytest.mark.parametrize("name", HEADS)
def test_two_classes_have_two_decisions(objects, name):
    features, labels, others = objects
    two = labels < 2
    head = fit_head(name, features[two], labels=labels[two], classes=2, strength=STRENGTHS[name][2])
    assert head.decide(others).shape == (len(others), 2)
    assert (head.decide(features[two]).argmax(axis=1) == labels[two]).all()


def test_two_classes_have_the_probabilities_of_logistic_regression(objects):
    features, labels, others = objects
    two = labels < 2
    z = fit_head("logistic", features[two], labels=labels[two], classes=2, strength=0.1).decide(others)
    model = LogisticRegression(C=0.1, max_iter=5000, tol=1e-8).fit(standard(features[two], features[two]), labels[two])
    expected = model.predict_proba(standard(features[two], others))[:, 1]
    np.testing.assert_allclose(1 / (1 + np.exp(z[:, 0] - z[:, 1])), expected, atol=1e-4)


def test_a_feature_that_hardly_varies_is_not_blown_up():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(12, 5))
    features[:, 4] = 1 + 1e-12 * rng.normal(size=12)
    assert Span(features).scale[4] > 1e-3


def test_auto_tries_every_head_with_the_most_regularised_first():
    tried = strengths("auto")
    assert {name for name, _ in tried} == set(HEADS)
    assert [value for name, value in tried if name == "nearest"] == sorted(STRENGTHS["nearest"], reverse=True)
    assert [value for name, value in tried if name == "svm"] == sorted(STRENGTHS["svm"])
