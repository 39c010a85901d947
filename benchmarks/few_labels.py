"""Classifiers from a few labels, beside eight lines of scikit-learn on the same draws of labels.

    crosspoint embed dgcnn objects/ --up y --points 1024 --draws 4 --out four.npz
    crosspoint embed dgcnn objects/ --up y --points 1024 --out one.npz
    python benchmarks few_labels four.npz one.npz four.npz [--classes Bed,Car,Mug] [--labels 5] [--draws 10]

The first folder of a name is its class. A draw labels some objects of each class; `fit` sees their embeddings in the
first file, the mean of four draws of points. All other objects of these classes are tested as they are in each of the
other files; objects of other classes are strangers. The eight lines are `StandardScaler` and `SVC(kernel="linear")` on
the labelled objects as they are in the second file, one draw of points.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from results import Series, add_json, write
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from crosspoint.classify.fitted import fit_objects
from crosspoint.core.errors import InputError
from crosspoint.eval.metrics.calibration import calibration_error
from crosspoint.runtime.classifier import softmax
from crosspoint.runtime.jobs.embeddings import load

Floats = NDArray[np.float32]
MEASURED = (
    "eight lines",
    "fit",
    "expected by fit",
    "calibration error before",
    "calibration error after",
    "known refused",
    "strangers caught",
    "strangers caught by probability alone",
)


def read(path: Path) -> dict[str, Floats]:
    """Embeddings by name, without suffixes: single views have another than the meshes."""
    embeddings = load(path)
    return {
        str(Path(name).with_suffix("")): row for name, row in zip(embeddings.names, embeddings.vectors, strict=True)
    }


def draw(labels: NDArray[np.int64], count: int, seed: int) -> NDArray[np.bool_]:
    """True for `count` objects of each class."""
    rng, chosen = np.random.default_rng(seed), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        chosen[rng.permutation(np.flatnonzero(labels == label))[:count]] = True
    return chosen


def measure(
    whole: Floats, tested: Sequence[Floats], *, labels: NDArray[np.int64], count: int, seed: int
) -> list[tuple[float, ...]]:
    """`MEASURED` on one draw for each tested file; embeddings `(n, D)`, labels `(n,)` with −1 for strangers."""
    known, strangers = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
    chosen = draw(labels[known], count, seed)
    train, test = known[chosen], known[~chosen]
    truth = labels[test]
    simple = make_pipeline(StandardScaler(), SVC(kernel="linear", C=1)).fit(tested[0][train], labels[train])
    fitted = fit_objects(whole[train][:, None], labels[train])
    held_out = fitted.probabilities.max(axis=2).ravel()
    rows = []
    for features in tested:
        decisions = fitted.head.decide(features)
        scores = softmax(decisions / fitted.calibration.temperature)
        novelty = fitted.novelty.measure(fitted.head.standardise(features), scores)
        unknown = novelty > fitted.unknown.novelty
        doubtful = scores.max(axis=1) < np.quantile(held_out, fitted.unknown.asked)
        rows.append(
            (
                float(simple.score(features[test], truth)),
                float((scores[test].argmax(axis=1) == truth).mean()),
                fitted.accuracy,
                calibration_error(softmax(decisions[test]), truth),
                calibration_error(scores[test], truth),
                float(unknown[test].mean()),
                float(unknown[strangers].mean()) if len(strangers) else float("nan"),
                float(doubtful[strangers].mean()) if len(strangers) else float("nan"),
            )
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("whole", type=Path)
    parser.add_argument("tested", type=Path, nargs="+")
    parser.add_argument("--classes", help="comma-separated; objects of others are strangers; default: all")
    parser.add_argument("--labels", type=int, default=5, help="labelled objects of each class")
    parser.add_argument("--draws", type=int, default=10, help="draws of labels")
    add_json(parser)
    options = parser.parse_args()
    files = [read(path) for path in (options.whole, *options.tested)]
    names = sorted(set.intersection(*(set(file) for file in files)))
    if not names:
        raise InputError(f"{options.whole} and the others have no names in common; embed the same objects")
    given = [name.partition("/")[0] for name in names]
    classes = options.classes.split(",") if options.classes else sorted(set(given))
    labels = np.array([classes.index(label) if label in classes else -1 for label in given])
    whole, *tested = (np.stack([file[name] for name in names]) for file in files)
    rows = [measure(whole, tested, labels=labels, count=options.labels, seed=seed) for seed in range(options.draws)]
    found = np.array(rows).transpose(1, 2, 0)  # (files, quantities, draws)
    print(f"{len(classes)} classes, {options.labels} labels each, {options.draws} draws")
    series = []
    for path, values in zip(options.tested, found, strict=True):
        for name, each in zip(MEASURED, values, strict=True):
            series.append(Series(f"{path.stem}: {name}", "share", tuple(each)))
            print(f"{path.stem:12} {name:38} {each.mean():.3f} ± {each.std(ddof=1):.3f}")
    write("few_labels", options, series)
