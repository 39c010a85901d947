"""The recipe of RFS, without torch, so that a result can be read where there is none."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from crosspoint.train.engine.recipes import POSITIVE, BaseRecipe, at_least, choose_recipe

RANGES = {
    "size": at_least(1),
    "epochs": at_least(0),
    "batch": at_least(1),
    "learning_rate": POSITIVE,
    "momentum": at_least(0),
    "weight_decay": at_least(0),
    "seed": at_least(0),
}


@dataclass(frozen=True)
class RFSRecipe(BaseRecipe):
    """Settings of RFS training; the defaults are the published ones for CIFAR-FS.

    Attributes:
        size: Height and width of the pictures, in pixels.
        epochs: Passes over the base classes.
        batch: Pictures per step.
        learning_rate: Learning rate of SGD at the beginning.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of SGD.
        seed: Random seed of the weights, the order and the augmentations.
        name: Name of the recipe.
    """

    ranges: ClassVar = RANGES

    size: int = 32
    epochs: int = 90
    batch: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    seed: int = 0
    name: str = "rfs"


def make_rfs_recipe(overrides: Sequence[str]) -> RFSRecipe:
    """The published recipe with `key=value` overrides.

    Raises:
        InputError: A key is unknown, or a value is invalid.
    """
    return choose_recipe({"rfs": RFSRecipe}, "rfs", overrides=overrides)
