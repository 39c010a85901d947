"""The limits for exported models, each with the measurement it comes from.

Without torch, because a device that compares an engine needs them too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from crosspoint.core.errors import CheckFailed
from crosspoint.parity.task import ScoreTask, Task


@dataclass(frozen=True)
class Limits:
    """Limits of a precision.

    Attributes:
        relative_l2: Largest relative L2 error of a cloud's output, on equal neighbour graphs.
        overlap: Least share of right neighbours of an EdgeConv on a cloud.
        unseen_graphs: Like `relative_l2`, if the candidate's graphs are not visible: at a near tie it may have chosen
            the other neighbour.
        channel: Largest error that a layer may add to a channel, relative to the root mean square of its channels.
        max_drop: Default of the largest loss of accuracy or mIoU, in percentage points.
        unnormalised: Whether the limits also apply to clouds that are not normalised.
        score: Error of a classifier's score, a number between 0 and 1, on the clouds that it was fitted to. A choice,
            not yet measured.
    """

    relative_l2: float
    overlap: float
    unseen_graphs: float
    channel: float
    max_drop: float
    unnormalised: bool
    score: float

    @property
    def novelty(self) -> float:
        """Error of a classifier's novelty, in standard deviations of known objects.

        That of 1 − the largest probability is about 0.2, so an error of a score counts five times here.
        """
        return 5 * self.score


# Measured with the released DGCNN | PointNet, version 4 | 2: relative L2 and right neighbours on five clouds of
# ModelNet40 with 512 points, accuracy on 501 of its objects (`benchmarks/precision.py`); channels on ordinary and
# normalised hostile clouds of 128 points, with every layer lowered.
LIMITS: Mapping[str, Limits] = {
    # relative L2 3.4e-7 | 1.4e-7, and 3e-5 on own graphs without near ties, so that 1e-5 would fail by chance; right
    # neighbours 1.0000; near ties move a trained DGCNN by up to 1e-3, an untrained one by up to 2.5e-3; channels 3.1e-6
    "fp32": Limits(1e-4, 0.99, 1e-2, 1e-4, 0.2, unnormalised=True, score=0.02),
    # relative L2 4.2e-4 | 4.6e-4, right neighbours 0.9992, accuracy +0.20 | 0.00 points, channels 5.1e-3 | 2.5e-3
    "fp16": Limits(1e-2, 0.99, 5e-2, 1e-2, 0.2, unnormalised=False, score=0.05),
    # relative L2 2.8e-3 | 3.6e-3, right neighbours 1.0000, accuracy +0.20 | +0.20 points, channels 4.2e-2 | 1.7e-2
    "bf16": Limits(5e-2, 0.99, 1e-1, 6e-2, 0.2, unnormalised=False, score=0.15),
    # relative L2 3.6e-2 | 1.1e-2, right neighbours 0.8568, accuracy +0.40 | +0.40 points, channels 0.26 | 0.074; these
    # limits catch blunders: whether int8 is good enough is a question about accuracy
    "int8": Limits(0.25, 0.5, 0.3, 1.0, 0.5, unnormalised=False, score=0.5),
}
"""By precision. No engine below fp32 has been run: its limits on unseen graphs are those of equal graphs, with room."""

NEAR_TIES = 0.25
"""Largest share of the clouds that near ties may explain: 4.7 % of 1,969 clouds had some in an untrained DGCNN."""
SIGNIFICANT = 0.05
"""An fp32 model with explained near ties fails by a loss of accuracy only if it is less likely than this by chance."""


class Comparison(Protocol):
    """Accuracy or mIoU of a candidate and of its reference on the same objects."""

    @property
    def difference(self) -> float:
        """The candidate's minus the reference's."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the difference; None where there are too few objects for one."""


def loss(task: Comparison, by_interval: bool = False) -> float:
    """Percentage points of accuracy or mIoU that a candidate loses; 0 if it gains.

    Args:
        task: Both compared.
        by_interval: Use the lower end of the interval instead of the difference, where there is an interval.
    """
    difference = task.interval[0] if by_interval and task.interval is not None else task.difference
    return max(0.0, -100 * float(difference))


def holds(task: Comparison, max_drop: float, *, by_interval: bool = False) -> bool:
    """Whether a candidate loses no more than `max_drop` percentage points. Every check of accuracy uses this rule."""
    return loss(task, by_interval) <= max_drop + 1e-9


def loses(task: Comparison, max_drop: float) -> bool:
    """Whether a candidate loses more than `max_drop` percentage points, and more than chance explains.

    With few objects a loss is often one or two of them. It counts if the 95 % interval of the difference excludes 0, or
    there is no interval. int8's search uses this rule; what is exported has to keep `holds`.
    """
    return not holds(task, max_drop) and (task.interval is None or task.interval[1] < 0)


def scores_hold(task: Task) -> bool:
    """Whether a classifier's scores and novelty are as near to the trained network's as its precision has to be."""
    if not isinstance(task, ScoreTask):
        return True
    return task.largest_error <= task.score_limit and task.largest_novelty_error <= task.novelty_limit


def require_scores(candidate: str, task: Task) -> None:
    """Raise CheckFailed if scores or novelty are farther from the trained network's than the precision allows."""
    if not scores_hold(task):
        assert isinstance(task, ScoreTask)
        raise CheckFailed(
            f"{candidate} differs from the trained classifier: a score by {task.largest_error:.3f} "
            f"(limit {task.score_limit:g}), the novelty by {task.largest_novelty_error:.3f} (limit "
            f"{task.novelty_limit:g}){task.detail}; nothing was written"
        )


def require_accuracy(candidate: str, task: Task, *, max_drop: float) -> None:
    """Raise CheckFailed if a candidate loses more than `max_drop` points of accuracy or mIoU."""
    if holds(task, max_drop):
        return
    before, after = task.scores
    raise CheckFailed(
        f"{candidate} loses {loss(task):.2f} points of {task.measure}, {before:.2%} to {after:.2%} "
        f"of {task.objects} objects{task.detail} (limit {max_drop:g}); nothing was written"
    )
