"""Recipes of part segmentation: all settings that decide the result of a fine-tuning run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from crosspoint.train.engine.recipes import BELOW_ONE, POSITIVE, BaseRecipe, Range, at_least, check_neighbours

CHOICES: dict[str, tuple[str, ...]] = {"selection": ("val", "test", "last"), "precision": ("fp32", "bf16")}
RANGES = {
    "k": at_least(1),
    "points": at_least(2),
    "stretch": at_least(1),
    "shift": at_least(0),
    "label_smoothing": Range("lie in [0, 0.5)", lambda value: 0 <= value < 0.5),
    "batch": at_least(2),
    "epochs": at_least(1),
    "learning_rate": POSITIVE,
    "final_learning_rate": at_least(0),
    "momentum": BELOW_ONE,
    "weight_decay": at_least(0),
    "held_out": Range("lie between 0 and 1", lambda value: 0 < value < 1),
    "seed": at_least(0),
}


@dataclass(frozen=True)
class PartSegRecipe(BaseRecipe):
    """A recipe of part segmentation; the defaults are the published schedule.

    Attributes:
        name: Name of the recipe whose values the other fields started from.
        k: Number of neighbours of every point.
        points: Points per cloud.
        resample: Whether each step draws its points at random from those stored; else it takes the first ones. The
            order is random in both cases.
        stretch: Each axis is scaled by its own factor, U(1/stretch, stretch); 1: no scaling.
        shift: Each cloud is moved by U(−shift, shift) along each axis, in units of its radius; 0: no shift.
        label_smoothing: ε, the target probability that all wrong parts share.
        batch: Objects per step, over all processes.
        epochs: Passes over the data.
        learning_rate: Learning rate of SGD in the first epoch.
        final_learning_rate: Learning rate at the end of the cosine schedule.
        momentum: Momentum of SGD.
        weight_decay: Weight decay of SGD.
        selection: Clouds whose instance mIoU selects the epoch that is the result: `val`, the validation split or else
            a part of the training split; `test`, as in the official code; `last`: the last epoch is the result.
        held_out: Share of each category's training objects that is held out for `val` if there is no validation split.
        restrict: Whether epochs are compared on the most likely part of the object's category, or of all parts.
        precision: `fp32`, or `bf16` for matrix products; distances, statistics and the loss stay float32.
        seed: Random seed.
    """

    choices: ClassVar = CHOICES
    ranges: ClassVar = RANGES

    name: str
    k: int = 40
    points: int = 2048
    resample: bool = True
    stretch: float = 1.5
    shift: float = 0.2
    label_smoothing: float = 0.2
    batch: int = 8
    epochs: int = 300
    learning_rate: float = 0.1
    final_learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    selection: str = "val"
    held_out: float = 0.1
    restrict: bool = True
    precision: str = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: A value is out of range; the message names the field, its value and its range.
        """
        super().__post_init__()
        check_neighbours(self.points, self.k)


def clean() -> PartSegRecipe:
    """The published schedule with DGCNN's augmentation. The best epoch is selected without test labels."""
    return PartSegRecipe("clean")


def official() -> PartSegRecipe:
    """As the official code: points are only shuffled, and *test* objects select the best epoch."""
    return PartSegRecipe("official", resample=False, stretch=1.0, shift=0.0, selection="test", restrict=False)


def quick() -> PartSegRecipe:
    """A small run for a CPU, with fewer points, neighbours and epochs."""
    return PartSegRecipe("quick", k=20, points=512, epochs=20)


RECIPES: dict[str, Callable[[], PartSegRecipe]] = {"clean": clean, "official": official, "quick": quick}
