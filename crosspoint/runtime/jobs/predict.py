"""Classifies the clouds of files, folders and data sets with a classifier of `crosspoint fit`."""

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file, json_bytes
from crosspoint.core.outputs import check_file
from crosspoint.core.results import OPTIONAL, Result
from crosspoint.data.frames import Frame
from crosspoint.data.objects.clouds import Boxes
from crosspoint.data.objects.find import Vector
from crosspoint.data.objects.sources import Scans
from crosspoint.data.sources import Source
from crosspoint.runtime.classifier import ClassifierInfo, Predictions, check_frames
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.jobs.batches import Skipped, score_groups
from crosspoint.runtime.jobs.request import make_request, open_request
from crosspoint.runtime.options import Reading, RunOn, Sampling
from crosspoint.runtime.specification import Specification

COLUMNS = ("name", "label", "probability", "unknown")
BOX_COLUMNS = ("points", "lower_x", "lower_y", "lower_z", "upper_x", "upper_y", "upper_z")  # of objects of scans
SUFFIXES = (".csv", ".json")


@dataclass(frozen=True)
class ClassScore:
    """A class and its probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class ObjectBox:
    """Where an object lies in its scan, in the scan's own frame.

    Attributes:
        points: Number of its points.
        lower: Lowest x, y and z.
        upper: Highest x, y and z.
    """

    points: int
    lower: Vector
    upper: Vector


@dataclass(frozen=True)
class Prediction:
    """The class of one object.

    Attributes:
        name: As in `embed`: the path relative to the input folder.
        label: The most probable class, also for an unknown object.
        probability: Probability of that class.
        unknown: The novelty is above the classifier's threshold.
        novelty: How unlike the labelled objects it is; see `crosspoint.runtime.novelty`.
        top: The most probable classes, if more than one was asked for.
        box: Of an object of a scan: where it lies.
    """

    name: str
    label: str
    probability: float
    unknown: bool
    novelty: float
    top: tuple[ClassScore, ...] | None = field(default=None, metadata=OPTIONAL)
    box: ObjectBox | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class PredictResult(Result):
    """The classes of all inputs.

    Attributes:
        model: The classifier that ran.
        points: Points per cloud; None: all.
        draws: Draws of points from each object, whose probabilities are averaged.
        seed: Random seed of the points.
        predictions: One for each cloud, in the order of the inputs.
        skipped: Inputs that were left out.
        out: File of the predictions; None: not written.
        seconds: Run time.
        frame: In which the inputs are stored; what was classified is y-up.
    """

    schema: ClassVar[str] = "crosspoint.predict/1"

    model: Specification
    points: int | None
    draws: int
    seed: int
    predictions: tuple[Prediction, ...]
    skipped: tuple[Skipped, ...]
    out: str | None
    seconds: float
    frame: Frame | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class ScoredSources:
    """Scores of the clouds of some sources.

    Attributes:
        names: Names of the n clouds.
        predictions: Their scores, averaged over the draws.
        skipped: Sources that were left out.
        boxes: Where the clouds lie, if they are objects of scans.
    """

    names: list[str]
    predictions: Predictions
    skipped: tuple[Skipped, ...]
    boxes: Boxes | None = None


def predict(
    model: Path | str,
    inputs: Sequence[Path] | Scans,
    *,
    out: Path | None = None,
    top: int = 1,
    sampling: Sampling = Sampling(),
    batch: int = 32,
    run_on: RunOn = RunOn(),
    reading: Reading = Reading(),
) -> PredictResult:
    """Classify the clouds of files, folders and data sets.

    Args:
        model: A classifier of `crosspoint fit` or an export of one.
        inputs: As for `embed`. `Scans`: each object of each scan is classified.
        out: `.csv` with the columns `COLUMNS`, of `Scans` also `BOX_COLUMNS`, or `.json`; None to write nothing.
        top: Number of most probable classes in a prediction.
        sampling: Points per cloud, by default as fitted; the random seed; the number of draws of points from each
            object, whose probabilities are averaged; and the axis that points up in the inputs.
        batch: Most clouds per call of the model.
        run_on: Device and backend of the classifier.
        reading: How files are found and read.

    Raises:
        InputError: The model is not a classifier, an option is invalid, an input is missing, none could be read, or the
            frames of classifier and inputs are mixed: one is stated and the other is not.
    """
    start = time.perf_counter()
    if out is not None:
        check_out(Path(out), inputs.inputs if isinstance(inputs, Scans) else inputs)
    if top < 1:
        raise InputError(f"--top is {top}; give 1 or more")
    request = make_request(model, inputs, sampling=sampling, batch=batch, run_on=run_on, reading=reading)
    opened = open_request(request)
    with opened.encoder as encoder:
        scored = score_sources(encoder, opened.sources, batch=batch, readers=reading.readers)
        specification = encoder.specification
    if not scored.names:
        first = f"; the first: {bad.file}: {bad.reason}" if (bad := next(iter(scored.skipped), None)) else ""
        raise InputError(f"none of {len(opened.sources)} inputs could be classified{first}")
    result = PredictResult(
        model=specification,
        points=opened.points,
        draws=sampling.draws,
        seed=sampling.seed,
        predictions=tuple(_predictions(scored, top)),
        skipped=scored.skipped,
        out=None if out is None else str(out),
        seconds=time.perf_counter() - start,
        frame=opened.frame,
    )
    if out is not None:
        _write(out, result)
    return result


def require_classifier(encoder: Encoder) -> ClassifierInfo:
    """Classes and threshold of a classifier.

    Raises:
        InputError: The model is not a classifier.
    """
    if encoder.specification.classifier is None:
        raise InputError(f"{encoder.specification.path} is not a classifier; make one with crosspoint fit")
    return encoder.specification.classifier


def score_sources(encoder: Encoder, sources: Sequence[Source], *, batch: int = 32, readers: int = 0) -> ScoredSources:
    """Score the clouds of sources.

    Args:
        encoder: A classifier.
        sources: From `find_sources`.
        batch: Most clouds per call of the model.
        readers: Number of reader processes, see `read_ahead`.

    Raises:
        InputError: The model is not a classifier, or the frames of classifier and sources are mixed.
    """
    classifier = require_classifier(encoder)
    check_frames(classifier, sources, path=encoder.specification.path)
    (group,) = score_groups(encoder, [sources], batch=batch, readers=readers)
    return ScoredSources(
        group.names, Predictions.from_rows(classifier, group.vectors), tuple(group.skipped), group.boxes
    )


def _predictions(scored: ScoredSources, top: int) -> list[Prediction]:
    found, classes = scored.predictions, scored.predictions.classifier.classes
    order = np.argsort(-found.scores, axis=1, kind="stable")[:, :top]
    boxes = [None] * len(scored.names) if scored.boxes is None else _boxes(scored.boxes)
    return [
        Prediction(
            name=name,
            label=label,
            probability=float(probability),
            unknown=bool(unknown),
            novelty=float(novelty),
            top=tuple(ClassScore(classes[i], float(scores[i])) for i in best) if top > 1 else None,
            box=box,
        )
        for name, label, probability, unknown, novelty, scores, best, box in zip(
            scored.names,
            found.labels,
            found.probabilities,
            found.unknown,
            found.novelty,
            found.scores,
            order,
            boxes,
            strict=True,
        )
    ]


def _boxes(boxes: Boxes) -> list[ObjectBox]:
    rows = zip(boxes.counts.tolist(), boxes.corners.tolist(), strict=True)
    return [ObjectBox(count, tuple(low), tuple(high)) for count, (low, high) in rows]


def check_out(out: Path, inputs: Sequence[Path]) -> None:
    """Raise InputError unless predictions may be written there."""
    if out.suffix not in SUFFIXES:
        raise InputError(f"{out} cannot be written; give a name that ends in {' or '.join(SUFFIXES)}")
    check_file(out, inputs=inputs)


def _write(out: Path, result: PredictResult) -> None:
    with atomic_file(Path(out)) as temporary:
        if Path(out).suffix == ".json":
            temporary.write_bytes(json_bytes(result.to_json()))
            return
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        boxes = any(entry.box is not None for entry in result.predictions)
        writer.writerow((*COLUMNS, *BOX_COLUMNS) if boxes else COLUMNS)
        for entry in result.predictions:
            row = (entry.name, entry.label, f"{entry.probability:.6f}", str(entry.unknown).lower())
            box = entry.box
            writer.writerow(row if box is None else (*row, box.points, *box.lower, *box.upper))
        temporary.write_text(text.getvalue(), encoding="utf-8")
