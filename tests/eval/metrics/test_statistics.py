import itertools
import math
from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats

from crosspoint.eval.metrics.statistics import (
    Summary,
    confusion,
    mcnemar,
    mean_interval,
    paired,
    paired_interval,
    paired_objects,
    paired_runs,
    per_class,
    summary,
    wilson,
)


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_intervals_published_by_newcombe_1998(correct, total, low, high):
    assert wilson(correct, total) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("correct", "total"), [(0, 1), (1, 1), (3, 7), (81, 263), (2400, 2468)])
def test_wilson_is_that_of_scipy_where_the_count_is_whole(correct, total):
    expected = stats.binomtest(correct, total).proportion_ci(method="wilson")
    assert wilson(correct, total) == pytest.approx((expected.low, expected.high), rel=1e-12, abs=1e-15)


def test_wilson_ends_are_where_the_score_test_just_rejects():
    low, high = wilson(37, 50)
    for p in (low, high):
        assert abs(37 / 50 - p) / math.sqrt(p * (1 - p) / 50) == pytest.approx(1.959963984540054)


@pytest.mark.parametrize("total", [20, 80])  # of 80, rounding puts the end below 1
def test_wilson_of_everything_right_ends_at_one(total):
    assert wilson(total, total)[1] == 1.0
    assert wilson(0, total)[0] == 0.0


@pytest.mark.parametrize(("b", "c"), [(0, 1), (1, 0), (3, 5), (6, 6), (0, 9), (10, 2), (1, 12)])
def test_mcnemar_counts_all_equally_likely_outcomes_that_are_as_extreme(b, c):
    outcomes = [sum(coins) for coins in itertools.product((0, 1), repeat=b + c)]
    extreme = sum(abs(first - (b + c) / 2) >= abs(b - (b + c) / 2) for first in outcomes)
    assert mcnemar(b, c) == pytest.approx(extreme / len(outcomes))


def test_mcnemar_of_no_disagreement_is_one():
    assert mcnemar(0, 0) == 1.0


def test_paired_interval_is_wald_on_a_table_with_half_an_object_added_to_each_outcome():
    b, c, total = 4, 9, 40
    differences = (
        [1] * (2 * c + 1) + [-1] * (2 * b + 1) + [0] * (2 * (total + 2) - 2 * (b + c) - 2)
    )  # each half an object
    mean = np.mean(differences)
    half = 1.959963984540054 * np.std(differences) / math.sqrt(total + 2)
    assert paired_interval(b, c, total=total) == pytest.approx((mean - half, mean + half))


@pytest.mark.parametrize(("discordant", "half_width"), [(0.02, 0.005), (0.1, 0.002)])
def test_so_many_paired_objects_have_an_interval_of_the_asked_width(discordant, half_width):
    total = paired_objects(discordant, half_width=half_width)
    each = round(discordant * total / 2)
    low, high = paired_interval(each, each, total=total)
    assert (high - low) / 2 == pytest.approx(half_width, rel=0.02)


def test_paired_interval_covers_the_true_difference_as_often_as_it_says():
    rng = np.random.default_rng(0)
    tables = rng.multinomial(200, (0.08, 0.12, 0.8), size=4000)
    covered = [low <= 0.04 <= high for low, high in (paired_interval(b, c, total=200) for b, c, _ in tables.tolist())]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_summary_by_hand():
    assert astuple(summary([0.5, 0.7, 0.9])) == pytest.approx((0.7, 0.2, 0.2 / math.sqrt(3)))


def test_summary_of_one_run_has_no_deviation():
    assert summary([0.5]) == Summary(0.5, None, None)


def test_confusion_rows_are_true_classes():
    matrix = confusion(np.array([0, 0, 1, 1, 1]), np.array([0, 2, 1, 1, 0]), classes=4)
    assert matrix.tolist() == [[1, 0, 1, 0], [1, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert per_class(matrix) == [0.5, pytest.approx(2 / 3), None, None]


def test_paired_by_hand():
    truth = np.array([0, 0, 1, 1, 2, 2])
    first = np.array([0, 0, 1, 0, 0, 1])  # right, right, right, wrong, wrong, wrong
    second = np.array([0, 1, 1, 1, 2, 1])  # right, wrong, right, right, right, wrong
    result = paired(truth, first, second=second)
    assert result.reference_accuracy == pytest.approx(3 / 6)
    assert result.candidate_accuracy == pytest.approx(4 / 6)
    assert result.equal_predictions == pytest.approx(3 / 6)
    assert (result.only_reference_right, result.only_candidate_right) == (1, 2)
    assert result.difference == pytest.approx(1 / 6)
    assert result.mcnemar_p == 1.0


def test_paired_runs_is_the_t_interval_of_the_differences_of_tasks():
    rng = np.random.default_rng(0)
    truth = [rng.integers(0, 3, 20) for _ in range(6)]
    first = [np.where(rng.random(20) < 0.7, y, (y + 1) % 3) for y in truth]
    second = [np.where(rng.random(20) < 0.8, y, (y + 2) % 3) for y in truth]
    result = paired_runs(truth, first, second=second)
    by_hand = [np.mean(b == y) - np.mean(a == y) for y, a, b in zip(truth, first, second, strict=True)]
    expected = stats.ttest_1samp(by_hand, 0).confidence_interval(0.95)
    assert result.interval == pytest.approx((expected.low, expected.high))
    assert result.difference == pytest.approx(np.mean(by_hand))
    assert result.objects == 120


def test_paired_runs_of_one_task_has_no_interval():
    labels = [np.array([0, 1])]
    assert paired_runs(labels, labels, second=labels).interval is None


def test_the_interval_of_a_mean_by_hand():
    low, high = mean_interval(np.array([0.0, 1.0]))
    assert (low, high) == pytest.approx((0.5 - 1.959964 / 2, 0.5 + 1.959964 / 2), abs=1e-6)
    assert mean_interval(np.array([1.0])) is None
