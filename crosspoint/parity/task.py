"""What a candidate's accuracy or mIoU is beside the trained network's, on the same labelled clouds."""

from dataclasses import dataclass, field

from crosspoint.core.results import FLAT, OPTIONAL, key
from crosspoint.data.frames import Frame
from crosspoint.eval.metrics.statistics import Paired


@dataclass(frozen=True)
class SvmTask:
    """Accuracies of a linear SVM on embeddings.

    Attributes:
        measure: What is compared, in words.
        source: The labelled clouds.
        training_clouds: Clouds that each SVM is fitted to.
        c: The SVMs' C.
        paired: Both accuracies, and the comparison of predictions.
        frame: In which the clouds are stored; None of an earlier version, which turned nothing.
    """

    measure: str
    source: str
    training_clouds: int
    c: float = field(metadata=key("C"))
    paired: Paired = field(metadata=FLAT)
    frame: Frame | None = field(default=None, metadata=OPTIONAL)

    @property
    def objects(self) -> int:
        """Clouds that both are measured on."""
        return self.paired.objects

    @property
    def scores(self) -> tuple[float, float]:
        """The trained network's accuracy and the candidate's."""
        return self.paired.reference_accuracy, self.paired.candidate_accuracy

    @property
    def difference(self) -> float:
        """The candidate's accuracy minus the trained network's."""
        return self.paired.difference

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % interval of the difference."""
        return self.paired.interval

    @property
    def detail(self) -> str:
        """What a message adds to the numbers."""
        one = f", one of which is {100 / self.objects:.2f} points"
        if self.interval is None:
            return one
        low, high = self.interval
        return f"{one}; 95 % interval {100 * low:.2f} to {100 * high:.2f}"


@dataclass(frozen=True)
class PartTask:
    """Instance mIoU of part segmenters.

    Attributes:
        measure: What is compared, in words.
        source: The labelled clouds.
        objects: Clouds that both are measured on.
        points: Points of a cloud.
        reference_miou: Of the trained network.
        candidate_miou: Of the candidate.
        difference: The candidate's minus the trained network's.
        interval: 95 % interval of the difference over objects; None of a single one.
        largest_of_an_object: Largest change of an object's IoU, up or down.
        equal_labels: Share of the points that both label alike.
        least_equal: The same of the object where it is least.
        frame: In which the clouds are stored; None of an earlier version, which turned nothing.
    """

    measure: str
    source: str
    objects: int
    points: int
    reference_miou: float
    candidate_miou: float
    difference: float
    interval: tuple[float, float] | None
    largest_of_an_object: float
    equal_labels: float
    least_equal: float
    frame: Frame | None = field(default=None, metadata=OPTIONAL)

    @property
    def scores(self) -> tuple[float, float]:
        """The trained network's mIoU and the candidate's."""
        return self.reference_miou, self.candidate_miou

    @property
    def detail(self) -> str:
        """What a message adds to the numbers."""
        detail = f" ({self.equal_labels:.2%} of the labels are equal"
        if self.interval is None:
            return f"{detail})"
        low, high = self.interval
        return f"{detail}; 95 % interval {100 * low:.2f} to {100 * high:.2f})"


@dataclass(frozen=True)
class LabelChange:
    """A cloud that a candidate gives another label than the trained network.

    Attributes:
        cloud: Its number.
        reference: Class of the trained network.
        candidate: Class of the candidate.
        margin: Difference of the two largest scores of the trained network.
    """

    cloud: int
    reference: str
    candidate: str
    margin: float


@dataclass(frozen=True)
class UnknownChange:
    """A cloud that is unknown to the trained network or to a candidate, but not to both.

    Attributes:
        cloud: Its number.
        candidate: Whether it is unknown to the candidate.
        margin: Distance of the trained network's novelty to the threshold.
    """

    cloud: int
    candidate: bool
    margin: float


@dataclass(frozen=True)
class ScoreTask:
    """Labels, scores and novelty of classifiers.

    Attributes:
        measure: What is compared, in words.
        source: The labelled clouds.
        objects: Clouds that both are measured on.
        reference_accuracy: Share that the trained network and the head in float64 have right.
        candidate_accuracy: Likewise of the candidate.
        difference: The candidate's accuracy minus the trained network's.
        largest_error: Of all scores, the candidate's minus the trained network's, absolute.
        score_limit: Largest error allowed.
        changed: Clouds whose labels differ.
        largest_novelty_error: Of all novelties, absolute, in standard deviations of known objects.
        novelty_limit: Largest error allowed.
        changed_unknown: Clouds that only one of both calls unknown.
    """

    measure: str
    source: str
    objects: int
    reference_accuracy: float
    candidate_accuracy: float
    difference: float
    largest_error: float
    score_limit: float
    changed: tuple[LabelChange, ...]
    largest_novelty_error: float
    novelty_limit: float
    changed_unknown: tuple[UnknownChange, ...]

    @property
    def scores(self) -> tuple[float, float]:
        """The trained network's accuracy and the candidate's."""
        return self.reference_accuracy, self.candidate_accuracy

    @property
    def interval(self) -> tuple[float, float] | None:
        """None: the clouds are those that the head was fitted to, no sample of new ones."""
        return None

    @property
    def equal_labels(self) -> float:
        """Share of the clouds that both give the same label."""
        return 1 - len(self.changed) / self.objects

    @property
    def detail(self) -> str:
        """What a message adds to the numbers."""
        labels = [
            f"; cloud {change.cloud}: {change.candidate} instead of {change.reference} (margin {change.margin:.3f})"
            for change in self.changed[:3]
        ]
        unknown = [
            f"; cloud {change.cloud}: {'unknown' if change.candidate else 'known'} (margin {change.margin:.3f})"
            for change in self.changed_unknown[:3]
        ]
        return "".join([*labels, *unknown])


Task = SvmTask | PartTask | ScoreTask


@dataclass(frozen=True)
class TaskCheck:
    """A task of an export: `parity.task` of a manifest.

    Attributes:
        candidate: What ran the exported graph.
        task: What was measured.
        max_drop: Percentage points of accuracy or mIoU that may be lost.
    """

    candidate: str
    task: Task = field(metadata=FLAT)
    max_drop: float
