"""The recipe of RFS, without torch, so that a result can be read where there is none."""

from collections.abc import Sequence
from dataclasses import dataclass

from crosspoint.core.errors import InputError
from crosspoint.train.pretrain.recipes import check_values, choose_recipe


@dataclass(frozen=True)
class RFSRecipe:
    """What decides the outcome; the defaults are the published ones for CIFAR-FS.

    Attributes:
        size: Height and width of the pictures.
        epochs: Passes over the base classes.
        batch: Pictures in a step.
        learning_rate: Of SGD, before it decays.
        momentum: Of SGD.
        weight_decay: Of SGD.
        seed: Of the weights, the order and the augmentations.
        name: Of the recipe.
    """

    size: int = 32
    epochs: int = 90
    batch: int = 64
    learning_rate: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    seed: int = 0
    name: str = "rfs"

    def __post_init__(self) -> None:
        """Refuse values that no run can have.

        Raises:
            InputError: Names the field, what it was and what it may be.
        """
        for field in ("size", "batch", "learning_rate"):
            if not getattr(self, field) > 0:
                raise InputError(f"{field}={getattr(self, field)} must be positive")
        for field in ("epochs", "momentum", "weight_decay", "seed"):
            if not getattr(self, field) >= 0:
                raise InputError(f"{field}={getattr(self, field)} must not be negative")
        check_values(self)


def make_rfs_recipe(overrides: Sequence[str]) -> RFSRecipe:
    """The published recipe with `key=value` overrides.

    Raises:
        InputError: A key is unknown or a value does not fit.
    """
    return choose_recipe({"rfs": RFSRecipe}, "rfs", overrides)
