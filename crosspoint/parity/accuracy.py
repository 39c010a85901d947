"""Task parity of encoders: linear-SVM accuracy of the trained network and of a candidate on the same clouds."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.eval.metrics import linear
from crosspoint.eval.metrics.statistics import paired
from crosspoint.parity.user_clouds import UserClouds, real_clouds
from crosspoint.runtime.encoder import Encoder

BATCH = 32
Floats = NDArray[np.float32]


def verification_clouds(folder: Path, points: int, limit: int | None, seed: int = 0) -> UserClouds:
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
    probe = real_clouds(folder, points, limit, seed)
    if probe.labels is None:
        raise InputError(f"--verify-data {folder} cannot be used for an SVM ({probe.source}); give labelled clouds")
    return probe


class Accuracy:
    """The trained network's side, computed once: C by cross-validation on its features, and its predictions.

    Args:
        network: The trained network.
        probe: From `verification_clouds`.
        seed: Of the folds.
    """

    measure = "SVM accuracy"

    def __init__(self, network: nn.Module, probe: UserClouds, seed: int = 0) -> None:
        assert probe.labels is not None
        self._probe = probe
        self._train, self._test = slice(0, probe.train), slice(probe.train, None)
        self._labels: NDArray[np.int64] = probe.labels
        features = _embed_network(network, probe.points)
        known = features[self._train], self._labels[self._train]
        products = linear.gram(known[0])
        self._c, _ = linear.choose_c(*known, products, seed)
        self._predicted = linear.fit(*known, self._c, products).predict(features[self._test])

    def compare(self, encoder: Encoder) -> dict[str, Any]:
        """Both accuracies and the paired comparison of predictions (`crosspoint.eval.metrics.statistics.paired`)."""
        clouds = self._probe.points
        starts = track(range(0, len(clouds), BATCH), "Measuring accuracy")
        features = np.concatenate([encoder.embed(clouds[start : start + BATCH]) for start in starts])
        machine = linear.fit(features[self._train], self._labels[self._train], self._c)
        compared = paired(self._labels[self._test], self._predicted, machine.predict(features[self._test]))
        about = {"measure": self.measure, "source": self._probe.source}
        return {**about, "training_clouds": self._probe.train, "C": self._c, **vars(compared)}


def _embed_network(network: nn.Module, clouds: Floats) -> Floats:
    starts = track(range(0, len(clouds), BATCH), "Embedding with the trained network")
    with torch.inference_mode():
        pieces = [network(torch.from_numpy(clouds[start : start + BATCH])).numpy() for start in starts]
    return np.concatenate(pieces)
