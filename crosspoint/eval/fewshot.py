"""Few-shot classification of frozen features (CrossPoint, Tables 3 and 4; the protocol of Sharma and Kaul, 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.data.sets.datasets import Clouds, load_classification
from crosspoint.data.splits import check_stored
from crosspoint.eval.features import check_seed, describe_model, embed_clouds, open_encoders
from crosspoint.eval.metrics.statistics import paired_runs, summary
from crosspoint.runtime.encoder import Encoder

SOURCES = ("training split", "test split")


@dataclass(frozen=True)
class Labelled:
    """Embeddings `(n, D)` with their labels `(n,)`."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """Labels of a task's query objects and what was predicted of them, each `(ways · queries,)`."""

    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """Share of the objects that are recognised."""
        return float(np.mean(self.truth == self.predicted))


def fewshot(
    model: Path,
    data: Path,
    ways: Sequence[int] = (5, 10),
    shots: Sequence[int] = (10, 20),
    queries: int = 20,
    runs: int = 10,
    points: int = 1024,
    seed: int = 0,
    device: str = "cpu",
    backend: str | None = None,
    k: int | None = None,
    cache: Path | None = None,
    against: Path | None = None,
    queries_from: Sequence[str] = SOURCES,
) -> dict[str, Any]:
    """Accuracy on small tasks: some classes, a few objects of each to learn from, others to recognise.

    As published, a task's support and query objects both come from the training split; where there is a test split, the
    same tasks are measured with queries from it as well. Features are standardised by the support and go to
    `SVC(kernel="linear", C=1)`.

    Args:
        model: Anything that can embed.
        data: A folder in ModelNet40's or ScanObjectNN's format.
        ways: Numbers of classes.
        shots: Numbers of support objects per class; every pair of ways and shots is measured.
        queries: Query objects per class.
        runs: Tasks per pair.
        points: The first ones of each cloud are used.
        seed: Tasks depend on it, the pair and the number of the run, and on nothing else.
        device: Where the model runs.
        backend: What runs it; None for the usual one.
        k: Neighbours in the graphs of a PyTorch model, 5 in the official code; None for those it was trained with. In
            an exported model the number is built in.
        cache: Folder in which features are kept and found again.
        against: Another model, which meets the same tasks.
        queries_from: Of `SOURCES`, those that queries are drawn from, as far as the data has them.

    Returns:
        JSON-serialisable; `tasks` has a row for each pair and source of queries, with `against`, the paired
        comparison, if there is another model; its reference is the other model.

    Raises:
        InputError: The model or the data cannot be used, or too few classes have that many objects.
    """
    check_seed(seed)
    if not (ways and shots) or min(*ways, *shots, queries, runs) < 1 or min(ways) < 2:
        raise InputError("a few-shot task needs at least 2 ways, 1 shot, 1 query and 1 run; give larger numbers")
    with open_encoders(model, against, device, backend, points, k) as encoders:
        whole = load_classification(data, None)
        parts = {"training split": whole.train, "test split": whole.test}
        sources = {name: part for name, part in parts.items() if part is not None and name in queries_from}
        for clouds in sources.values():
            _check_data(data, whole.train, clouds, (ways, shots, queries), points)
        needed = {"training split": whole.train, **sources}
        embedded = [_embed(encoder, needed, points, cache) for encoder in encoders]
        models = [describe_model(encoder) for encoder in encoders]
    settings = [(way, shot, source) for source in sources for way in ways for shot in shots]
    rows = [_measure(embedded, *setting, queries, runs, seed) for setting in track(settings, "Few-shot tasks")]
    counts = {"train": len(whole.train.labels), "test": None if whole.test is None else len(whole.test.labels)}
    about = {"path": str(data), "format": whole.name, **counts, "points": points, "seed": seed, "k": k}
    result = {"model": models[0], "data": about, "queries": queries, "runs": runs, "tasks": rows}
    return result if against is None else {**result, "against": {"model": models[1]}}


def _check_data(
    data: Path, train: Clouds, clouds: Clouds, task: tuple[Sequence[int], Sequence[int], int], points: int
) -> None:
    """Raise InputError unless the widest task, `(ways, shots, queries)`, can be drawn."""
    ways, shots, queries = task
    check_stored(data, clouds.points, points)
    found = len(eligible(train.labels, clouds.labels, max(shots), queries, clouds is train))
    if found < max(ways):
        raise InputError(
            f"only {found} classes of {data} have {max(shots)} support and {queries} query objects, "
            f"{max(ways)} are needed; lower --ways, --shots or --queries"
        )


def _embed(encoder: Encoder, sources: dict[str, Clouds], points: int, cache: Path | None) -> dict[str, Labelled]:
    return {
        source: Labelled(
            embed_clouds(encoder, clouds.points[:, :points], f"Embedding, {source}", cache=cache), clouds.labels
        )
        for source, clouds in sources.items()
    }


def _measure(
    embedded: list[dict[str, Labelled]], way: int, shot: int, source: str, queries: int, runs: int, seed: int
) -> dict[str, Any]:
    """The row of one kind of task, which every model meets."""
    answers = [
        [run_task(e["training split"], e[source], way, shot, queries, (seed, way, shot, run)) for run in range(runs)]
        for e in embedded
    ]
    return {"ways": way, "shots": shot, "queries_from": source, **_row(answers)}


def _row(answers: list[list[Answers]]) -> dict[str, Any]:
    """Of one kind of task: the model's accuracies, and the comparison with the other model if there is one."""
    accuracies = [task.accuracy for task in answers[0]]
    row: dict[str, Any] = {**summary(accuracies), "accuracies": accuracies}
    if len(answers) == 2:
        own, other = answers
        truth = [task.truth for task in own]
        row["against"] = paired_runs(truth, [task.predicted for task in other], [task.predicted for task in own])
    return row


def eligible(
    support: NDArray[np.int64], query: NDArray[np.int64], shots: int, queries: int, same: bool
) -> NDArray[np.int64]:
    """Classes with enough objects for a task; `same` says that support and queries come from the same objects."""
    classes = np.unique(support)
    in_support = np.array([np.sum(support == label) for label in classes])
    in_query = np.array([np.sum(query == label) for label in classes])
    enough = (in_support >= shots + queries) if same else (in_support >= shots) & (in_query >= queries)
    chosen: NDArray[np.int64] = classes[enough]
    return chosen


def run_task(support: Labelled, query: Labelled, ways: int, shots: int, queries: int, seed: Sequence[int]) -> Answers:
    """Draw one task and answer it.

    Args:
        support: Objects to learn from.
        query: Objects to recognise; the same instance as `support` to draw both from it, without overlap.
        ways: Number of classes.
        shots: Support objects per class.
        queries: Query objects per class.
        seed: Of the draw.
    """
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    same = query is support
    rng = np.random.default_rng(seed)
    classes = rng.choice(eligible(support.labels, query.labels, shots, queries, same), ways, replace=False)
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
    return Answers(query.labels[test], predicted)
