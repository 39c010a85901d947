from dataclasses import dataclass, replace

import pytest

from crosspoint.core.errors import CheckFailed
from crosspoint.eval.metrics.statistics import Paired
from crosspoint.parity.limits import holds, loses, loss, require_accuracy
from crosspoint.parity.task import PartTask, SvmTask

SVM = SvmTask("SVM accuracy", "clouds", 50, 0.1, Paired(200, 0.9, 0.87, 0.96, 7, 1, 0.07, -0.03, interval=(-0.06, 0.0)))
PARTS = PartTask("instance mIoU", "clouds", 1, 64, 0.8, 0.78, -0.02, None, 0.02, 0.95, 0.95)


@dataclass(frozen=True)
class Compared:
    difference: float
    interval: tuple[float, float] | None = None


@pytest.mark.parametrize(
    ("difference", "limit", "expected"), [(0.1, 0, True), (-0.002, 0.2, True), (-0.003, 0.2, False)]
)
def test_a_loss_is_in_percentage_points(difference, limit, expected):
    assert holds(Compared(difference), limit) is expected


@pytest.mark.parametrize(
    ("difference", "interval", "expected"),
    [
        (-0.01, (-0.02, -0.001), True),
        (-0.01, (-0.03, 0.001), False),  # perhaps chance
        (-0.004, (-0.006, -0.002), False),  # real, and allowed
        (-0.01, None, True),
    ],
)
def test_a_search_counts_losses_that_are_too_large_and_not_chance(difference, interval, expected):
    assert loses(Compared(difference, interval), 0.5) is expected


def test_the_message_names_what_was_lost():
    with pytest.raises(CheckFailed) as caught:
        require_accuracy("a.onnx", SVM, max_drop=0.2)
    assert str(caught.value) == (
        "a.onnx loses 3.00 points of SVM accuracy, 90.00% to 87.00% of 200 objects, one of which is 0.50 points; "
        "95 % interval -6.00 to 0.00 (limit 0.2); nothing was written"
    )
    with pytest.raises(CheckFailed) as caught:
        require_accuracy("a.onnx", PARTS, max_drop=0.2)
    assert str(caught.value) == (
        "a.onnx loses 2.00 points of instance mIoU, 80.00% to 78.00% of 1 objects (95.00% of the labels are equal) "
        "(limit 0.2); nothing was written"
    )
    with pytest.raises(CheckFailed, match=r"labels are equal; 95 % interval -3\.00 to -1\.00\) \(limit 0\)"):
        require_accuracy("a.onnx", replace(PARTS, interval=(-0.03, -0.01)), max_drop=0)


def test_both_sides_of_a_task():
    assert (SVM.scores, PARTS.scores) == ((0.9, 0.87), (0.8, 0.78))
    require_accuracy("a.onnx", SVM, max_drop=3.0)


def test_what_is_lost_is_never_negative_and_at_worst_the_low_end_of_the_interval():
    task = Compared(0.01, (-0.02, 0.04))
    assert (loss(task), loss(task, by_interval=True)) == (0.0, 2.0)
    assert holds(task, 0.0)
    assert not holds(task, 1.9, by_interval=True)
    assert holds(task, 2.0, by_interval=True)
