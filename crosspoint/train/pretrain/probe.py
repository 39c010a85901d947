"""A linear probe during training: how well do the embeddings separate classes that the training does not use?"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from crosspoint.core.errors import InputError
from crosspoint.data.points import normalise
from crosspoint.data.sets.datasets import Clouds, load_classification
from crosspoint.data.splits import HELD_OUT, balanced, stratified, take
from crosspoint.eval.metrics import linear
from crosspoint.eval.metrics.linear import AS_STORED, OFFICIAL_C
from crosspoint.train.pretrain.recipes import Recipe

FITTED, TESTED = 2000, 1000  # most objects, so that a probe takes a small part of an epoch
RELATIVE_C = 10.0  # C times the variance of the features, so that their scale does not matter
BATCH = 32


class LinearProbe:
    """Linear-SVM accuracy of the current encoder on labelled *training* data.

    A stratified fifth of the training split is held out with the recipe's seed. At most `FITTED` objects train the
    classifier, and at most `TESTED` are predicted. The recipe `official` uses the whole training split, the whole test
    split and the published C instead, and keeps the encoders of the epoch that this prefers.

    Attributes:
        on_test_split: Whether the test split is measured.

    Args:
        data: A folder in ModelNet40's or ScanObjectNN's format.
        every: Epochs between two probes.
        recipe: The recipe of the run: number of points, seed, and whether it is `official`.

    Raises:
        InputError: The data cannot be read or its clouds have too few points.
    """

    def __init__(self, data: Path, every: int, *, recipe: Recipe) -> None:
        if every < 1:
            raise InputError(f"--probe-every is {every}; give at least 1 epoch")
        self.every, self.epochs = every, recipe.epochs
        whole = load_classification(data, recipe.points)
        self.c: float | None = None
        self.on_test_split = recipe.name == "official"
        self.as_stored = self.on_test_split and whole.name in AS_STORED
        if self.on_test_split:
            if whole.test is None:
                raise InputError(f"{data} has no test split, which the recipe official probes; choose another recipe")
            self.c = OFFICIAL_C[whole.name]
            self.fitted, self.tested = whole.train, whole.test
            return
        train, held_out = stratified(whole.train.labels, HELD_OUT, seed=recipe.seed)
        self.fitted = _some(take(whole.train, train), FITTED, recipe.seed)
        self.tested = _some(take(whole.train, held_out), TESTED, recipe.seed)

    def due(self, epochs: float) -> bool:
        """Whether to probe after this number of epochs; also before the first and after the last."""
        return epochs % self.every == 0 or epochs == self.epochs

    def accuracy(self, encoder: nn.Module) -> float:
        """Share of the held-out objects that are classified correctly. The encoder is not changed."""
        training = encoder.training
        encoder.eval()
        prepare = np.asarray if self.as_stored else normalise
        fitted, tested = (_embed(encoder, prepare(part.points)) for part in (self.fitted, self.tested))
        encoder.train(training)
        variance = float(np.square(fitted - fitted.mean(axis=0)).sum(axis=1).mean())
        if not variance > 0:
            return float(np.mean(self.tested.labels == np.bincount(self.fitted.labels).argmax()))
        c = RELATIVE_C / variance if self.c is None else self.c
        predicted = linear.fit(fitted, self.fitted.labels, c=c).predict(tested)
        return float(np.mean(predicted == self.tested.labels))


def _some(clouds: Clouds, count: int, seed: int) -> Clouds:
    return take(clouds, balanced(clouds.labels, count, seed=seed))


@torch.no_grad()
def _embed(encoder: nn.Module, clouds: NDArray[np.float32]) -> NDArray[np.float64]:
    """Embeddings `(n, D)` of clouds `(n, N, 3)`, taken as they are."""
    own = next(encoder.parameters())
    pieces = []
    for start in range(0, len(clouds), BATCH):
        points = torch.from_numpy(clouds[start : start + BATCH]).to(own.device, own.dtype)
        pieces.append(encoder(points).double().cpu().numpy())
    return np.concatenate(pieces)
