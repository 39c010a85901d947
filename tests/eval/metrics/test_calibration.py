"""Temperature, calibration error and threshold beside slow references and closed forms."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from crosspoint.eval.metrics.calibration import (
    calibration_curve,
    calibration_error,
    fit_temperature,
    log_loss,
    threshold_of,
)
from crosspoint.runtime.classifier import softmax


def drawn(temperature, count=20000, classes=4, seed=0):
    """Decisions, and labels drawn from the probabilities at a temperature."""
    rng = np.random.default_rng(seed)
    decisions = 3 * rng.normal(size=(count, classes))
    shares = softmax(decisions / temperature).cumsum(axis=1)
    return decisions, (rng.random((count, 1)) > shares).sum(axis=1).clip(max=classes - 1)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 5.0])
def test_the_temperature_by_which_labels_were_drawn_is_found(temperature):
    assert fit_temperature(*drawn(temperature)) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_is_the_one_of_a_general_minimiser():
    decisions, labels = drawn(2.0, count=300)
    best = minimize_scalar(lambda x: log_loss(decisions / np.exp(x), labels), bounds=(-5, 5), method="bounded")
    assert fit_temperature(decisions, labels) == pytest.approx(np.exp(best.x), rel=1e-3)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_the_temperature_follows_the_scale_of_the_decisions(scale):
    decisions, labels = drawn(2.0, count=300)
    assert fit_temperature(decisions * scale, labels) == pytest.approx(
        scale * fit_temperature(decisions, labels), rel=1e-3
    )


def test_the_log_loss_is_the_mean_of_minus_the_logarithms():
    decisions, labels = drawn(1.0, count=50)
    by_hand = [-np.log(softmax(z)[label]) for z, label in zip(decisions, labels, strict=True)]
    assert log_loss(decisions, labels) == pytest.approx(np.mean(by_hand))


def test_the_calibration_error_is_the_mean_gap_of_the_bins():
    probabilities = np.array([[0.95, 0.05], [0.93, 0.07], [0.55, 0.45], [0.4, 0.6]])
    labels = np.array([0, 1, 0, 1])
    # tenths: (0.9, 1.0] one of two right at 0.94; (0.5, 0.6] two of two right at 0.575
    assert calibration_error(probabilities, labels) == pytest.approx((2 * abs(0.5 - 0.94) + 2 * abs(1 - 0.575)) / 4)


def test_calibrated_probabilities_have_a_small_error():
    decisions, labels = drawn(2.0)
    assert calibration_error(softmax(decisions / 2), labels) < 0.02 < calibration_error(softmax(decisions), labels)


def test_every_object_is_in_one_bin():
    decisions, labels = drawn(1.0, count=200)
    bins = calibration_curve(softmax(decisions), labels)
    assert sum(entry.objects for entry in bins) == 200
    assert all((entry.probability is None) == (entry.objects == 0) for entry in bins)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5])
def test_at_most_the_share_is_refused(share):
    confidences = np.random.default_rng(0).random(101)
    refused = (confidences > threshold_of(confidences, share)).mean()
    assert share - 1 / 101 < refused <= share


def test_equal_values_are_not_refused_beyond_the_share():
    assert (np.full(20, 0.7) > threshold_of(np.full(20, 0.7), 0.05)).sum() == 0
