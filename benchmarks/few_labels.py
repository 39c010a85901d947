"""Classifiers from a few labels, beside eight lines of scikit-learn on the same draws of labels.

    python benchmarks few_labels OBJECTS [--classes Bed,Car,Mug] [--labels 5] [--draws 10] [--features FILE.npz]

OBJECTS is a folder whose sub-folders are classes. All objects are embedded once: as four draws of points, turned about
the vertical axis, and as two single views. Each draw of labels takes some objects of each class to fit to and tests all
others of these classes; objects of other classes are strangers. The eight lines are `StandardScaler` and
`SVC(kernel="linear")` on one embedding of each labelled object.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from results import Series, add_json, write
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from crosspoint.classify.fit import DRAWS, TURNS
from crosspoint.classify.fitted import Fitted, fit_objects
from crosspoint.classify.heads import HEADS, Labels
from crosspoint.core.errors import InputError
from crosspoint.data.labelled import find_labelled
from crosspoint.data.single_views import single_views
from crosspoint.data.turns import turned
from crosspoint.eval.metrics.calibration import calibration_error
from crosspoint.runtime.classifier import softmax
from crosspoint.runtime.jobs.batches import embed_groups
from crosspoint.runtime.load import load_encoder

Features = dict[str, NDArray[np.float32]]
"""`mean` of the draws, `one` of them `(n, D)`; `turned` `(n, TURNS − 1, D)`; `views` `(n, 2, D)`; `names`."""


def embed(folder: Path, model: str, points: int) -> Features:
    """Embed all objects of a folder; the axis that points up is y, or as their formats state."""
    data = find_labelled(folder)
    find = partial(data.sources, at_most=True)
    groups = [
        find(points, seed=0, draws=DRAWS),
        find(points, seed=0),
        *(turned(find(points, seed=i), 360 * i / TURNS) for i in range(1, TURNS)),
        *(single_views(find(None, seed=0), points, seed=i) for i in range(2)),
    ]
    with load_encoder(model) as encoder:
        mean, one, *others = embed_groups(encoder, groups, batch=32)
    if bad := [skipped.file for group in (mean, one, *others) for skipped in group.skipped]:
        raise InputError(f"{bad[0]} cannot be embedded; remove it")
    rows = [group.vectors for group in others]
    faces, views = np.stack(rows[: TURNS - 1], axis=1), np.stack(rows[TURNS - 1 :], axis=1)
    return {"mean": mean.vectors, "one": one.vectors, "turned": faces, "views": views, "names": np.array(mean.names)}


def draw(labels: Labels, count: int, seed: int) -> NDArray[np.bool_]:
    """True for `count` objects of each class."""
    rng, chosen = np.random.default_rng(seed), np.zeros(len(labels), bool)
    for label in np.unique(labels):
        chosen[rng.permutation(np.flatnonzero(labels == label))[:count]] = True
    return chosen


def measure(features: Features, labels: Labels, *, count: int, head: str, seed: int) -> dict[str, float]:
    """What one draw of labels gives; labels `(n,)` with −1 for strangers."""
    known, strangers = np.flatnonzero(labels >= 0), np.flatnonzero(labels < 0)
    chosen = draw(labels[known], count, seed)
    train, test = known[chosen], known[~chosen]
    mean, one, faces, views = (features[name] for name in ("mean", "one", "turned", "views"))
    simple = make_pipeline(StandardScaler(), SVC(kernel="linear", C=1)).fit(one[train], labels[train])
    samples = {
        "--turns 1": [mean[:, None]],
        "fit": [mean[:, None], faces],
        "--views 2": [mean[:, None], faces, views],
    }
    found = dict[str, float]()
    for name, parts in samples.items():
        fitted = fit_objects(np.concatenate([part[train] for part in parts], axis=1), labels[train], head=head)
        found[f"{name}: expected accuracy"] = fitted.accuracy
        for how, tested in {"one draw": one, "mean of four draws": mean, "single view": views[:, 0]}.items():
            found[f"eight lines: accuracy, {how}"] = float(simple.score(tested[test], labels[test]))
            for what, value in _test(fitted, tested[test], labels[test], tested[strangers]).items():
                found[f"{name}: {what}, {how}"] = value
    return found


def _test(
    fitted: Fitted, tested: NDArray[np.float32], truth: Labels, strangers: NDArray[np.float32]
) -> dict[str, float]:
    decisions = fitted.head.decide(tested)
    scores = softmax(decisions / fitted.calibration.temperature)
    least = np.quantile(fitted.probabilities.max(axis=2), fitted.unknown.asked)
    found = {
        "accuracy": float((scores.argmax(axis=1) == truth).mean()),
        "calibration error before": calibration_error(softmax(decisions), truth),
        "calibration error after": calibration_error(scores, truth),
    }
    for name, group in {"known refused": tested, "strangers caught": strangers}.items():
        if len(group):
            probable = softmax(fitted.head.decide(group) / fitted.calibration.temperature)
            novelty = fitted.novelty.measure(fitted.head.standardise(group), probable)
            found[name] = float((novelty > fitted.unknown.novelty).mean())
            found[f"{name} by probability alone"] = float((probable.max(axis=1) < least).mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("objects", type=Path)
    parser.add_argument("--model", default="dgcnn")
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--classes", help="comma-separated; objects of others are strangers; default: all")
    parser.add_argument("--labels", type=int, default=5, help="labelled objects of each class")
    parser.add_argument("--draws", type=int, default=10, help="draws of labels")
    parser.add_argument("--head", default="auto", choices=("auto", *HEADS))
    parser.add_argument("--features", type=Path, help="keep the embeddings here, and read them if they are there")
    add_json(parser)
    options = parser.parse_args()
    if options.features is not None and options.features.exists():
        with np.load(options.features) as file:
            features = {name: file[name] for name in file.files}
    else:
        features = embed(options.objects, options.model, options.points)
        if options.features is not None:
            mean, one, faces, views, names = (features[name] for name in ("mean", "one", "turned", "views", "names"))
            np.savez(options.features, mean=mean, one=one, turned=faces, views=views, names=names)
    given = [str(name).partition("/")[0] for name in features["names"]]
    classes = options.classes.split(",") if options.classes else sorted(set(given))
    labels = np.array([classes.index(label) if label in classes else -1 for label in given])
    runs = [
        measure(features, labels, count=options.labels, head=options.head, seed=seed) for seed in range(options.draws)
    ]
    print(f"{len(classes)} classes, {options.labels} labels each, {options.draws} draws")
    series = [Series(name, "share", tuple(run[name] for run in runs)) for name in runs[0]]
    for each in series:
        print(f"{each.name:62} {np.mean(each.values):.3f} ± {np.std(each.values, ddof=1):.3f}")
    write("few_labels", options, series)
