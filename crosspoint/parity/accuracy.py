"""Task parity of encoders: linear-SVM accuracy of the reference and of a candidate on the same clouds."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.eval.metrics import linear
from crosspoint.eval.metrics.statistics import paired
from crosspoint.parity.user_clouds import UserClouds, real_clouds
from crosspoint.runtime.encoder import Encoder

BATCH = 32
Floats = NDArray[np.float32]


def verification_clouds(folder: Path, points: int, *, limit: int | None, seed: int = 0) -> UserClouds:
    """Labelled clouds, those of the training part first.

    Args:
        folder: A dataset in ModelNet40's, ScanObjectNN's or ShapeNetPart's format.
        points: Of a cloud.
        limit: At most this many clouds, classes in balance; None for all.
        seed: Of the choice, and of the held-out part where there is no test split.

    Raises:
        InputError: It cannot be read, or has too few labelled clouds for an SVM.
    """
    if not folder.exists():
        raise InputError(f"{folder} does not exist; give --verify-data a labelled dataset")
    probe = real_clouds(folder, points, limit=limit, seed=seed)
    if probe.labels is None:
        raise InputError(f"--verify-data {folder} cannot be used for an SVM ({probe.source}); give labelled clouds")
    return probe


class Accuracy:
    """The reference's side, computed once: C by cross-validation on its features, and its predictions.

    Args:
        features: Of the reference `(n, D)`, of all clouds of the probe.
        probe: Labelled clouds.
        seed: Of the folds.
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

    def compare(self, encoder: Encoder) -> dict[str, Any]:
        """Both accuracies and the paired comparison of predictions, for a manifest."""
        features = embed(encoder, self._probe.points, batch=BATCH, description="Measuring accuracy")
        about = {"measure": self.measure, "source": self._probe.source}
        return {**about, "training_clouds": self._probe.train, "C": self.c, **self.compare_features(features)}

    def compare_features(self, features: Floats) -> dict[str, Any]:
        """The same from features `(n, D)` (`crosspoint.eval.metrics.statistics.paired`)."""
        classifier = linear.fit(features[self._train], self._labels[self._train], c=self.c)
        return vars(paired(self._labels[self._test], self._predicted, second=classifier.predict(features[self._test])))


def embed(encoder: Encoder, clouds: Floats, *, batch: int, description: str) -> Floats:
    """Embeddings `(n, D)` of normalised clouds `(n, N, 3)`, in calls of `batch`."""
    starts = track(range(0, len(clouds), batch), description)
    return np.concatenate([encoder.embed(clouds[start : start + batch]) for start in starts])
