"""Accuracy and calibration of a classifier on labelled objects, from any backend."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_folder
from crosspoint.core.plots import require_plots
from crosspoint.core.printable import printable
from crosspoint.core.results import OPTIONAL, Result
from crosspoint.data.frames import ASSUMED, Frame, common_frame
from crosspoint.data.labelled import LabelledData, find_labelled
from crosspoint.eval.features import ModelInfo, describe_model
from crosspoint.eval.metrics.calibration import CalibrationBin, calibration_curve, calibration_error
from crosspoint.eval.metrics.statistics import Paired, confusion, paired, wilson
from crosspoint.runtime.classifier import ClassifierInfo, Predictions
from crosspoint.runtime.jobs.batches import Skipped
from crosspoint.runtime.jobs.predict import ScoredSources, require_classifier, score_sources
from crosspoint.runtime.jobs.request import make_request, open_model, points_of
from crosspoint.runtime.options import Reading, RunOn, Sampling

PICTURES = ("confusion.png", "calibration.png")
BATCH = 32


@dataclass(frozen=True)
class ClassRecall:
    """Accuracy on the objects of one class.

    Attributes:
        name: Name of the class.
        objects: Number of objects; 0 for a class without objects in the data.
        accuracy: Share of correct predictions; None without objects.
        interval: 95 % interval (Wilson); None without objects.
    """

    name: str
    objects: int
    accuracy: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class UnknownShares:
    """Shares of objects that the threshold makes unknown.

    Attributes:
        known_refused: Share of unknown ones among the objects of the classifier's classes.
        accuracy_of_rest: Accuracy on the objects that are not unknown; None if all are.
        strangers: Number of objects whose label is not a class of the classifier.
        strangers_refused: Share of unknown ones among them; None without strangers.
    """

    known_refused: float
    accuracy_of_rest: float | None
    strangers: int
    strangers_refused: float | None


@dataclass(frozen=True)
class ComparedClassifier:
    """The other classifier, and the comparison of both on the same objects."""

    model: ModelInfo
    paired: Paired


@dataclass(frozen=True)
class ClassifyResult(Result):
    """Accuracy and calibration of a classifier on labelled objects.

    Attributes:
        model: The classifier.
        data: Folder of the objects.
        points: Points per cloud; None: all.
        draws: Draws of points from each object, whose probabilities are averaged.
        seed: Random seed of the points.
        objects: Number of objects of the classifier's classes.
        accuracy: Share of correct predictions; unknown objects count with their most probable class.
        interval: 95 % interval (Wilson).
        classes: Accuracy of each class.
        confusion: Counts; rows are true classes, columns predicted ones.
        calibration: Largest probability and accuracy, in ten bins.
        calibration_error: Expected calibration error.
        unknown: Shares of unknown objects.
        skipped: Inputs that were left out.
        seconds: Run time.
        against: Comparison with another classifier; None if none was given.
        frame: In which the objects are stored; what was classified is y-up.
    """

    schema: ClassVar[str] = "crosspoint.classify/1"

    model: ModelInfo
    data: str
    points: int | None
    draws: int
    seed: int
    objects: int
    accuracy: float
    interval: tuple[float, float]
    classes: tuple[ClassRecall, ...]
    confusion: list[list[int]] = field(repr=False)
    calibration: tuple[CalibrationBin, ...] = field(repr=False)
    calibration_error: float
    unknown: UnknownShares
    skipped: tuple[Skipped, ...]
    seconds: float
    against: ComparedClassifier | None = field(default=None, metadata=OPTIONAL)
    frame: Frame | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class _Measured:
    """Predictions for the objects of the classifier's classes, and for strangers."""

    model: ModelInfo
    points: int | None
    classifier: ClassifierInfo
    names: list[str]
    truth: NDArray[np.int64]
    known: Predictions
    strangers: Predictions
    skipped: tuple[Skipped, ...]
    frame: Frame


