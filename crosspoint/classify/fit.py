"""`crosspoint fit`: makes a classifier from a few labels, and measures what to expect of it."""

import time
from dataclasses import dataclass
from pathlib import Path

from crosspoint.classify.fitted import REFUSED, Fitted, fit_objects
from crosspoint.classify.heads import HEADS
from crosspoint.classify.objects import LabelledObjects, embed_labelled, gate_examples, read_embedded
from crosspoint.classify.results import ClassExpectation, FitResult
from crosspoint.classify.suggest import suggest
from crosspoint.classify.suspects import find_suspects
from crosspoint.core.errors import InputError, require
from crosspoint.core.outputs import check_replaceable
from crosspoint.data.labelled import SUFFIXES, find_labelled, find_unlabelled
from crosspoint.eval.metrics.statistics import wilson
from crosspoint.export.bundle import export
from crosspoint.export.engine.engine import check_ours
from crosspoint.export.options import ExportOptions
from crosspoint.export.trained import trained_weights
from crosspoint.runtime.classifier import Classifier, ClassifierInfo, Doubles
from crosspoint.runtime.options import Reading, RunOn, Sampling
from crosspoint.runtime.released import DEFAULT

DRAWS, TURNS = 4, 2
MOST_VIEWS, MOST_TURNS = 100, 36


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How a classifier is fitted.

    Attributes:
        head: `"auto"`, `"logistic"`, `"svm"` or `"nearest"`.
        refuse: Largest share of known objects that may become unknown.
        turns: Number of azimuths at which each object is embedded, turned about the vertical axis: 1 if all face the
            same way, 2 if they lie along one axis, 4 or more for any azimuth. The expected accuracy is the mean over
            them. None: 2 of clouds.
        views: Number of single views of each object to fit to as well, for clouds from a depth camera; y is up. The
            expected accuracy is then the mean over whole objects and views.
        suggest: Number of unlabelled objects to name whose labels would help most.
        unlabelled: Folder or embeddings to choose them from. None: the objects of the data that `labels` does not name.
    """

    head: str = "auto"
    refuse: float = REFUSED
    turns: int | None = None
    views: int = 0
    suggest: int = 0
    unlabelled: Path | None = None

    def check(self) -> None:
        """Check the values.

        Raises:
            InputError: There is no such head, or a number is out of range.
        """
        if self.head not in ("auto", *HEADS):
            raise InputError(f"there is no head {self.head}; give --head auto, {', '.join(HEADS)}")
        if not 0 <= self.refuse < 1:
            raise InputError(f"--refuse {self.refuse} is not a share; give 0 to less than 1, e.g. 0.05")
        if self.turns is not None and not 1 <= self.turns <= MOST_TURNS:
            raise InputError(f"--turns is {self.turns}; give 1 to {MOST_TURNS}")
        if not 0 <= self.views <= MOST_VIEWS:
            raise InputError(f"--views is {self.views}; give 0 to {MOST_VIEWS}")
        if self.suggest < 0:
            raise InputError(f"--suggest is {self.suggest}; give 1 or more")
        if self.unlabelled is not None and not self.suggest:
            raise InputError("--unlabelled is for --suggest; give --suggest N, the number of objects to name")

    def pool(self, data: Path, labels: Path | None) -> Path | None:
        """Where unlabelled objects are; None if none were asked for.

        Raises:
            InputError: Objects were asked for, and all that is given has labels.
        """
        if not self.suggest or self.unlabelled is not None:
            return self.unlabelled
        if labels is None:
            raise InputError(
                "--suggest needs unlabelled objects; give --unlabelled FOLDER, or --labels for a part of DATA only"
            )
        return data


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
        MissingDependency: scikit-learn is not installed.
    """
    start = time.perf_counter()
    require("sklearn.model_selection", "eval", purpose="fitting")
    options.check()
    check_replaceable(out, check_ours, inputs=[data])
    trained_weights(model)  # refuse a model without weights before the work
    objects = _read(Path(data), labels, str(model), options, sampling=sampling, run_on=run_on, reading=reading)
    fitted = fit_objects(objects.features, objects.labels, head=options.head, refuse=options.refuse, seed=sampling.seed)
    points = None if objects.at_most or objects.points is None else objects.points
    classifier = _classifier(objects, fitted, seed=sampling.seed)
    export(Path(model), out, points=points, options=ExportOptions(classifier=classifier))
    seconds = time.perf_counter() - start
    return _result(objects, fitted, data=data, out=out, options=options, seed=sampling.seed, seconds=seconds)


