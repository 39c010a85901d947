"""Compares the linear-SVM accuracy of two encoders on the same clouds."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.data.frames import Up
from crosspoint.eval.metrics import linear
from crosspoint.eval.metrics.statistics import Paired, paired
from crosspoint.parity.task import SvmTask
from crosspoint.parity.user_clouds import UserClouds, real_clouds
from crosspoint.runtime.encoder import Encoder

BATCH = 32
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
