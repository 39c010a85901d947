"""Training and selection data of part segmentation, and the augmentation of clouds."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from crosspoint.core.errors import InputError
from crosspoint.data.sets.datasets import PartClouds, PartSet, Taxonomy, load_parts
from crosspoint.data.splits import stratified
from crosspoint.train.partseg.recipes import PartSegRecipe
from crosspoint.train.pretrain.augment import SampleRng, normalise


@dataclass(frozen=True)
class PartData:
    """A part-segmentation set, divided as a recipe says.

    Attributes:
        taxonomy: Names of categories and parts.
        train: Training clouds, with all stored points.
        selection: Clouds that select the best epoch; None: the last epoch is the result.
        selected_on: Where `selection` comes from, in words.
    """

    taxonomy: Taxonomy
    train: PartClouds
    selection: PartClouds | None
    selected_on: str

    def fingerprint(self) -> str:
        """SHA-256 of the taxonomy, the training clouds and the selection clouds."""
        digest = hashlib.sha256(json.dumps(asdict(self.taxonomy)).encode())
        for clouds in (self.train, self.selection):
            for array in () if clouds is None else (clouds.points, clouds.labels, clouds.parts):
                digest.update(f"{array.dtype.str}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def load_part_data(data: Path, recipe: PartSegRecipe) -> PartData:
    """Read a set in ShapeNetPart's format and divide it as `recipe.selection` says.

    Raises:
        InputError: The set cannot be read, its clouds have too few points, or no part can be held out.
    """
    whole = load_parts(data, None)
    stored = whole.train.points.shape[1]
    if stored < recipe.points:
        raise InputError(f"{data} stores {stored} points per cloud, {recipe.points} were asked for; --set points=")
    if recipe.selection == "val":
        return _with_validation(whole, recipe)
    train = whole.train if whole.val is None else _join(whole.train, whole.val)
    if recipe.selection == "test":
        return PartData(whole.taxonomy, train, whole.test, "the test split, as in the official code")
    return PartData(whole.taxonomy, train, None, "nothing: the last epoch is the result")


def _with_validation(whole: PartSet, recipe: PartSegRecipe) -> PartData:
    if whole.val is not None:
        return PartData(whole.taxonomy, whole.train, whole.val, "the validation split")
    try:
        train, held_out = stratified(whole.train.labels, recipe.held_out, seed=recipe.seed)
    except InputError as error:
        raise InputError(f"{error}, or take the last epoch: --set selection=last") from error
    source = (
        f"{recipe.held_out:.0%} of the training split, stratified, seed {recipe.seed} (there is no validation split)"
    )
    return PartData(whole.taxonomy, _take(whole.train, train), _take(whole.train, held_out), source)


def _take(clouds: PartClouds, rows: NDArray[np.int64]) -> PartClouds:
    return PartClouds(clouds.points[rows], clouds.labels[rows], clouds.parts[rows])


def _join(one: PartClouds, two: PartClouds) -> PartClouds:
    pairs = ((getattr(one, name), getattr(two, name)) for name in ("points", "labels", "parts"))
    return PartClouds(*(np.concatenate(pair) for pair in pairs))


def augment_parts(points: Tensor, parts: Tensor, *, recipe: PartSegRecipe, rng: SampleRng) -> tuple[Tensor, Tensor]:
    """Draw points in random order, normalise, stretch along each axis and shift; labels follow.

    Args:
        points: `(B, M, 3)`, as stored.
        parts: `(B, M)`.
        recipe: Number of points N, and ranges of the augmentation.
        rng: Random generator on the device of `points`.

    Returns:
        `(B, N, 3)` and `(B, N)`.
    """
    if not recipe.resample:
        points, parts = points[:, : recipe.points], parts[:, : recipe.points]
    batch, stored = parts.shape
    order = rng.uniform(batch, stored).argsort(dim=1)[:, : recipe.points]  # (B, N)
    x = normalise(points.gather(1, order.unsqueeze(2).expand(-1, -1, 3)))
    x = x * rng.uniform(batch, 1, 3, low=1 / recipe.stretch, high=recipe.stretch)
    x = x + rng.uniform(batch, 1, 3, low=-recipe.shift, high=recipe.shift)
    return x, parts.gather(1, order)