def _classifier(objects: LabelledObjects, fitted: Fitted, *, seed: int) -> Classifier:
    """The head with its description, and the clouds that its exports are compared on."""
    name, strength = fitted.chosen
    info = ClassifierInfo(
        classes=objects.classes,
        threshold=fitted.unknown.novelty,
        points=objects.points,
        at_most=objects.at_most,
        head=name,
        strength=strength,
        temperature=fitted.calibration.temperature,
        objects=len(objects.names),
        frame=objects.frame,
    )
    return Classifier(info, fitted.head, fitted.novelty, *gate_examples(objects, seed=seed))


def _result(
    objects: LabelledObjects, fitted: Fitted, *, data: Path, out: Path, options: FitOptions, seed: int, seconds: float
) -> FitResult:
    name, strength = fitted.chosen
    pool = objects.unlabelled
    return FitResult(
        model=objects.model,
        data=str(data),
        points=objects.points,
        draws=objects.draws,
        turns=objects.features.shape[1] - options.views,
        views=options.views,
        seed=seed,
        objects=len(objects.names),
        classes=_by_class(objects, fitted.right),
        head=name,
        strength=strength,
        accuracy=fitted.accuracy,
        interval=fitted.interval,
        tried=fitted.tried,
        calibration=fitted.calibration,
        unknown=fitted.unknown,
        suspects=find_suspects(fitted.probabilities, objects.labels, names=objects.names, classes=objects.classes),
        copies=objects.copies,
        skipped=objects.skipped,
        out=str(out),
        seconds=seconds,
        frame=objects.frame,
        suggestions=None if pool is None else suggest(fitted, pool, classes=objects.classes, count=options.suggest),
    )


def _read(
    data: Path,
    labels: Path | None,
    model: str,
    options: FitOptions,
    *,
    sampling: Sampling,
    run_on: RunOn,
    reading: Reading,
) -> LabelledObjects:
    pool = options.pool(data, labels)
    if data.suffix in SUFFIXES:
        if options.views or options.turns not in (None, 1):
            option = "--views" if options.views else "--turns"
            raise InputError(
                f"{data} holds embeddings, which have no points; give the folder of the objects for {option}"
            )
        if sampling.up is not None or reading != Reading():
            raise InputError(
                f"--up, --columns, --include and --exclude are for clouds that are read; {data} holds embeddings, so "
                "leave them out"
            )
        if pool is not None and pool.suffix not in SUFFIXES:
            raise InputError(f"{data} holds embeddings, so --unlabelled has to; embed {pool} with the same model")
        return read_embedded(data, labels, model=model, run_on=run_on, pool=pool)
    if pool is not None and pool.suffix in SUFFIXES:
        raise InputError(f"{pool} holds embeddings, and {data} does not; give the folder of the unlabelled objects")
    labelled = find_labelled(data, labels)
    unlabelled = pool if pool is None else labelled if pool == data else find_unlabelled(pool)
    return embed_labelled(
        labelled,
        model,
        turns=TURNS if options.turns is None else options.turns,
        views=options.views,
        pool=unlabelled,
        sampling=sampling,
        run_on=run_on,
        reading=reading,
    )


def _by_class(objects: LabelledObjects, right: Doubles) -> tuple[ClassExpectation, ...]:
    found = []
    for label, name in enumerate(objects.classes):
        own = right[objects.labels == label]
        found.append(ClassExpectation(name, len(own), float(own.mean()), wilson(float(own.sum()), len(own))))
    return tuple(found)
