"""How often a classifier is right on labelled objects, and how far it can be believed, from any backend."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_folder
from crosspoint.core.plots import require_plots
from crosspoint.core.printable import printable
from crosspoint.core.results import OPTIONAL, Result
from crosspoint.data.labelled import LabelledData, find_labelled
from crosspoint.eval.features import ModelInfo, describe_model
from crosspoint.eval.metrics.calibration import CalibrationBin, calibration_curve, calibration_error
from crosspoint.eval.metrics.statistics import Paired, confusion, paired, wilson
from crosspoint.runtime.classifier import ClassifierInfo, Predictions
from crosspoint.runtime.jobs.batches import Skipped
from crosspoint.runtime.jobs.predict import ScoredSources, require_classifier, score_sources
from crosspoint.runtime.jobs.request import make_request, open_model, points_of
from crosspoint.runtime.options import RunOn, Sampling

PICTURES = ("confusion.png", "calibration.png")
BATCH = 32


@dataclass(frozen=True)
class ClassRecall:
    """Accuracy on the objects of one class.

    Attributes:
        name: Of the class.
        objects: How many; none of a class that the data lack.
        accuracy: Share that is right; None without objects.
        interval: Wilson's 95 % interval; None likewise.
    """

    name: str
    objects: int
    accuracy: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class UnknownShares:
    """What the threshold does.

    Attributes:
        known_refused: Share of the objects of the classifier's classes that it calls unknown.
        accuracy_of_rest: Accuracy on those that it does not; None if it refuses all.
        strangers: Objects whose label is none of the classifier's classes.
        strangers_refused: Share of them that it calls unknown; None without strangers.
    """

    known_refused: float
    accuracy_of_rest: float | None
    strangers: int
    strangers_refused: float | None


@dataclass(frozen=True)
class ComparedClassifier:
    """The other classifier, and both compared on the same objects."""

    model: ModelInfo
    paired: Paired


@dataclass(frozen=True)
class ClassifyResult(Result):
    """How good a classifier is on labelled objects.

    Attributes:
        model: That was measured.
        data: Where the objects come from.
        points: Per cloud; None for all.
        draws: Random choices of points whose probabilities are averaged.
        seed: Of the points.
        objects: Of the classifier's classes.
        accuracy: Share of them that is right, unknown ones counted by their best class.
        interval: Wilson's 95 % interval.
        classes: The same of each class.
        confusion: Counts; a row is a true class, a column a predicted one.
        calibration: Largest probability beside accuracy, in ten bins.
        calibration_error: Expected calibration error.
        unknown: What the threshold does.
        skipped: Inputs that were left out.
        seconds: What it took.
        against: Another classifier; None if none was given.
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


@dataclass(frozen=True)
class _Measured:
    """What a classifier says of the objects of its classes, and of strangers."""

    model: ModelInfo
    points: int | None
    classifier: ClassifierInfo
    names: list[str]
    truth: NDArray[np.int64]
    known: Predictions
    strangers: Predictions
    skipped: tuple[Skipped, ...]


def classify(
    model: Path,
    data: Path,
    *,
    labels: Path | None = None,
    sampling: Sampling = Sampling(seeds=1),
    run_on: RunOn = RunOn(),
    against: Path | None = None,
    out: Path | None = None,
) -> ClassifyResult:
    """Measure a classifier on labelled objects.

    Args:
        model: A classifier of `crosspoint fit`, or an export of one.
        data: A folder whose sub-folders are classes, a folder for which `labels` has the classes, or a data set, of
            which the test part is used. Objects of classes that the classifier does not know are strangers.
        labels: CSV file with the columns `name` and `label`.
        sampling: Points per cloud, by default those of the fit; the seed; and as `seeds` the random choices of points
            of each object whose probabilities are averaged.
        run_on: Where the classifier runs.
        against: Another classifier of the same classes, run by what its file is for; predictions are compared.
        out: Folder for the pictures `confusion.png` and `calibration.png`.

    Raises:
        InputError: A model is no classifier, or data or labels cannot be used.
        MissingDependency: Pictures were asked for, and matplotlib is not installed.
    """
    start = time.perf_counter()
    if sampling.seeds < 1:
        raise InputError(f"--draws {sampling.seeds} draws no points; give 1 or more")
    if out is not None:
        check_folder(out, files=PICTURES, inputs=[data], within=True)
        require_plots()
    labelled = find_labelled(data, labels, split="test")
    own = _measure(model, labelled, sampling, run_on)
    other = None
    if against is not None:
        other = _compare(own, _measure(against, labelled, sampling, RunOn(run_on.device, trust=run_on.trust)))
    scores = own.known.scores.astype(np.float64)
    right = scores.argmax(axis=1) == own.truth
    result = ClassifyResult(
        model=own.model,
        data=str(data),
        points=own.points,
        draws=sampling.seeds,
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
    )
    if out is not None:
        _draw(result, out)
    return result


def _measure(model: Path, data: LabelledData, sampling: Sampling, run_on: RunOn) -> _Measured:
    request = make_request(model, [data.path], sampling=sampling, batch=BATCH, run_on=run_on)
    with open_model(request) as encoder:
        classifier = require_classifier(encoder)
        count, at_most = points_of(encoder.specification, request)
        seeds = range(sampling.seed, sampling.seed + sampling.seeds)
        draws = [data.sources(count, seed=seed, at_most=at_most) for seed in seeds]
        if not draws[0]:
            raise InputError(f"{data.path} holds no labelled object; give folders of classes, or --labels")
        scored = score_sources(encoder, draws, batch=BATCH)
        described = describe_model(encoder)
    return _divide(scored, data, classifier, described, count)


def _divide(
    scored: ScoredSources, data: LabelledData, classifier: ClassifierInfo, model: ModelInfo, points: int | None
) -> _Measured:
    """Objects of the classifier's classes, and strangers."""
    numbers = {name: i for i, name in enumerate(classifier.classes)}
    labels = [data.label_of_cloud(name) for name in scored.names]
    truth = np.array([numbers.get(label, -1) for label in labels], np.int64)
    known, scores = truth >= 0, scored.predictions.scores
    if not known.any():
        raise InputError(
            f"{data.path} has no object of the classes of the classifier ({printable(', '.join(classifier.classes))}); "
            "its sub-folders, or labels, need these names"
        )
    return _Measured(
        model=model,
        points=points,
        classifier=classifier,
        names=[name for name, own in zip(scored.names, known, strict=True) if own],
        truth=truth[known],
        known=Predictions(classifier, scores[known]),
        strangers=Predictions(classifier, scores[~known]),
        skipped=scored.skipped,
    )


def _compare(own: _Measured, other: _Measured) -> ComparedClassifier:
    """Predictions of both; the other is the reference."""
    if other.classifier.classes != own.classifier.classes or other.names != own.names:
        raise InputError(f"{other.model.path} does not have the classes of {own.model.path}; give one that has")
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
