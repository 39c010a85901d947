"""Compares the linear-SVM accuracy of two encoders on the same clouds."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.data.frames import Up
from crosspoint.data.splits import stratified
from crosspoint.eval.metrics import linear
from crosspoint.eval.metrics.statistics import Paired, paired
from crosspoint.parity.task import SvmTask
from crosspoint.parity.user_clouds import UserClouds, real_clouds
from crosspoint.runtime.encoder import Encoder

BATCH = 32
INNER = 1 / 3  # share of the training part that int8's search is judged on
Floats = NDArray[np.float32]


def verification_clouds(
    folder: Path, points: int, *, limit: int | None, seed: int = 0, up: Up | None = None
) -> UserClouds:
    """Labelled clouds; those of the training part come first.

    Args:
        folder: A data set in ModelNet40's, ScanObjectNN's or ShapeNetPart's format.
        points: Points per cloud.
        limit: Largest number of clouds, balanced over the classes; None: all.
        seed: Random seed of the choice and, if there is no test split, of the held-out part.
        up: The axis that points up in the files; None for y, as in the published sets.

    Raises:
        InputError: It cannot be read, or has too few labelled clouds for an SVM.
    """
    if not folder.exists():
        raise InputError(f"{folder} does not exist; give --verify-data a labelled dataset")
    probe = real_clouds(folder, points, limit=limit, seed=seed, up=up)
    if probe.labels is None:
        raise InputError(f"--verify-data {folder} cannot be used for an SVM ({probe.source}); give labelled clouds")
    return probe


def require_objects(count: int, data: Path, *, max_drop: float) -> None:
    """Raise InputError if one of `count` test objects is worth more than `max_drop` percentage points.

    A loss within the limit could then not be told from none. A limit of 0 allows no object to be lost.
    """
    if max_drop <= 0 or 100 / max(count, 1) <= max_drop + 1e-9:
        return
    raise InputError(
        f"{data} gives {count} test objects, one of which is worth {100 / max(count, 1):.2f} points, more than "
        f"--max-drop {max_drop:g}; give data with at least {math.ceil(100 / max_drop)} test objects, a larger "
        "--max-drop, or --calibrate instead of --verify-data"
    )


def inner_accuracy(features: Floats, probe: UserClouds, *, seed: int = 0) -> "SvmAccuracy | None":
    """Accuracy on a third of the training part, by SVMs that are fitted to the rest of it.

    What is chosen by it has not seen the test part.

    Args:
        features: Features of the reference `(n, D)` for all clouds of the probe.
        probe: Labelled clouds.
        seed: Random seed of the third.

    Returns:
        None if the training part is too small to be divided.
    """
    assert probe.labels is not None
    labels = probe.labels[: probe.train]
    try:
        fitted, held = stratified(labels, INNER, seed=seed)
    except InputError:
        return None
    if np.unique(labels[fitted], return_counts=True)[1].min() < 2:
        return None
    rows = np.concatenate([fitted, held])
    source = f"{probe.source}, a third of the training part"
    return SvmAccuracy(
        features[rows], replace(probe, points=probe.points[rows], labels=labels[rows], train=len(fitted), source=source)
    )


class SvmAccuracy:
    """Accuracy and predictions of the reference, computed once; C is chosen by cross-validation on its features.

    Args:
        features: Features of the reference `(n, D)` for all clouds of the probe.
        probe: Labelled clouds.
        seed: Random seed of the folds.
    """

    measure = "SVM accuracy"

    def __init__(self, features: Floats, probe: UserClouds, *, seed: int = 0) -> None:
        assert probe.labels is not None
        self._probe = probe
        self._train, self._test = slice(0, probe.train), slice(probe.train, None)
        self._labels: NDArray[np.int64] = probe.labels
        known = features[self._train], self._labels[self._train]
        products = linear.gram(known[0])
        self.c, _ = linear.choose_c(*known, products=products, seed=seed)
        self._predicted = linear.fit(*known, c=self.c, products=products).predict(features[self._test])

    def compare(self, encoder: Encoder) -> SvmTask:
        """Both accuracies and the paired comparison of predictions, for a manifest."""
        paired = self.compare_features(
            embed(encoder, self._probe.points, batch=BATCH, description="Measuring accuracy")
        )
        return SvmTask(self.measure, self._probe.source, self._probe.train, self.c, paired, self._probe.frame)

    def compare_features(self, features: Floats) -> Paired:
        """The paired comparison of predictions, from features `(n, D)` of all clouds of the probe."""
        classifier = linear.fit(features[self._train], self._labels[self._train], c=self.c)
        return paired(self._labels[self._test], self._predicted, second=classifier.predict(features[self._test]))


def embed(encoder: Encoder, clouds: Floats, *, batch: int, description: str) -> Floats:
    """Embeddings `(n, D)` of normalised clouds `(n, N, 3)`, in calls of `batch`."""
    starts = track(range(0, len(clouds), batch), description)
    return np.concatenate([encoder.embed(clouds[start : start + batch]) for start in starts])
