"""Recipes of part segmentation: everything that decides the outcome of a fine-tuning run."""

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
        name: The recipe that the fields started from.
        k: Neighbours of every point in the graphs.
        points: Points of a cloud.
        resample: Whether a step draws its points at random from those stored; else it takes the first ones. In either
            case they come in random order.
        stretch: Each axis is scaled by a factor of its own, U(1/stretch, stretch); 1 for none.
        shift: Each cloud is moved by U(−shift, shift) along each axis, in units of its radius; 0 for none.
        label_smoothing: ε, the share of the target that the wrong parts have among them.
        batch: Objects in a step, over all processes.
        epochs: Passes over the data.
        learning_rate: Of SGD in the first epoch.
        final_learning_rate: Where the cosine ends.
        momentum: Of SGD.
        weight_decay: Of SGD.
        selection: Whose instance mIoU decides which epoch is the result: `val`, the set's validation split or else a
            part of the training split; `test`, as in the official code; `last`, nobody's: the last epoch is the result.
        held_out: Share of each category's training objects held out where `val` needs it.
        restrict: Whether epochs are compared by the most likely part among the category's own, or among all parts.
        precision: `fp32`, or `bf16` for products; distances, statistics and the loss stay float32.
        seed: Of everything drawn at random.
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
        """Refuse values that no run can have.

        Raises:
            InputError: Names the field, what it was and what it may be.
        """
        super().__post_init__()
        check_neighbours(self.points, self.k)


def clean() -> PartSegRecipe:
    """The published schedule with DGCNN's augmentation; the best epoch by validation; no test label is ever seen."""
    return PartSegRecipe("clean")


def official() -> PartSegRecipe:
    """What the official code does: points shuffled and nothing else, and the best epoch by *test* objects."""
    return PartSegRecipe("official", resample=False, stretch=1.0, shift=0.0, selection="test", restrict=False)


def quick() -> PartSegRecipe:
    """A small run for a CPU: fewer points, neighbours and epochs."""
    return PartSegRecipe("quick", k=20, points=512, epochs=20)


RECIPES: dict[str, Callable[[], PartSegRecipe]] = {"clean": clean, "official": official, "quick": quick}
