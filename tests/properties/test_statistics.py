"""Metrics against brute force over every outcome, set or table."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from crosspoint.eval.metrics.miou import allowed_parts, most_likely, object_ious, part_ious
from crosspoint.eval.metrics.statistics import (
    confusion,
    mcnemar,
    mean_interval,
    paired,
    paired_interval,
    paired_runs,
    per_class,
    summary,
    wilson,
)
from crosspoint.parity.measures import Errors, cosine, relative_l2

Z = 1.959963984540054


@st.composite
def predictions(draw, most=30):
    """True labels `(n,)` and two classifiers' predictions."""
    count = draw(st.integers(1, most))
    labels = st.lists(st.integers(0, 3), min_size=count, max_size=count).map(lambda values: np.array(values, np.int64))
    return draw(labels), draw(labels), draw(labels)


@st.composite
def segmented(draw):
    """Category parts, labels `(n,)`, true and predicted parts `(n, N)`; predictions may be of other categories."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    numbers = draw(st.permutations(range(sum(sizes))))
    parts = [numbers[sum(sizes[:i]) : sum(sizes[: i + 1])] for i in range(len(sizes))]
    count, points = draw(st.integers(1, 6)), draw(st.integers(1, 20))
    labels = np.array(draw(st.lists(st.integers(0, len(sizes) - 1), min_size=count, max_size=count)), np.int64)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    truth = np.stack([rng.choice(parts[label], points) for label in labels])
    return parts, labels, truth, rng.integers(0, len(numbers), (count, points))


def literal_iou(truth, predicted, part):
    true, said = ({i for i, value in enumerate(row) if value == part} for row in (truth, predicted))
    return Fraction(len(true & said), len(true | said)) if true | said else Fraction(1)


def mean(values):
    return sum(values, Fraction(0)) / len(values)


@given(segmented())
def test_ious_are_those_of_sets_of_points_and_their_means_those_of_the_protocol(case):
    parts, labels, truth, predicted = case
    found = object_ious(truth, predicted, labels=labels, category_parts=parts)
    own = [
        [literal_iou(t, p, part) for part in parts[label]] for t, p, label in zip(truth, predicted, labels, strict=True)
    ]
    for ious, expected in zip(found.of_parts, own, strict=True):
        np.testing.assert_allclose(ious, [float(value) for value in expected], rtol=1e-14)
    objects = [mean(values) for values in own]
    classes = {
        c: mean([o for o, label in zip(objects, labels, strict=True) if label == c]) for c in set(labels.tolist())
    }
    assert found.instance == pytest.approx(float(mean(objects)), abs=1e-12)
    assert found.by_class == pytest.approx(float(mean([*classes.values()])), abs=1e-12)
    assert found.by_category == pytest.approx({c: float(value) for c, value in classes.items()})
    for c in classes:
        of_category = [values for values, label in zip(own, labels, strict=True) if label == c]
        expected = [float(mean([*column])) for column in zip(*of_category, strict=True)]
        np.testing.assert_allclose(found.by_part(c), expected, atol=1e-12)


@given(segmented(), st.randoms(use_true_random=False))
def test_means_over_objects_and_points_do_not_depend_on_their_order(case, random):
    parts, labels, truth, predicted = case
    rows, columns = (random.sample(range(size), size) for size in truth.shape)
    found = object_ious(truth, predicted, labels=labels, category_parts=parts)
    moved = object_ious(truth[rows][:, columns], predicted[rows][:, columns], labels=labels[rows], category_parts=parts)
    assert (moved.instance, moved.by_class) == pytest.approx((found.instance, found.by_class), abs=1e-12)


@given(segmented())
def test_ious_are_one_exactly_where_prediction_and_truth_are_equal(case):
    parts, labels, truth, predicted = case
    for t, p, label in zip(truth, predicted, labels, strict=True):
        assert (part_ious(t, t, parts=parts[label]) == 1).all()
        assert (part_ious(t, p, parts=parts[label]) == 1).all() == (t == p).all()


@given(segmented(), st.integers(0, 2**32))
def test_the_most_likely_part_is_the_first_with_the_largest_logit_among_those_allowed(case, seed):
    parts, labels, truth, _ = case
    count = sum(map(len, parts))
    logits = np.random.default_rng(seed).integers(-2, 3, (*truth.shape, count)).astype(np.float32)
    found = most_likely(logits, allowed_parts(labels, parts, parts=count))
    for b, i in np.ndindex(*truth.shape):
        own = sorted(parts[labels[b]])
        assert found[b, i] == max(own, key=lambda part, at=logits[b, i]: (at[part], -part))
        assert most_likely(logits)[b, i] == logits[b, i].tolist().index(logits[b, i].max())


@given(predictions(most=10))
def test_mcnemar_is_the_share_of_coin_tosses_that_are_as_uneven(case):
    truth, first, second = case
    b, c = int(((first == truth) & (second != truth)).sum()), int(((first != truth) & (second == truth)).sum())
    tosses = [abs(2 * sum(coins) - b - c) >= abs(b - c) for coins in itertools.product((0, 1), repeat=b + c)]
    assert mcnemar(b, c) == pytest.approx(sum(tosses) / len(tosses))
    assert mcnemar(c, b) == mcnemar(b, c)


@given(predictions())
def test_a_paired_comparison_counts_objects(case):
    truth, first, second = (values.tolist() for values in case)
    rows = [*zip(truth, first, second, strict=True)]
    result = paired(case[0], case[1], second=case[2])
    b = sum(y == one != two for y, one, two in rows)
    c = sum(y == two != one for y, one, two in rows)
    assert (result.objects, result.only_reference_right, result.only_candidate_right) == (len(rows), b, c)
    assert result.reference_accuracy == pytest.approx(sum(y == one for y, one, _ in rows) / len(rows))
    assert result.candidate_accuracy == pytest.approx(sum(y == two for y, _, two in rows) / len(rows))
    assert result.equal_predictions == pytest.approx(sum(one == two for _, one, two in rows) / len(rows))
    assert result.difference == pytest.approx((c - b) / len(rows))
    assert result.mcnemar_p == mcnemar(b, c)


@given(predictions())
def test_a_paired_interval_is_wald_s_on_a_table_with_half_an_object_more_in_each_cell(case):
    truth, first, second = case
    outcomes = (second == truth).astype(int) - (first == truth).astype(int)
    # every object twice, and one more of each cell: right and wrong together count 0
    table = np.concatenate([outcomes, outcomes, [1, -1, 0, 0]])
    half = Z * table.std() / math.sqrt(len(outcomes) + 2)
    expected = max(-1.0, table.mean() - half), min(1.0, table.mean() + half)
    result = paired(truth, first, second=second)
    assert result.interval == pytest.approx(expected, abs=1e-12)
    b, c = result.only_reference_right, result.only_candidate_right
    low, high = paired_interval(c, b, total=len(outcomes))
    assert (-high, -low) == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 500), st.data())
def test_wilson_s_ends_are_where_the_score_test_just_rejects(total, data):
    correct = data.draw(st.integers(0, total))
    low, high = wilson(correct, total)
    assert 0 <= low <= correct / total <= high <= 1
    for p in {low, high} - {0.0, 1.0}:
        # where an end is 0 or 1, the test's variance is nothing
        if p * (1 - p) > 1e-12:
            assert abs(correct / total - p) / math.sqrt(p * (1 - p) / total) == pytest.approx(Z, rel=1e-6)
    assert wilson(total - correct, total) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_the_mean_and_deviation_of_runs_are_the_textbook_s(values):
    exact = [Fraction(value) for value in values]
    variance = sum((value - mean(exact)) ** 2 for value in exact) / (len(exact) - 1)
    found = summary(values)
    assert found.mean == pytest.approx(float(mean(exact)), abs=1e-12)
    assert found.std == pytest.approx(math.sqrt(variance), abs=1e-9)
    error = math.sqrt(variance / len(values))
    assert found.standard_error == pytest.approx(error, abs=1e-9)
    expected = float(mean(exact)) - Z * error, float(mean(exact)) + Z * error
    assert mean_interval(np.array(values)) == pytest.approx(expected, abs=1e-9)


@given(st.lists(predictions(most=12), min_size=2, max_size=6))
def test_runs_are_compared_by_the_t_interval_of_their_differences(runs):
    truth, first, second = zip(*runs, strict=True)
    differences = [np.mean(two == y) - np.mean(one == y) for y, one, two in runs]
    result = paired_runs(truth, first, second=second)
    assert result.difference == pytest.approx(np.mean(differences))
    half = stats.t.ppf(0.975, len(runs) - 1) * np.std(differences, ddof=1) / math.sqrt(len(runs))
    assert result.interval == pytest.approx((np.mean(differences) - half, np.mean(differences) + half))
    pooled = paired(np.concatenate(truth), np.concatenate(first), second=np.concatenate(second))
    assert result.mcnemar_p == pooled.mcnemar_p
    assert result.objects == sum(len(y) for y in truth)


@given(predictions(), st.integers(0, 3))
def test_a_confusion_matrix_counts_pairs(case, more):
    truth, predicted, _ = case
    matrix = confusion(truth, predicted, classes=4 + more)
    pairs = [*zip(truth.tolist(), predicted.tolist(), strict=True)]
    assert matrix.tolist() == [[pairs.count((i, j)) for j in range(4 + more)] for i in range(4 + more)]
    shares = per_class(matrix)
    for label in range(4 + more):
        own = [p for y, p in pairs if y == label]
        assert shares[label] == (pytest.approx(own.count(label) / len(own)) if own else None)


@given(st.integers(1, 8), st.integers(1, 12), st.integers(0, 2**32), st.integers(-20, 20))
def test_errors_and_cosines_are_those_of_a_loop(count, dim, seed, exponent):
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(-2, 3, (count, dim)) * np.float32(2.0) ** exponent for _ in range(2))
    errors, cosines = relative_l2(a, b), cosine(a, b)
    for i in range(count):
        one, two = ([float(value) for value in row] for row in (a[i], b[i]))
        far, norms = math.dist(one, two), (math.hypot(*one), math.hypot(*two))
        if norms[0]:
            assert errors[i] == pytest.approx(far / norms[0])
        if all(norms):
            product = sum(x * y for x, y in zip(one, two, strict=True))
            assert cosines[i] == pytest.approx(product / math.prod(norms), abs=1e-12)
        elif not any(norms):
            assert (errors[i], cosines[i]) == (0, 1)
    found = Errors.between(a, b)
    assert (found.relative_l2_max, found.cosine_min) == (errors.max(), cosines.min())
