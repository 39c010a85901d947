"""Compares the instance mIoU of two part segmenters on the same labelled clouds.

At each point the most likely part of the object's own category is taken: the rule `clean` of
`crosspoint.eval.partseg`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.data.frames import Frame, Up, find_frame
from crosspoint.data.points import normalise
from crosspoint.data.sets.datasets import Taxonomy, load_parts
from crosspoint.data.splits import balanced
from crosspoint.eval.metrics.miou import allowed_parts, most_likely, object_ious
from crosspoint.eval.metrics.statistics import mean_interval
from crosspoint.parity.task import PartTask
from crosspoint.runtime.encoder import Encoder

BATCH = 8  # clouds; with 2048 points and 40 neighbours each, the trained network needs about a gigabyte
Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
Segment = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class PartSample:
    """Test clouds with labelled points.

    Attributes:
        points: `(n, N, 3)`, normalised.
        labels: `(n,)`, categories.
        parts: `(n, N)`, true part numbers.
        taxonomy: Names of categories and parts.
        source: What was read, for the manifest.
        frame: In which it is stored; `points` are y-up.
    """

    points: Floats
    labels: Labels
    parts: Labels
    taxonomy: Taxonomy
    source: str
    frame: Frame


def verification_parts(
    folder: Path,
    points: int,
    *,
    limit: int | None,
    config: Mapping[str, int | str],
    seed: int = 0,
    up: Up | None = None,
) -> PartSample:
    """The test split of a data set with the segmenter's categories and parts.

    Args:
        folder: A data set in ShapeNetPart's format.
        points: Points per cloud; the first ones are taken.
        limit: Largest number of clouds, balanced over the categories; None: all.
        config: Description of the segmenter.
        seed: Random seed of the choice.
        up: The axis that points up in the files; None for y, as in the published set.

    Raises:
        InputError: It cannot be read, is of another format, or has other categories or parts than the segmenter.
    """
    if not folder.exists():
        raise InputError(f"{folder} does not exist; give --verify-data a dataset with labelled parts")
    frame = find_frame(up, "y", what=f"the clouds of {folder}")
    whole = load_parts(folder, points, up=frame.up)
    found = len(whole.taxonomy.categories), len(whole.taxonomy.parts)
    if found != (config["categories"], config["parts"]):
        raise InputError(
            f"the segmenter has {config['categories']} categories and {config['parts']} parts, but --verify-data "
            f"{folder} has {found[0]} and {found[1]}; give the data that it was trained on"
        )
    count = len(whole.test.labels)
    rows = balanced(whole.test.labels, count if limit is None else limit, seed=seed)
    clouds = normalise(whole.test.points[rows])
    source = f"{whole.name}, test split, first {points} points"
    return PartSample(clouds, whole.test.labels[rows], whole.test.parts[rows], whole.taxonomy, source, frame)


class PartAccuracy:
    """Predicted parts and IoUs of the trained network, computed once.

    Args:
        network: The trained segmenter.
        sample: From `verification_parts`.
    """

    measure = "instance mIoU"

    def __init__(self, network: nn.Module, sample: PartSample) -> None:
        self._sample = sample
        numbers = sample.taxonomy.category_parts
        self._allowed = allowed_parts(sample.labels, numbers, parts=len(sample.taxonomy.parts))  # (n, parts)
        self._category = np.eye(len(numbers), dtype=np.float32)[sample.labels]  # (n, categories)

        def segment(points: Floats, category: Floats) -> Floats:
            with torch.inference_mode():
                logits: Floats = network(torch.from_numpy(points), torch.from_numpy(category)).numpy()
            return logits

        self._predicted = self._labels(segment, "Segmenting with the trained network")
        self._ious = self._of_objects(self._predicted)

    def compare(self, encoder: Encoder) -> PartTask:
        """Both mIoUs, the 95 % interval of their difference over objects, and the share of points with equal labels."""
        predicted = self._labels(encoder.segment, "Measuring mIoU")
        ious = self._of_objects(predicted)
        equal = np.mean(predicted == self._predicted, axis=1)  # (n,)
        difference = ious - self._ious
        return PartTask(
            measure=self.measure,
            source=self._sample.source,
            objects=len(ious),
            points=predicted.shape[1],
            reference_miou=float(self._ious.mean()),
            candidate_miou=float(ious.mean()),
            difference=float(difference.mean()),
            interval=mean_interval(difference),
            largest_of_an_object=float(np.abs(difference).max()),
            equal_labels=float(equal.mean()),
            least_equal=float(equal.min()),
            frame=self._sample.frame,
        )

    def _labels(self, segment: Segment, doing: str) -> Labels:
        """The most likely part of the object's own category at each point: `(n, N)`."""
        labels = []
        for start in track(range(0, len(self._category), BATCH), doing):
            rows = slice(start, start + BATCH)
            labels.append(most_likely(segment(self._sample.points[rows], self._category[rows]), self._allowed[rows]))
        return np.concatenate(labels)

    def _of_objects(self, predicted: Labels) -> NDArray[np.float64]:
        """IoUs `(n,)`."""
        sample = self._sample
        return object_ious(
            sample.parts, predicted, labels=sample.labels, category_parts=sample.taxonomy.category_parts
        ).of_objects
