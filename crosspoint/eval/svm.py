"""Linear-SVM accuracy of frozen features (CrossPoint, Tables 1 and 2), by two rules for C.

`official` is the paper's code: the first points of each cloud, `SVC(kernel="linear")`, a fixed C. `clean` chooses C by
cross-validation on the training split, and repeats over several random choices of points where more are stored.
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_folder
from crosspoint.core.plots import require_plots
from crosspoint.data.splits import Split, load_split, sample
from crosspoint.eval.features import check_seed, describe_model, embed_split, open_encoders
from crosspoint.eval.metrics import linear
from crosspoint.eval.metrics.linear import OFFICIAL_C
from crosspoint.eval.metrics.statistics import confusion, paired, per_class, summary, wilson
from crosspoint.runtime.encoder import Encoder

PICTURE = "confusion.png"

Features = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Embeddings of the training and of the test part, `(n, D)` and `(m, D)`."""


@dataclass(frozen=True)
class Measured:
    """What one model was found to be worth.

    Attributes:
        result: Both rules, JSON-serialisable.
        official: Predicted classes of the test part, `(m,)`.
        clean: Likewise; of the first choice of points.
        counts: Confusion of `clean`, over all choices of points.
    """

    result: dict[str, Any]
    official: NDArray[np.int64]
    clean: NDArray[np.int64]
    counts: NDArray[np.int64]


def svm(
    model: Path,
    data: Path,
    points: int = 1024,
    seed: int = 0,
    seeds: int = 3,
    device: str = "cpu",
    backend: str | None = None,
    out: Path | None = None,
    cache: Path | None = None,
    against: Path | None = None,
) -> dict[str, Any]:
    """Fit linear SVMs on a model's frozen, un-normalised embeddings and measure their accuracy.

    Args:
        model: Anything that can embed.
        data: A folder in ModelNet40's or ScanObjectNN's format.
        points: Points per cloud: the first ones for `official`, random ones for `clean` where more are stored.
        seed: Of the held-out part where there is no test split, the folds and the first choice of points.
        seeds: Choices of points in `clean` where more are stored than used.
        device: Where the model runs.
        backend: What runs it; None for the usual one.
        out: Folder for the picture `confusion.png`.
        cache: Folder in which features are kept and found again.
        against: Another model, whose predictions of the same objects are compared with the model's.

    Returns:
        JSON-serialisable; `official.accuracy` and `clean.accuracy` are fractions of one. With `against` there is
        `against`, with the paired comparison by either rule; its reference is the other model.

    Raises:
        InputError: The model or the data cannot be used, they do not fit each other, or `out` cannot be written to.
    """
    check_seed(seed)
    if seeds < 1:
        raise InputError(f"--seeds is {seeds}; give at least 1")
    if out is not None:
        check_folder(out, files=[PICTURE], inputs=[data], within=True)
        require_plots()
    with open_encoders(model, against, device, backend, points) as encoders:
        split = load_split(data, points, seed)
        measured = [_measure(encoder, split, points, seed, seeds, cache) for encoder in encoders]
    own = measured[0]
    about = {"path": str(data), **split.describe(), "points": points, "seed": seed}
    result = {"model": own.result["model"], "data": about, **own.result}
    if against is not None:
        result["against"] = _against(split, measured[1], own)
    if out is not None:
        _draw(out, result, split, own.counts)
    return result


def _measure(encoder: Encoder, split: Split, points: int, seed: int, seeds: int, cache: Path | None) -> Measured:
    start = time.perf_counter()
    features, samples = _embed(encoder, split, points, seed, seeds, cache)
    seconds = time.perf_counter() - start
    official, official_predicted = _official(features, split)
    clean, predicted = _clean(samples, split, seed)
    official_counts = confusion(split.test.labels, official_predicted, len(split.class_names))
    counts = sum(confusion(split.test.labels, run, len(split.class_names)) for run in predicted)
    assert not isinstance(counts, int)  # there is at least one run
    result = {
        "model": describe_model(encoder),
        "official": official,
        "clean": clean,
        "per_class": _rows(split, official_counts, counts),
        "confusion": counts.tolist(),
        "embedding_seconds": seconds,
    }
    return Measured(result, official_predicted, predicted[0], counts)


