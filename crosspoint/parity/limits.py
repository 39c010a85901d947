"""How much of an accuracy or mIoU an export may lose. Without torch, for whoever prints a manifest."""

from typing import Any

from crosspoint.core.errors import CheckFailed

MAX_DROP = {"fp32": 0.2, "fp16": 0.2, "bf16": 0.2, "int8": 0.5}  # percentage points, where the user gives none


def require_accuracy(candidate: str, task: dict[str, Any], max_drop: float) -> None:
    """Raise CheckFailed if a candidate's accuracy or mIoU is more than `max_drop` points below the network's."""
    if holds(task, max_drop):
        return
    before, after = scores(task)
    if "reference_accuracy" in task:
        detail = f", one of which is {100 / task['objects']:.2f} points"
    else:
        ends = task["interval"]
        detail = f" ({task['equal_labels']:.2%} of the labels are equal"
        detail += f"; 95 % interval {100 * ends[0]:.2f} to {100 * ends[1]:.2f})" if ends else ")"
    raise CheckFailed(
        f"{candidate} loses {-100 * task['difference']:.2f} points of {task['measure']}, {before:.2%} to {after:.2%} "
        f"of {task['objects']} objects{detail} (limit {max_drop:g}); nothing was written"
    )


def scores(task: dict[str, Any]) -> tuple[float, float]:
    """The trained network's and the candidate's accuracy or mIoU."""
    name = "miou" if "reference_miou" in task else "accuracy"
    return task[f"reference_{name}"], task[f"candidate_{name}"]


def holds(task: dict[str, Any], max_drop: float) -> bool:
    """Whether a comparison's loss is within `max_drop` percentage points."""
    return bool(-100 * task["difference"] <= max_drop + 1e-9)
