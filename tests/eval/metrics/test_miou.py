"""IoU of parts against a slow reference of sets, and by hand."""

import numpy as np
import pytest

from crosspoint.eval.metrics.miou import allowed_parts, most_likely, object_ious, part_ious


def slow(truth, predicted, parts):
    """Sets of points, one part at a time."""
    result = []
    for part in parts:
        true = {i for i, value in enumerate(truth) if value == part}
        said = {i for i, value in enumerate(predicted) if value == part}
        result.append(1.0 if not true | said else len(true & said) / len(true | said))
    return result


def array(*values):
    return np.array(values, np.int64)


@pytest.mark.parametrize("seed", range(20))
def test_part_ious_are_those_of_sets(seed):
    rng = np.random.default_rng(seed)
    parts = sorted(rng.choice(12, rng.integers(1, 6), replace=False).tolist())
    truth = rng.choice(parts, rng.integers(1, 40))
    predicted = rng.integers(0, 14, len(truth))  # of other categories' parts too
    np.testing.assert_allclose(
        part_ious(truth, predicted, parts=parts), slow(truth, predicted, parts), rtol=0, atol=1e-15
    )


@pytest.mark.parametrize(
    ("truth", "predicted", "parts", "expected"),
    [
        (array(3, 3, 4, 4), array(3, 3, 4, 4), [3, 4], [1, 1]),
        (array(3, 3, 4, 4), array(3, 3, 3, 3), [3, 4], [1 / 2, 0]),  # a part that is never predicted
        (array(3, 3), array(3, 3), [3, 4], [1, 1]),  # a part absent from both
        (array(3, 3), array(3, 4), [3, 4], [1 / 2, 0]),  # a part that is predicted and not there
        (array(3), array(3), [3], [1]),  # one point
        (array(3), array(4), [3, 4], [0, 0]),
        (array(3, 3, 4), array(9, 9, 9), [3, 4], [0, 0]),  # nothing predicted of the category
        (array(9, 9, 3), array(3, 3, 3), [3, 4], [1 / 3, 1]),  # true parts of another category
        (array(), array(), [3, 4], [1, 1]),  # no point at all
        (array(5, 6, 7, 7, 7, 7), array(5, 7, 7, 7, 6, 5), [5, 6, 7], [1 / 2, 0, 2 / 5]),
    ],
)
def test_part_ious_by_hand(truth, predicted, parts, expected):
    assert part_ious(truth, predicted, parts=parts).tolist() == expected


def test_instance_and_class_means_weigh_differently():
    """Three objects of category 0 (IoU 1, 1/4, 1) and one of category 2 (IoU 0); there is none of category 1."""
    truth = np.array([[0, 0, 1, 1], [0, 0, 0, 1], [0, 1, 1, 1], [4, 4, 4, 4]])
    predicted = np.array([[0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 1, 1], [3, 3, 3, 3]])
    ious = object_ious(truth, predicted, labels=array(0, 0, 0, 2), category_parts=[[0, 1], [2], [3, 4]])
    second = (1 / 4 + 0) / 2
    np.testing.assert_allclose(ious.of_objects, [1, second, 1, 0])
    assert ious.instance == pytest.approx((2 + second) / 4)
    assert ious.by_class == pytest.approx((2 + second) / 3 / 2)
    assert set(ious.by_category) == {0, 2}
    np.testing.assert_allclose(ious.by_part(0), [(1 + 1 / 4 + 1) / 3, 2 / 3])


def test_the_most_likely_part_is_among_those_allowed():
    logits = np.array([[[5.0, 1.0, 2.0, 9.0], [-7.0, -9.0, -8.0, 3.0]]], np.float32)
    allowed = allowed_parts(array(1), [[0, 3], [1, 2]], parts=4)
    assert allowed.tolist() == [[False, True, True, False]]
    assert most_likely(logits, allowed).tolist() == [[2, 2]]
    assert most_likely(logits).tolist() == [[3, 3]]
    assert most_likely(np.zeros((1, 1, 4), np.float32), allowed).tolist() == [[1]]
