"""Solvers of scikit-learn for the linear SVM of the protocols, in one process on the same features.

    python benchmarks linear_svm [--objects 2000] [--classes 40] [--dim 2048] [--rounds 3]

Features are drawn from normal distributions around class means. `SVC` is libsvm, one-vs-one: what the paper used.
`shared Gram` is `crosspoint.eval.metrics.linear`: the same dual problems on one matrix of inner products. `LinearSVC`
is liblinear: one-vs-rest, another classifier; in `OneVsOneClassifier` with the hinge loss it is the same problem but
for the regularised intercept. Rounds are interleaved; the ratio is of medians.
"""

import argparse
import statistics
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from results import Series, add_json, write
from sklearn.exceptions import ConvergenceWarning
from sklearn.multiclass import OneVsOneClassifier
from sklearn.svm import SVC, LinearSVC
from turns import in_turns

from crosspoint.eval.metrics import linear

Arrays = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]


def draw(objects: int, classes: int, dim: int, seed: int = 0) -> Arrays:
    """Features to fit `(n, D)`, their labels, and half as many to predict."""
    rng = np.random.default_rng(seed)
    labels = np.arange(objects + objects // 2) % classes
    means = 0.05 * rng.standard_normal((classes, dim))
    features = (means[labels] + 0.2 * rng.standard_normal((len(labels), dim))).astype(np.float32)
    return features[:objects], labels[:objects], features[objects:]


def solvers(c: float) -> dict[str, Callable[[Arrays], NDArray[np.int64]]]:
    liblinear = {"C": c, "dual": True, "max_iter": 5000}
    return {
        "SVC(kernel='linear')": lambda a: SVC(kernel="linear", C=c).fit(a[0], a[1]).predict(a[2]),
        "shared Gram": lambda a: linear.fit(a[0], a[1], c=c).predict(a[2]),
        "LinearSVC": lambda a: LinearSVC(**liblinear).fit(a[0], a[1]).predict(a[2]),
        "OneVsOne(LinearSVC(loss='hinge'))": lambda a: (
            OneVsOneClassifier(LinearSVC(loss="hinge", **liblinear)).fit(a[0], a[1]).predict(a[2])
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=2000)
    parser.add_argument("--classes", type=int, default=40)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--c", type=float, default=0.1)
    add_json(parser)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    arrays = draw(options.objects, options.classes, options.dim)
    solve, predicted = solvers(options.c), dict[str, NDArray[np.int64]]()

    def predict(name: str) -> None:
        predicted[name] = solve[name](arrays)

    in_ms = in_turns({name: partial(predict, name) for name in solve}, options.rounds, warm=0)
    times = {name: [spent / 1e3 for spent in each] for name, each in in_ms.items()}
    first = "SVC(kernel='linear')"
    series = [Series(name, "s", tuple(each), None if name == first else first) for name, each in times.items()]
    write("linear_svm", options, series)
    for name, seconds in times.items():
        median = statistics.median(seconds)
        ratio = statistics.median(times[first]) / median
        equal = np.mean(predicted[name] == predicted[first])
        print(f"{name:36} {median:8.2f} s   {ratio:6.2f} × libsvm   {equal:7.2%} of its predictions")
