"""Few-shot classification of frozen features (CrossPoint, Tables 3 and 4; the protocol of Sharma and Kaul, 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError, require
from crosspoint.core.results import FLAT, OPTIONAL, Result
from crosspoint.data.frames import Frame
from crosspoint.data.sets.datasets import ClassificationSet, Clouds, load_classification
from crosspoint.data.splits import check_stored
from crosspoint.eval.features import (
    ModelInfo,
    ReferenceModel,
    check_seed,
    describe_model,
    embed_clouds,
    frame_of_set,
    open_encoders,
)
from crosspoint.eval.metrics.linear import AS_STORED
from crosspoint.eval.metrics.statistics import PairedRuns, Summary, paired_runs, summary
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.options import RunOn, Sampling

SOURCES = ("training split", "test split")
POINTS = 1024


@dataclass(frozen=True)
class TaskOptions:
    """Which tasks are measured.

    Attributes:
        ways: Numbers of classes.
        shots: Numbers of support objects per class; every pair of ways and shots is measured.
        queries: Query objects per class.
        runs: Tasks per pair.
        queries_from: Of `SOURCES`, those that queries are drawn from, as far as the data has them.
    """

    ways: Sequence[int] = (5, 10)
    shots: Sequence[int] = (10, 20)
    queries: int = 20
    runs: int = 10
    queries_from: Sequence[str] = SOURCES


@dataclass(frozen=True)
class Labelled:
    """Embeddings `(n, D)` with their labels `(n,)`."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class TaskAnswers:
    """Labels and predictions of the query objects of a task, each `(ways · queries,)`."""

    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """Share of the query objects that are classified correctly."""
        return float(np.mean(self.truth == self.predicted))


@dataclass(frozen=True)
class FewShotData:
    """Description of the data in a few-shot result.

    Attributes:
        path: The folder.
        format: `modelnet40` or `scanobjectnn`.
        train: Number of training objects.
        test: Number of test objects; None if there is no test split.
        points: Points per cloud.
        seed: Random seed of the tasks.
        k: Number of neighbours, if it is not the model's own.
        frame: In which clouds are stored; None of an earlier version, which turned nothing.
    """

    path: str
    format: str
    train: int
    test: int | None
    points: int
    seed: int
    k: int | None
    frame: Frame | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class FewShotTasks:
    """Accuracy on the tasks of one kind, as a fraction of 1.

    Attributes:
        ways: Classes per task.
        shots: Support objects per class.
        queries_from: The split that queries come from.
        summary: Mean and deviation over the tasks.
        accuracies: Accuracy of each task.
        std_n: Deviation with n in the place of n − 1, as the published code prints it; None of an earlier version.
        against: Comparison with another model on the same tasks, or None.
    """

    ways: int
    shots: int
    queries_from: str
    summary: Summary = field(metadata=FLAT)
    accuracies: list[float] = field(repr=False)
    std_n: float | None = field(default=None, metadata=OPTIONAL)
    against: PairedRuns | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class FewShotResult(Result):
    """The result of `crosspoint eval fewshot`.

    Attributes:
        model: The model.
        data: The data.
        queries: Query objects per class.
        runs: Tasks of each kind.
        tasks: A row for each pair of ways and shots, and each source of queries.
        against: The model to compare with, or None.
    """

    schema: ClassVar[str] = "crosspoint.fewshot/1"

    model: ModelInfo
    data: FewShotData
    queries: int
    runs: int
    tasks: tuple[FewShotTasks, ...]
    against: ReferenceModel | None = field(default=None, metadata=OPTIONAL)


def fewshot(
    model: Path,
    data: Path,
    *,
    tasks: TaskOptions = TaskOptions(),
    k: int | None = None,
    sampling: Sampling = Sampling(),
    run_on: RunOn = RunOn(),
    against: Path | None = None,
) -> FewShotResult:
    """Measure the accuracy on tasks with some classes, a few training objects of each, and query objects.

    As published, support and query objects of a task come from the training split. If there is a test split, the same
    tasks are also measured with queries from it. Features are standardised with the support objects; the classifier is
    `SVC(kernel="linear", C=1)`. Clouds are normalised, but those of ScanObjectNN in the published tasks are taken as
    they are stored.

    Args:
        model: The model; anything that `load_encoder` opens.
        data: A folder in ModelNet40's or ScanObjectNN's format.
        tasks: Numbers of classes and objects, and how many tasks of each kind.
        k: Number of neighbours, for PyTorch weights; 5 in the official code. None: the model's own. Exported models
            have a fixed number.
        sampling: Points per cloud (default 1024; the first ones are taken), and the seed. A task depends only on the
            seed, the pair, and its number; the axis that points up in the data.
        run_on: Device, backend and cache.
        against: Another model, measured on the same tasks.

    Raises:
        InputError: The model or the data cannot be used, or too few classes have enough objects.
        MissingDependency: scikit-learn is not installed.
    """
    require("sklearn.svm", "eval", purpose="few-shot classification")
    check_seed(sampling.seed)
    ways, shots, queries, runs = tasks.ways, tasks.shots, tasks.queries, tasks.runs
    if not (ways and shots) or min(*ways, *shots, queries, runs) < 1 or min(ways) < 2:
        raise InputError("a few-shot task needs at least 2 ways, 1 shot, 1 query and 1 run; give larger numbers")
    points = POINTS if sampling.points is None else sampling.points
    with open_encoders(model, against, run_on=run_on, points=points, k=k) as encoders:
        frame = frame_of_set(data, sampling.up)
        whole = load_classification(data, None, up=frame.up)
        parts = {"training split": whole.train, "test split": whole.test}
        sources = {name: part for name, part in parts.items() if part is not None and name in tasks.queries_from}
        for clouds in sources.values():
            _check_data(data, whole.train, clouds, (ways, shots, queries), points)
        embed = partial(_embed, whole=whole, points=points, cache=run_on.cache)
        embedded = [{source: embed(encoder, source) for source in sources} for encoder in encoders]
        models = [describe_model(encoder) for encoder in encoders]
    settings = [(way, shot, source) for source in sources for way in ways for shot in shots]
    rows = [_measure(embedded, *each, queries, runs, sampling.seed) for each in track(settings, "Few-shot tasks")]
    return FewShotResult(
        model=models[0],
        data=_describe_data(data, whole, points, sampling.seed, k, frame),
        queries=queries,
        runs=runs,
        tasks=tuple(rows),
        against=None if against is None else ReferenceModel(models[1]),
    )