def _against(split: Split, reference: Measured, candidate: Measured) -> dict[str, Any]:
    """The paired comparison by either rule; C is each model's own."""
    rules = {
        "official": paired(split.test.labels, reference.official, candidate.official),
        "clean": paired(split.test.labels, reference.clean, candidate.clean),
    }
    accuracies = {rule: reference.result[rule]["accuracy"] for rule in rules}
    return {"model": reference.result["model"], "accuracy": accuracies, **rules}


def _embed(
    encoder: Encoder, split: Split, points: int, seed: int, seeds: int, cache: Path | None
) -> tuple[Features, list[Features]]:
    """Features of the first points, and those of each choice of points that `clean` averages over."""
    first = embed_split(encoder, split, lambda stored: stored[:, :points], "Embedding, first points", cache)
    if all(part.points.shape[1] == points for part in (split.train, split.test)):
        return first, [first]
    samples = []
    for run in range(seeds):
        draw = partial(sample, points=points, seed=seed + run)
        samples.append(embed_split(encoder, split, draw, f"Embedding, sample {run + 1} of {seeds}", cache))
    return first, samples


def _official(features: Features, split: Split) -> tuple[dict[str, Any], NDArray[np.int64]]:
    from sklearn.svm import SVC

    c = OFFICIAL_C[split.name]
    if len(np.unique(split.train.labels)) < 2:
        raise InputError("a linear SVM needs objects of at least two classes; check the labels of the training split")
    for _ in track(("official",), "Official SVM"):
        start = time.perf_counter()
        classifier = SVC(kernel="linear", C=c).fit(features[0], split.train.labels)
        predicted = classifier.predict(features[1]).astype(np.int64)
        seconds = time.perf_counter() - start
    counts = confusion(split.test.labels, predicted, len(split.class_names))
    rule = f"SVC(kernel='linear', C={c}) on the first points"
    return {**_accuracy(counts, 1), "rule": rule, "C": c, "seconds": seconds}, predicted


def _clean(samples: list[Features], split: Split, seed: int) -> tuple[dict[str, Any], list[NDArray[np.int64]]]:
    """C by cross-validation for each choice of points; accuracies are averaged. Returns the predictions of each too."""
    start = time.perf_counter()
    counts = np.zeros((len(split.class_names),) * 2, np.int64)
    runs, predictions = [], []
    for run, (train, test) in enumerate(samples):
        products = linear.gram(train)
        c, tried = linear.choose_c(train, split.train.labels, products, seed + run)
        predicted = linear.fit(train, split.train.labels, c, products).predict(test)
        predictions.append(predicted)
        counts += confusion(split.test.labels, predicted, len(split.class_names))
        accuracy = float(np.mean(predicted == split.test.labels))
        runs.append({"seed": seed + run, "C": c, "accuracy": accuracy, "cross_validation": tried})
    result = {
        **_accuracy(counts, len(runs)),
        "rule": f"C by {linear.FOLDS}-fold cross-validation on the training part"
        + (f", {len(runs)} random choices of points" if len(runs) > 1 else ""),
        "std": summary([float(r["accuracy"]) for r in runs])["std"],  # type: ignore[arg-type]
        "runs": runs,
        "seconds": time.perf_counter() - start,
    }
    return result, predictions


def _accuracy(counts: NDArray[np.int64], runs: int) -> dict[str, Any]:
    """Accuracy over all objects, its interval for the objects of one run, and the mean over classes."""
    correct, total = int(np.trace(counts)), int(counts.sum())
    classes = [value for value in per_class(counts) if value is not None]
    return {
        "accuracy": correct / total,
        "interval": wilson(correct / runs, total // runs),
        "class_accuracy": float(np.mean(classes)),
    }


def _rows(split: Split, official: NDArray[np.int64], clean: NDArray[np.int64]) -> list[dict[str, Any]]:
    columns = zip(split.class_names, official.sum(axis=1), per_class(official), per_class(clean), strict=True)
    return [
        {"class": name, "objects": int(objects), "official": first, "clean": second}
        for name, objects, first, second in columns
    ]


def _draw(out: Path, result: dict[str, Any], split: Split, counts: NDArray[np.int64]) -> None:
    from crosspoint.eval.figures import draw_confusion

    low, high = result["clean"]["interval"]
    title = (
        f"{Path(result['model']['path']).name}: {result['clean']['accuracy']:.1%} [{low:.1%}, {high:.1%}]"
        f" of {len(split.test.labels)} objects, C by cross-validation\ntested on {split.test_from}"
    )
    draw_confusion(counts, split.class_names, title, Path(out) / PICTURE)
