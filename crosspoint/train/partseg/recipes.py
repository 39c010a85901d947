"""Recipes of part segmentation: everything that decides the outcome of a fine-tuning run."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from crosspoint.core.errors import InputError
from crosspoint.train.pretrain.recipes import Values, check_values

CHOICES: dict[str, tuple[str, ...]] = {"selection": ("val", "test", "last"), "precision": ("fp32", "bf16")}


@dataclass(frozen=True)
class PartSegRecipe:
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
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                given = str(getattr(self, field))[:40]
                raise InputError(f"{field}={given!r} is not one of {', '.join(allowed)}")
        for field, least in [("k", 1), ("points", 2), ("batch", 2), ("epochs", 1), ("stretch", 1), ("seed", 0)]:
            if not getattr(self, field) >= least:
                raise InputError(f"{field}={getattr(self, field)} is too small; it must be at least {least}")
        for field in ("shift", "final_learning_rate", "weight_decay"):
            if not getattr(self, field) >= 0:
                raise InputError(f"{field}={getattr(self, field)} must not be negative")
        for field, below in [("label_smoothing", 0.5), ("momentum", 1.0)]:
            if not 0 <= getattr(self, field) < below:
                raise InputError(f"{field}={getattr(self, field)} must lie in [0, {below:g})")
        if not self.learning_rate > 0:
            raise InputError(f"learning_rate={self.learning_rate} must be positive")
        if not 0 < self.held_out < 1:
            raise InputError(f"held_out={self.held_out} must lie between 0 and 1")
        if self.points < self.k:
            raise InputError(f"points={self.points} is fewer than k={self.k} neighbours; raise points or lower k")
        check_values(self)

    def as_dict(self) -> Values:
        """The fields by name, JSON-serialisable."""
        return dataclasses.asdict(self)


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
