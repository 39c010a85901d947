"""`crosspoint fit`: makes a classifier from a few labels, and measures what to expect of it."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.classify.crossvalidation import Candidate, HeldOut, choose, expected_accuracy, hold_out
from crosspoint.classify.heads import HEADS, Labels, fit_head, strengths
from crosspoint.classify.objects import LabelledObjects, embed_labelled, gate_examples, read_embedded
from crosspoint.classify.suspects import SuspectLabel, find_suspects
from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_replaceable
from crosspoint.core.results import OPTIONAL, Result
from crosspoint.data.frames import Frame
from crosspoint.data.labelled import find_labelled
from crosspoint.eval.metrics.calibration import calibration_error, fit_temperature, threshold_of
from crosspoint.eval.metrics.statistics import wilson
from crosspoint.export.bundle import export
from crosspoint.export.engine.engine import check_ours
from crosspoint.export.options import ExportOptions
from crosspoint.export.trained import trained_weights
from crosspoint.runtime.classifier import Classifier, ClassifierInfo, Doubles, LinearHead, softmax
from crosspoint.runtime.encoder import Specification
from crosspoint.runtime.jobs.batches import Skipped
from crosspoint.runtime.options import Reading, RunOn, Sampling
from crosspoint.runtime.released import DEFAULT

DRAWS = 4
MOST_VIEWS = 100
REFUSED = 0.05


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How a classifier is fitted.

    Attributes:
        head: `"auto"`, `"logistic"`, `"svm"` or `"nearest"`.
        refuse: Largest share of known objects that may become unknown.
        views: Number of single views of each object to fit to as well, for clouds from a depth camera; y is up. The
            expected accuracy is then the mean over whole objects and views.
    """

    head: str = "auto"
    refuse: float = REFUSED
    views: int = 0

    def check(self) -> None:
        """Check the values.

        Raises:
            InputError: There is no such head, or a number is out of range.
        """
        if self.head not in ("auto", *HEADS):
            raise InputError(f"there is no head {self.head}; give --head auto, {', '.join(HEADS)}")
        if not 0 <= self.refuse < 1:
            raise InputError(f"--refuse {self.refuse} is not a share; give 0 to less than 1, e.g. 0.05")
        if not 0 <= self.views <= MOST_VIEWS:
            raise InputError(f"--views is {self.views}; give 0 to {MOST_VIEWS}")


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
    """The threshold below which an object is unknown.

    Attributes:
        probability: An object whose largest probability is smaller is unknown.
        refused: Share of unknown ones among the labelled objects, in cross-validation.
        asked: Largest share allowed.
    """

    probability: float
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
    """

    schema: ClassVar[str] = "crosspoint.fit/1"

    model: Specification
    data: str
    points: int | None
    draws: int
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


@dataclass(frozen=True)
class Fitted:
    """A fitted head and the results of cross-validation.

    Attributes:
        head: Fitted to all objects.
        chosen: Its name and strength.
        accuracy: Expected accuracy on new objects.
        interval: 95 % interval of it.
        right: Share of the repeats in which each object is classified correctly `(n,)`.
        tried: All candidates.
        calibration: Calibration of the probabilities.
        unknown: Threshold of unknown objects.
        probabilities: Calibrated probabilities of held-out objects `(repeats, n, classes)`.
    """

    head: LinearHead
    chosen: Candidate
    accuracy: float
    interval: tuple[float, float]
    right: Doubles = field(repr=False)
    tried: tuple[TriedHead, ...] = field(repr=False)
    calibration: Calibrated
    unknown: UnknownThreshold
    probabilities: Doubles = field(repr=False)


def fit(
    data: Path,
    out: Path,
    *,
    model: Path | str = DEFAULT,
    labels: Path | None = None,
    options: FitOptions = FitOptions(),
    sampling: Sampling = Sampling(draws=DRAWS),
    run_on: RunOn = RunOn(),
    reading: Reading = Reading(),
) -> FitResult:
    """Fit a classifier to labelled objects; write it with its encoder as one bundle that passed the gate.

    Cross-validation on the labels alone chooses head and strength by the one-standard-error rule. It also gives the
    expected accuracy, the temperature of the probabilities, the threshold of unknown objects and the labels that look
    wrong.

    Args:
        data: A folder whose sub-folders are classes, a folder for which `labels` has the classes, embeddings (`.npz`,
            `.parquet`) whose names begin with the class or for which `labels` has the classes, or a data set, of which
            the training part is used.
        out: Folder of the bundle; an earlier one there is replaced.
        model: The encoder: a name, a run folder or a `.safetensors` file.
        labels: CSV file with the columns `name` and `label`.
        options: Head, threshold and views.
        sampling: Points per cloud, by default as for `embed`; the random seed; the number of draws of points from
            each object, whose embeddings are averaged; and the axis that points up in the objects.
        run_on: Device and backend of the encoder.
        reading: How files are found and read.

    Returns:
        The expected accuracy, and what was chosen.

    Raises:
        InputError: The labels are not enough for a classifier, or an option or the output folder cannot be used.
        CheckFailed: The gate failed; nothing was written.
    """
    start = time.perf_counter()
    options.check()
    check_replaceable(out, check_ours, inputs=[data])
    trained_weights(model)  # refuse a model without weights before the work
    objects = _read(Path(data), labels, str(model), options.views, sampling=sampling, run_on=run_on, reading=reading)
    fitted = fit_objects(objects.features, objects.labels, head=options.head, refuse=options.refuse, seed=sampling.seed)
    name, strength = fitted.chosen
    info = ClassifierInfo(
        classes=objects.classes,
        threshold=fitted.unknown.probability,
        points=objects.points,
        at_most=objects.at_most,
        head=name,
        strength=strength,
        temperature=fitted.calibration.temperature,
        objects=len(objects.names),
        frame=objects.frame,
    )
    clouds, truth, source = gate_examples(objects, seed=sampling.seed)
    classifier = Classifier(info, fitted.head, clouds, truth, source)
    points = None if objects.at_most or objects.points is None else objects.points
    export(Path(model), out, points=points, options=ExportOptions(classifier=classifier))
    suspects = find_suspects(fitted.probabilities, objects.labels, names=objects.names, classes=objects.classes)
    return FitResult(
        model=objects.model,
        data=str(data),
        points=objects.points,
        draws=objects.draws,
        views=options.views,
        seed=sampling.seed,
        objects=len(objects.names),
        classes=_by_class(objects, fitted.right),
        head=name,
        strength=strength,
        accuracy=fitted.accuracy,
        interval=fitted.interval,
        tried=fitted.tried,
        calibration=fitted.calibration,
        unknown=fitted.unknown,
        suspects=suspects,
        copies=objects.copies,
        skipped=objects.skipped,
        out=str(out),
        seconds=time.perf_counter() - start,
        frame=objects.frame,
    )


def _read(
    data: Path, labels: Path | None, model: str, views: int, *, sampling: Sampling, run_on: RunOn, reading: Reading
) -> LabelledObjects:
    if data.suffix in (".npz", ".parquet"):
        if views:
            raise InputError(
                f"{data} holds embeddings, which have no points; give the folder of the objects for --views"
            )
        if sampling.up is not None or reading != Reading():
            raise InputError(
                f"--up, --columns, --include and --exclude are for clouds that are read; {data} holds embeddings, so "
                "leave them out"
            )
        return read_embedded(data, labels, model=model, run_on=run_on)
    return embed_labelled(
        find_labelled(data, labels), model, views=views, sampling=sampling, run_on=run_on, reading=reading
    )


def fit_objects(
    features: NDArray[np.float32], labels: Labels, *, head: str = "auto", refuse: float = REFUSED, seed: int = 0
) -> Fitted:
    """Choose and fit a head, and calibrate it on held-out objects.

    Args:
        features: Embeddings `(n, S, D)` of S samples of each object: the whole object and its views.
        labels: `(n,)`, each of 0 … classes − 1 at least twice.
        head: `"auto"` or one of `HEADS`.
        refuse: Largest share of known objects that may be called unknown.
        seed: Of folds and bootstraps.

    Raises:
        InputError: All embeddings are equal.
    """
    classes = int(labels.max()) + 1
    if (features == features[0, 0]).all():
        raise InputError("all embeddings are equal, so no classifier can be fitted; use another --model")
    held_out = hold_out(features, labels, classes=classes, candidates=strengths(head), seed=seed)
    correct = held_out.correct
    chosen = choose(correct, held_out.candidates)
    accuracy = expected_accuracy(correct, held_out.candidates, seed=seed)
    temperature, calibration = _calibrate(held_out, chosen)
    probabilities = softmax(held_out.decisions[chosen] / temperature)
    confidences = probabilities.max(axis=2)
    threshold = threshold_of(confidences.ravel(), refuse)
    name, strength = held_out.candidates[chosen]
    return Fitted(
        head=fit_head(
            name,
            features.reshape(-1, features.shape[2]),
            labels=labels.repeat(features.shape[1]),
            classes=classes,
            strength=strength,
        ),
        chosen=(name, strength),
        accuracy=accuracy,
        interval=wilson(accuracy * len(labels), len(labels)),
        right=correct[chosen],
        tried=tuple(
            TriedHead(*candidate, float(row.mean()))
            for candidate, row in zip(held_out.candidates, correct, strict=True)
        ),
        calibration=calibration,
        unknown=UnknownThreshold(threshold, float((confidences < threshold).mean()), refuse),
        probabilities=probabilities,
    )


def _calibrate(held_out: HeldOut, chosen: int) -> tuple[float, Calibrated]:
    """The temperature, and the calibration error without it and with it; the latter with that of the other half."""
    decisions, labels = held_out.decisions[chosen], held_out.labels  # (repeats, n, classes)
    repeats, count, classes = decisions.shape

    def flat(rows: NDArray[np.int64]) -> tuple[Doubles, Labels]:
        return decisions[:, rows].reshape(-1, classes), np.tile(labels[rows], repeats)

    every = np.arange(count)
    temperature = fit_temperature(*flat(every))
    after = np.zeros_like(decisions)
    for half in (every[::2], every[1::2]):
        others = np.setdiff1d(every, half)
        after[:, half] = softmax(decisions[:, half] / fit_temperature(*flat(others)))
    truth = np.tile(labels, repeats)
    before = softmax(decisions).reshape(-1, classes)
    errors = calibration_error(before, truth), calibration_error(after.reshape(-1, classes), truth)
    return temperature, Calibrated(temperature, *errors)


def _by_class(objects: LabelledObjects, right: Doubles) -> tuple[ClassExpectation, ...]:
    found = []
    for label, name in enumerate(objects.classes):
        own = right[objects.labels == label]
        found.append(ClassExpectation(name, len(own), float(own.mean()), wilson(float(own.sum()), len(own))))
    return tuple(found)