def classify(
    model: Path,
    data: Path,
    *,
    labels: Path | None = None,
    sampling: Sampling = Sampling(),
    run_on: RunOn = RunOn(),
    against: Path | None = None,
    out: Path | None = None,
    reading: Reading = Reading(),
) -> ClassifyResult:
    """Measure a classifier on labelled objects.

    Args:
        model: A classifier of `crosspoint fit`, or an export of one.
        data: A folder whose sub-folders are classes, a folder for which `labels` has the classes, or a data set, of
            which the test part is used. Objects of classes that the classifier does not know are strangers.
        labels: CSV file with the columns `name` and `label`.
        sampling: Points per cloud, by default as fitted; the random seed; the number of draws of points from each
            object, whose probabilities are averaged; and the axis that points up in the objects.
        run_on: Device and backend of the classifier.
        against: Another classifier of the same classes, on the backend of its file type; predictions are compared.
        out: Folder for the pictures `confusion.png` and `calibration.png`.
        reading: How files are found and read.

    Raises:
        InputError: A model is not a classifier, or data or labels cannot be used.
        MissingDependency: Pictures were asked for, and matplotlib is not installed.
    """
    start = time.perf_counter()
    if out is not None:
        check_folder(out, files=PICTURES, inputs=[data], within=True)
        require_plots()
    labelled = find_labelled(data, labels, split="test")
    own = _measure(model, labelled, sampling, run_on, reading)
    other = None
    if against is not None:
        other = _compare(own, _measure(against, labelled, sampling, RunOn(run_on.device, trust=run_on.trust), reading))
    scores = own.known.scores.astype(np.float64)
    right = scores.argmax(axis=1) == own.truth
    result = ClassifyResult(
        model=own.model,
        data=str(data),
        points=own.points,
        draws=sampling.draws,
        seed=sampling.seed,
        objects=len(own.names),
        accuracy=float(right.mean()),
        interval=wilson(int(right.sum()), len(right)),
        classes=tuple(_recall(name, right[own.truth == i]) for i, name in enumerate(own.classifier.classes)),
        confusion=confusion(own.truth, scores.argmax(axis=1), classes=len(own.classifier.classes)).tolist(),
        calibration=calibration_curve(scores, own.truth),
        calibration_error=calibration_error(scores, own.truth),
        unknown=_unknown(own, right),
        against=other,
        skipped=own.skipped,
        seconds=time.perf_counter() - start,
        frame=own.frame,
    )
    if out is not None:
        _draw(result, out)
    return result


def _measure(model: Path, data: LabelledData, sampling: Sampling, run_on: RunOn, reading: Reading) -> _Measured:
    request = make_request(model, [data.path], sampling=sampling, batch=BATCH, run_on=run_on, reading=reading)
    with open_model(request) as encoder:
        classifier = require_classifier(encoder)
        count, at_most = points_of(encoder.specification, request)
        sources = data.sources(
            count,
            seed=sampling.seed,
            at_most=at_most,
            draws=sampling.draws,
            reading=reading,
            up=sampling.up,
        )
        if not sources:
            raise InputError(
                f"{data.path} has no labelled objects; give a folder whose sub-folders are classes, or --labels"
            )
        scored = score_sources(encoder, sources, batch=BATCH, readers=reading.readers)
        described = describe_model(encoder)
    measured = _divide(scored, data, classifier, described, count)
    return replace(measured, frame=common_frame(source.frame for source in sources))


def _divide(
    scored: ScoredSources, data: LabelledData, classifier: ClassifierInfo, model: ModelInfo, points: int | None
) -> _Measured:
    """Split into objects of the classifier's classes and strangers."""
    numbers = {name: i for i, name in enumerate(classifier.classes)}
    labels = [data.label_of_cloud(name) for name in scored.names]
    truth = np.array([numbers.get(label, -1) for label in labels], np.int64)
    known, found = truth >= 0, scored.predictions
    if not known.any():
        raise InputError(
            f"{data.path} has no objects of the classifier's classes ({printable(', '.join(classifier.classes))}); "
            "name its sub-folders, or the labels, after them"
        )
    return _Measured(
        model=model,
        points=points,
        classifier=classifier,
        names=[name for name, own in zip(scored.names, known, strict=True) if own],
        truth=truth[known],
        known=Predictions(classifier, found.scores[known], found.novelty[known]),
        strangers=Predictions(classifier, found.scores[~known], found.novelty[~known]),
        skipped=scored.skipped,
        frame=ASSUMED,
    )


def _compare(own: _Measured, other: _Measured) -> ComparedClassifier:
    """Predictions of both; the other is the reference."""
    if other.classifier.classes != own.classifier.classes or other.names != own.names:
        raise InputError(
            f"{other.model.path} and {own.model.path} do not have the same classes; compare classifiers that do"
        )
    first, second = (entry.known.scores.argmax(axis=1) for entry in (other, own))
    return ComparedClassifier(other.model, paired(own.truth, first, second=second))


def _recall(name: str, right: NDArray[np.bool_]) -> ClassRecall:
    if not len(right):
        return ClassRecall(name, 0, None, None)
    return ClassRecall(name, len(right), float(right.mean()), wilson(int(right.sum()), len(right)))


def _unknown(own: _Measured, right: NDArray[np.bool_]) -> UnknownShares:
    refused, strangers = own.known.unknown, own.strangers.unknown
    return UnknownShares(
        known_refused=float(refused.mean()),
        accuracy_of_rest=None if refused.all() else float(right[~refused].mean()),
        strangers=len(strangers),
        strangers_refused=float(strangers.mean()) if len(strangers) else None,
    )


def _draw(result: ClassifyResult, out: Path) -> None:
    from crosspoint.eval.figures import draw_calibration, draw_confusion

    Path(out).mkdir(parents=True, exist_ok=True)
    names = [entry.name for entry in result.classes]
    title = f"{Path(result.model.path).parent.name}: {result.accuracy:.1%} of {result.objects} objects"
    draw_confusion(np.array(result.confusion), names, title=title, path=Path(out) / PICTURES[0])
    title = f"Expected calibration error {result.calibration_error:.1%}, {result.objects} objects"
    draw_calibration(result.calibration, title, path=Path(out) / PICTURES[1])
