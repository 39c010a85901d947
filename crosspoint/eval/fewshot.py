"""Few-shot classification of frozen features (CrossPoint, table 2; the protocol of Sharma and Kaul, 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.console import track
from crosspoint.data.datasets import load_classification
from crosspoint.errors import InputError
from crosspoint.eval.features import check_seed, check_stored, describe_model, embed_clouds
from crosspoint.eval.statistics import summary


@dataclass(frozen=True)
class Labelled:
    """Embeddings `(n, D)` with their labels `(n,)`."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]


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

    Returns:
        JSON-serialisable; `tasks` has a row for each pair and source of queries.

    Raises:
        InputError: The model or the data cannot be used, or too few classes have that many objects.
    """
    from crosspoint.runtime.load import load_encoder

    check_seed(seed)
    if not (ways and shots) or min(*ways, *shots, queries, runs) < 1 or min(ways) < 2:
        raise InputError("a few-shot task needs at least 2 ways, 1 shot, 1 query and 1 run; give larger numbers")
    with load_encoder(model, device, backend) as encoder:
        encoder.specification.check_points(points)
        whole = load_classification(data, None)
        sources = {"training split": whole.train} | ({} if whole.test is None else {"test split": whole.test})
        settings = [(way, shot, source) for source in sources for way in ways for shot in shots]
        for clouds in sources.values():
            check_stored(data, clouds.points, points)
            same = clouds is whole.train
            found = len(eligible(whole.train.labels, clouds.labels, max(shots), queries, same))
            if found < max(ways):
                raise InputError(
                    f"only {found} classes of {data} have {max(shots)} support and {queries} query objects, "
                    f"{max(ways)} are needed; lower --ways, --shots or --queries"
                )
        embedded = {
            source: Labelled(embed_clouds(encoder, clouds.points[:, :points], f"Embedding, {source}"), clouds.labels)
            for source, clouds in sources.items()
        }
        description = describe_model(encoder)
    rows = []
    for way, shot, source in track(settings, "Few-shot tasks"):
        accuracies = [
            run_task(embedded["training split"], embedded[source], way, shot, queries, (seed, way, shot, run))
            for run in range(runs)
        ]
        row = {"ways": way, "shots": shot, "queries_from": source, **summary(accuracies), "accuracies": accuracies}
        rows.append(row)
    about = {"path": str(data), "format": whole.name, "points": points, "seed": seed}
    return {"model": description, "data": about, "queries": queries, "runs": runs, "tasks": rows}


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


def run_task(support: Labelled, query: Labelled, ways: int, shots: int, queries: int, seed: Sequence[int]) -> float:
    """Draw one task and return its accuracy.

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
    machine = SVC(kernel="linear", C=1.0).fit(scaler.transform(support.features[train]), support.labels[train])
    predicted = machine.predict(scaler.transform(query.features[test]))
    return float(np.mean(predicted == query.labels[test]))