def _describe_data(
    data: Path, whole: ClassificationSet, points: int, seed: int, k: int | None, frame: Frame
) -> FewShotData:
    test = None if whole.test is None else len(whole.test.labels)
    return FewShotData(str(data), whole.name, len(whole.train.labels), test, points, seed, k, frame)


def _check_data(
    data: Path, train: Clouds, clouds: Clouds, task: tuple[Sequence[int], Sequence[int], int], points: int
) -> None:
    """Raise InputError if the largest task, `(ways, shots, queries)`, needs more objects than there are."""
    ways, shots, queries = task
    check_stored(data, clouds.points, points=points)
    found = len(eligible(train.labels, clouds.labels, shots=max(shots), queries=queries, same=clouds is train))
    if found < max(ways):
        raise InputError(
            f"only {found} classes of {data} have {max(shots)} support and {queries} query objects, "
            f"{max(ways)} are needed; lower --ways, --shots or --queries"
        )


def _embed(
    encoder: Encoder, source: str, *, whole: ClassificationSet, points: int, cache: Path | None
) -> tuple[Labelled, Labelled]:
    """Support and queries of the tasks whose queries come from `source`; the same instance if both do."""
    published = source == "training split"

    def embed(clouds: Clouds, name: str) -> Labelled:
        return Labelled(
            embed_clouds(
                encoder,
                clouds.points[:, :points],
                description=f"Embedding, {name}",
                cache=cache,
                as_stored=published and whole.name in AS_STORED,
            ),
            clouds.labels,
        )

    support = embed(whole.train, "training split")
    return support, support if published or whole.test is None else embed(whole.test, source)


def _measure(
    embedded: list[dict[str, tuple[Labelled, Labelled]]],
    way: int,
    shot: int,
    source: str,
    queries: int,
    runs: int,
    seed: int,
) -> FewShotTasks:
    """Measure the tasks of one kind with every model."""
    answers = [
        [
            run_task(*of[source], ways=way, shots=shot, queries=queries, seed=(seed, way, shot, run))
            for run in range(runs)
        ]
        for of in embedded
    ]
    accuracies = [task.accuracy for task in answers[0]]
    std_n = float(np.std(accuracies))
    return FewShotTasks(way, shot, source, summary(accuracies), accuracies, std_n, compare_tasks(answers))


def compare_tasks(answers: Sequence[Sequence[TaskAnswers]]) -> PairedRuns | None:
    """Comparison of the first model with the second, the reference, on the same tasks; None if there is one model."""
    if len(answers) < 2:
        return None
    own, other = answers
    truth, predicted = [task.truth for task in own], [task.predicted for task in own]
    return paired_runs(truth, [task.predicted for task in other], second=predicted)


def eligible(
    support: NDArray[np.int64], query: NDArray[np.int64], *, shots: int, queries: int, same: bool
) -> NDArray[np.int64]:
    """Classes with enough objects for a task; `same`: support and queries come from the same objects."""
    classes = np.unique(support)
    in_support = np.array([np.sum(support == label) for label in classes])
    in_query = np.array([np.sum(query == label) for label in classes])
    enough = (in_support >= shots + queries) if same else (in_support >= shots) & (in_query >= queries)
    chosen: NDArray[np.int64] = classes[enough]
    return chosen


def run_task(
    support: Labelled, query: Labelled, *, ways: int, shots: int, queries: int, seed: Sequence[int]
) -> TaskAnswers:
    """Draw one task and classify its queries.

    Args:
        support: Objects that support objects are drawn from.
        query: Objects that queries are drawn from; if it is the same instance as `support`, they do not overlap.
        ways: Number of classes.
        shots: Support objects per class.
        queries: Query objects per class.
        seed: Random seed of the draw.
    """
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    same = query is support
    rng = np.random.default_rng(seed)
    classes = rng.choice(
        eligible(support.labels, query.labels, shots=shots, queries=queries, same=same), ways, replace=False
    )
    learn, recognise = [], []
    for label in classes:
        rows = rng.permutation(np.flatnonzero(support.labels == label))
        others = rows[shots:] if same else rng.permutation(np.flatnonzero(query.labels == label))
        learn.append(rows[:shots])
        recognise.append(others[:queries])
    train, test = np.concatenate(learn), np.concatenate(recognise)
    scaler = StandardScaler().fit(support.features[train])
    classifier = SVC(kernel="linear", C=1.0).fit(scaler.transform(support.features[train]), support.labels[train])
    predicted = classifier.predict(scaler.transform(query.features[test])).astype(np.int64)
    return TaskAnswers(query.labels[test], predicted)
