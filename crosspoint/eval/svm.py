"""Linear-SVM accuracy of frozen features (CrossPoint, Tables 1 and 2), by two rules.

Rule `official`, as in the paper's code: the first points of each cloud, `SVC(kernel="linear")`, a fixed C. Rule
`clean`: C by cross-validation on the training split; averaged over several random subsets of points if more are stored
than used.
"""

import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError, require
from crosspoint.core.outputs import check_folder
from crosspoint.core.plots import require_plots
from crosspoint.core.results import OPTIONAL, Result, key
from crosspoint.data.splits import Split, load_split, sample
from crosspoint.eval.features import (
    ModelInfo,
    SplitInfo,
    check_seed,
    describe_model,
    describe_split,
    embed_split,
    frame_of_set,
    open_encoders,
)
from crosspoint.eval.metrics import linear
from crosspoint.eval.metrics.linear import AS_STORED, OFFICIAL_C, TriedC
from crosspoint.eval.metrics.statistics import Paired, confusion, paired, per_class, summary, wilson
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.options import RunOn, Sampling

PICTURE = "confusion.png"
POINTS = 1024

Features = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Embeddings of the training and of the test part, `(n, D)` and `(m, D)`."""


@dataclass(frozen=True)
class Accuracy:
    """Accuracy on the test part, as a fraction of 1.

    Attributes:
        accuracy: Accuracy on all objects.
        interval: Wilson's 95 % interval for the objects of one subset of points.
        class_accuracy: Mean of the accuracies of the classes.
        rule: How C and the points were chosen, in words.
    """

    accuracy: float
    interval: tuple[float, float]
    class_accuracy: float
    rule: str


@dataclass(frozen=True)
class OfficialAccuracy(Accuracy):
    """Accuracy by the rule of the paper's code.

    Attributes:
        c: C of the SVM.
        seconds: Duration of training and prediction, in seconds.
    """

    c: float = field(metadata=key("C"))
    seconds: float


@dataclass(frozen=True)
class SvmRun:
    """The result for one subset of points.

    Attributes:
        seed: Random seed of the points and the folds.
        c: C, chosen by cross-validation.
        accuracy: Accuracy on the test part.
        cross_validation: Accuracies of all values of C in cross-validation.
    """

    seed: int
    c: float = field(metadata=key("C"))
    accuracy: float
    cross_validation: tuple[TriedC, ...] = field(repr=False)


@dataclass(frozen=True)
class CleanAccuracy(Accuracy):
    """Accuracy with C by cross-validation on the training part.

    Attributes:
        std: Sample standard deviation over the runs; None for one run.
        runs: The result for each subset of points.
        seconds: Duration of cross-validation, training and prediction, in seconds.
    """

    std: float | None
    runs: tuple[SvmRun, ...]
    seconds: float


@dataclass(frozen=True)
class ClassAccuracy:
    """Accuracy of one class; None if it has no test object."""

    name: str = field(metadata=key("class"))
    objects: int
    official: float | None
    clean: float | None


@dataclass(frozen=True)
class RuleAccuracies:
    """The accuracy by either rule."""

    official: float
    clean: float


@dataclass(frozen=True)
class SvmComparison:
    """Comparison with another model, the reference, on the same objects; each model has its own C.

    Attributes:
        model: The reference.
        accuracy: Accuracy of the reference, by both rules.
        official: Paired comparison by the rule `official`.
        clean: Paired comparison by the rule `clean`, on the first subset of points.
    """

    model: ModelInfo
    accuracy: RuleAccuracies
    official: Paired
    clean: Paired


@dataclass(frozen=True)
class SvmResult(Result):
    """The result of `crosspoint eval svm`.

    Attributes:
        model: The model.
        data: The data.
        official: Accuracy by the rule of the paper's code.
        clean: Accuracy with C by cross-validation.
        per_class: Accuracy of each class, in the order of the labels.
        confusion: Counts by the rule `clean` over all subsets of points; rows are true classes, columns predicted ones.
        embedding_seconds: Duration of the embedding, in seconds.
        against: Comparison with another model, or None.
    """

    schema: ClassVar[str] = "crosspoint.svm/1"

    model: ModelInfo
    data: SplitInfo
    official: OfficialAccuracy
    clean: CleanAccuracy
    per_class: tuple[ClassAccuracy, ...] = field(repr=False)
    confusion: list[list[int]] = field(repr=False)
    embedding_seconds: float
    against: SvmComparison | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class SvmMeasurement:
    """Accuracies of one model, and its predictions `(m,)` for the test part by both rules.

    The predictions of `clean` are those for the first subset of points.
    """

    result: SvmResult
    official: NDArray[np.int64]
    clean: NDArray[np.int64]


def svm(
    model: Path,
    data: Path,
    *,
    sampling: Sampling = Sampling(),
    run_on: RunOn = RunOn(),
    against: Path | None = None,
    out: Path | None = None,
) -> SvmResult:
    """Train linear SVMs on a model's frozen embeddings, which are not normalised, and measure their accuracy.

    Args:
        model: The model; anything that `load_encoder` opens.
        data: A folder in ModelNet40's or ScanObjectNN's format.
        sampling: Points per cloud (default 1024): the first ones for `official`, random ones for `clean` if more are
            stored. The seed is that of the held-out part (if there is no test split), the folds and the first subset of
            points; the axis that points up in the data.
        run_on: Device, backend and cache.
        against: Another model, whose predictions for the same objects are compared.
        out: Folder for the picture `confusion.png`.

    Raises:
        InputError: The model or the data cannot be used, they do not fit together, or `out` cannot be written.
        MissingDependency: scikit-learn is not installed, or for a picture matplotlib.

    Example:
        >>> svm("run", "modelnet40", run_on=RunOn(device="cuda")).clean.accuracy  # doctest: +SKIP
    """
    require("sklearn.svm", "eval", purpose="a linear SVM")
    check_seed(sampling.seed)
    if sampling.seeds < 1:
        raise InputError(f"--seeds is {sampling.seeds}; give at least 1")
    if out is not None:
        check_folder(out, files=[PICTURE], inputs=[data], within=True)
        require_plots()
    points = POINTS if sampling.points is None else sampling.points
    with open_encoders(model, against, run_on=run_on, points=points) as encoders:
        frame = frame_of_set(data, sampling.up)
        split = load_split(data, points, seed=sampling.seed, up=frame.up)
        about = describe_split(data, split, points=points, seed=sampling.seed, frame=frame)
        measured = [_measure(encoder, split, about, sampling.seeds, run_on.cache) for encoder in encoders]
    result = measured[0].result
    if against is not None:
        result = replace(result, against=_compare(split, measured[1], measured[0]))
    if out is not None:
        _draw(out, result, split)
    return result


def _measure(encoder: Encoder, split: Split, about: SplitInfo, seeds: int, cache: Path | None) -> SvmMeasurement:
    start = time.perf_counter()
    features, samples = _embed(encoder, split, about.points, about.seed, seeds, cache)
    seconds = time.perf_counter() - start
    official, official_predicted = _official(features, split)
    clean, predicted = _clean(samples, split, about.seed)
    official_counts = confusion(split.test.labels, official_predicted, classes=len(split.class_names))
    counts = np.sum([confusion(split.test.labels, run, classes=len(split.class_names)) for run in predicted], axis=0)
    result = SvmResult(
        model=describe_model(encoder),
        data=about,
        official=official,
        clean=clean,
        per_class=_rows(split, official_counts, counts),
        confusion=counts.tolist(),
        embedding_seconds=seconds,
    )
    return SvmMeasurement(result, official_predicted, predicted[0])


def _compare(split: Split, reference: SvmMeasurement, candidate: SvmMeasurement) -> SvmComparison:
    result = reference.result
    return SvmComparison(
        model=result.model,
        accuracy=RuleAccuracies(result.official.accuracy, result.clean.accuracy),
        official=paired(split.test.labels, reference.official, second=candidate.official),
        clean=paired(split.test.labels, reference.clean, second=candidate.clean),
    )


def _embed(
    encoder: Encoder, split: Split, points: int, seed: int, seeds: int, cache: Path | None
) -> tuple[Features, list[Features]]:
    """Features of the first points, and of each random subset of points for `clean`."""
    embed = partial(embed_split, encoder, split, cache=cache)
    as_stored = split.name in AS_STORED
    first = embed(select=lambda stored: stored[:, :points], description="Embedding, first points", as_stored=as_stored)
    if all(part.points.shape[1] == points for part in (split.train, split.test)):
        whole = embed(select=lambda stored: stored, description="Embedding, all points") if as_stored else first
        return first, [whole]
    samples = []
    for run in range(seeds):
        draw = partial(sample, points=points, seed=seed + run)
        samples.append(embed(select=draw, description=f"Embedding, sample {run + 1} of {seeds}"))
    return first, samples


def _official(features: Features, split: Split) -> tuple[OfficialAccuracy, NDArray[np.int64]]:
    from sklearn.svm import SVC

    c = OFFICIAL_C[split.name]
    if len(np.unique(split.train.labels)) < 2:
        raise InputError("a linear SVM needs objects of at least two classes; check the labels of the training split")
    for _ in track(("official",), "Official SVM"):
        start = time.perf_counter()
        classifier = SVC(kernel="linear", C=c).fit(features[0], split.train.labels)
        predicted = classifier.predict(features[1]).astype(np.int64)
        seconds = time.perf_counter() - start
    counts = confusion(split.test.labels, predicted, classes=len(split.class_names))
    rule = f"SVC(kernel='linear', C={c}) on the first points" + ", as stored" * (split.name in AS_STORED)
    return OfficialAccuracy(*_accuracy(counts, 1), rule, c, seconds), predicted


def _clean(samples: list[Features], split: Split, seed: int) -> tuple[CleanAccuracy, list[NDArray[np.int64]]]:
    """Choose C for each subset of points and average the accuracies; also returns the predictions for each subset."""
    start = time.perf_counter()
    counts = np.zeros((len(split.class_names),) * 2, np.int64)
    runs, predictions = [], []
    for run, (train, test) in enumerate(samples):
        products = linear.gram(train)
        c, tried = linear.choose_c(train, split.train.labels, products=products, seed=seed + run)
        predicted = linear.fit(train, split.train.labels, c=c, products=products).predict(test)
        predictions.append(predicted)
        counts += confusion(split.test.labels, predicted, classes=len(split.class_names))
        runs.append(SvmRun(seed + run, c, float(np.mean(predicted == split.test.labels)), tried))
    rule = f"C by {linear.FOLDS}-fold cross-validation on the training part"
    rule += f", {len(runs)} random choices of points" if len(runs) > 1 else ""
    std = summary([run.accuracy for run in runs]).std
    seconds = time.perf_counter() - start
    return CleanAccuracy(*_accuracy(counts, len(runs)), rule, std, tuple(runs), seconds), predictions


def _accuracy(counts: NDArray[np.int64], runs: int) -> tuple[float, tuple[float, float], float]:
    """Accuracy over all objects, its interval for the objects of one run, and the mean over classes."""
    correct, total = int(np.trace(counts)), int(counts.sum())
    classes = [value for value in per_class(counts) if value is not None]
    return correct / total, wilson(correct / runs, total // runs), float(np.mean(classes))


def _rows(split: Split, official: NDArray[np.int64], clean: NDArray[np.int64]) -> tuple[ClassAccuracy, ...]:
    columns = zip(split.class_names, official.sum(axis=1), per_class(official), per_class(clean), strict=True)
    return tuple(ClassAccuracy(name, int(objects), first, second) for name, objects, first, second in columns)


def _draw(out: Path, result: SvmResult, split: Split) -> None:
    from crosspoint.eval.figures import draw_confusion

    clean = result.clean
    low, high = clean.interval
    title = (
        f"{Path(result.model.path).name}: {clean.accuracy:.1%} [{low:.1%}, {high:.1%}]"
        f" of {result.data.test} objects, C by cross-validation\ntested on {result.data.test_from}"
    )
    draw_confusion(np.array(result.confusion), split.class_names, title=title, path=Path(out) / PICTURE)
