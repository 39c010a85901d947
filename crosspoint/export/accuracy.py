"""Task parity of encoders: linear-SVM accuracy of the trained network and of a candidate on the same clouds."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from crosspoint.console import track
from crosspoint.errors import CheckFailed, InputError
from crosspoint.eval import linear
from crosspoint.eval.probes import Probe, real_clouds
from crosspoint.eval.statistics import paired
from crosspoint.runtime.encoder import Encoder

MAX_DROP = {"fp32": 0.2, "fp16": 0.2, "bf16": 0.2, "int8": 0.5}  # percentage points, where the user gives none
BATCH = 32
Floats = NDArray[np.float32]


def verification_clouds(folder: Path, points: int, limit: int | None, seed: int = 0) -> Probe:
    """Labelled clouds, those of the training part first.

    Args:
        folder: A dataset in ModelNet40's, ScanObjectNN's or ShapeNetPart's format.
        points: Of a cloud.
        limit: At most this many clouds, classes in balance; None for all.
        seed: Of the choice, and of the held-out part where there is no test split.

    Raises:
        InputError: It cannot be read, or has too few labelled clouds for an SVM.
    """
    if not folder.exists():
        raise InputError(f"{folder} does not exist; give --verify-data a labelled dataset")
    probe = real_clouds(folder, points, limit, seed)
    if probe.labels is None:
        raise InputError(f"--verify-data {folder} cannot be used for an SVM ({probe.source}); give labelled clouds")
    return probe


class Accuracy:
    """The trained network's side, computed once: C by cross-validation on its features, and its predictions.

    Args:
        network: The trained network.
        probe: From `verification_clouds`.
        seed: Of the folds.
    """

    measure = "SVM accuracy"

    def __init__(self, network: nn.Module, probe: Probe, seed: int = 0) -> None:
        assert probe.labels is not None
        self._probe = probe
        self._train, self._test = slice(0, probe.train), slice(probe.train, None)
        self._labels: NDArray[np.int64] = probe.labels
        features = _embed_network(network, probe.points)
        known = features[self._train], self._labels[self._train]
        products = linear.gram(known[0])
        self._c, _ = linear.choose_c(*known, products, seed)
        self._predicted = linear.fit(*known, self._c, products).predict(features[self._test])

    def compare(self, encoder: Encoder) -> dict[str, Any]:
        """Both accuracies and the paired comparison of the predictions (`crosspoint.eval.statistics.paired`)."""
        clouds = self._probe.points
        starts = track(range(0, len(clouds), BATCH), "Measuring accuracy")
        features = np.concatenate([encoder.embed(clouds[start : start + BATCH]) for start in starts])
        machine = linear.fit(features[self._train], self._labels[self._train], self._c)
        compared = paired(self._labels[self._test], self._predicted, machine.predict(features[self._test]))
        about = {"measure": self.measure, "source": self._probe.source}
        return {**about, "training_clouds": self._probe.train, "C": self._c, **compared}


def _embed_network(network: nn.Module, clouds: Floats) -> Floats:
    starts = track(range(0, len(clouds), BATCH), "Embedding with the trained network")
    with torch.inference_mode():
        pieces = [network(torch.from_numpy(clouds[start : start + BATCH])).numpy() for start in starts]
    return np.concatenate(pieces)


def require_accuracy(candidate: str, task: dict[str, Any], max_drop: float) -> None:
    """Raise CheckFailed if a candidate's accuracy or mIoU is more than `max_drop` points below the network's."""
    if holds(task, max_drop):
        return
    before, after = scores(task)
    if task["measure"] == Accuracy.measure:
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
    name = "accuracy" if task["measure"] == Accuracy.measure else "miou"
    return task[f"reference_{name}"], task[f"candidate_{name}"]


def holds(task: dict[str, Any], max_drop: float) -> bool:
    """Whether a comparison's loss is within `max_drop` percentage points."""
    return bool(-100 * task["difference"] <= max_drop + 1e-9)
