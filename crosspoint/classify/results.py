"""What `crosspoint fit` reports of a classifier."""

from dataclasses import dataclass, field
from typing import ClassVar

from crosspoint.classify.suspects import SuspectLabel
from crosspoint.core.results import OPTIONAL, Result
from crosspoint.data.frames import Frame
from crosspoint.runtime.jobs.batches import Skipped
from crosspoint.runtime.specification import Specification


@dataclass(frozen=True)
class Suggestion:
    """An unlabelled object whose label would help.

    Attributes:
        name: Name of the object.
        label: Its most probable class.
        probability: Probability of that class.
        entropy: Of its probabilities, relative to that of equal ones: 0 is certain, 1 knows nothing.
    """

    name: str
    label: str
    probability: float
    entropy: float


@dataclass(frozen=True)
class TriedHead:
    """A head and a strength in cross-validation.

    Attributes:
        head: `"nearest"`, `"logistic"` or `"svm"`.
        strength: As of `ClassifierInfo`.
        accuracy: Mean over objects and repeats.
    """

    head: str
    strength: float
    accuracy: float


@dataclass(frozen=True)
class ClassExpectation:
    """Expected accuracy for one class.

    Attributes:
        name: Name of the class.
        objects: Number of labelled objects.
        accuracy: Accuracy in cross-validation.
        interval: 95 % interval (Wilson).
    """

    name: str
    objects: int
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Calibrated:
    """Calibration of the probabilities, measured on objects that the heads were not fitted to.

    Attributes:
        temperature: Decisions are divided by it before the softmax.
        error_before: Expected calibration error without it.
        error_after: The same with it, on objects that it was not fitted to.
    """

    temperature: float
    error_before: float
    error_after: float


@dataclass(frozen=True)
class UnknownThreshold:
    """The threshold above which an object is unknown.

    Attributes:
        novelty: An object of a larger novelty is unknown.
        refused: Share of unknown ones among the labelled objects, in cross-validation.
        asked: Largest share allowed.
    """

    novelty: float
    refused: float
    asked: float


@dataclass(frozen=True)
class FitResult(Result):
    """A classifier and its expected accuracy.

    Attributes:
        model: The encoder that ran.
        data: The labelled data.
        points: Points per cloud; None: all.
        draws: Draws of points from each object, whose embeddings are averaged.
        turns: Azimuths at which each object was embedded; 1: as it is.
        views: Single views of each object that were added; 0: none.
        seed: Random seed of points and folds.
        objects: Number of labelled objects that were used.
        classes: Expected accuracy of each class.
        head: The chosen head.
        strength: Its strength, as in `ClassifierInfo`.
        accuracy: Expected accuracy on new objects of these classes, corrected for the choice of the head.
        interval: 95 % interval of it.
        tried: Accuracy of each head and strength in cross-validation.
        calibration: Calibration of the probabilities.
        unknown: Threshold of unknown objects.
        suspects: Labels that look wrong, the most certain first.
        copies: Objects left out because another one of the same class has the same content.
        skipped: Files that could not be read.
        out: Folder of the bundle.
        seconds: Run time.
        frame: In which the objects are stored; None of embeddings that do not say. They were turned to y-up.
        suggestions: Unlabelled objects whose labels would help most; None if not asked for.
    """

    schema: ClassVar[str] = "crosspoint.fit/1"

    model: Specification
    data: str
    points: int | None
    draws: int
    turns: int
    views: int
    seed: int
    objects: int
    classes: tuple[ClassExpectation, ...]
    head: str
    strength: float
    accuracy: float
    interval: tuple[float, float]
    tried: tuple[TriedHead, ...]
    calibration: Calibrated
    unknown: UnknownThreshold
    suspects: tuple[SuspectLabel, ...]
    copies: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    out: str
    seconds: float
    frame: Frame | None = field(default=None, metadata=OPTIONAL)
    suggestions: tuple[Suggestion, ...] | None = field(default=None, metadata=OPTIONAL)
