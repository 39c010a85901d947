"""Recipes of pretraining: all settings that decide the result of a run, in one frozen dataclass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from crosspoint.core.errors import InputError
from crosspoint.train.engine.recipes import BELOW_ONE, POSITIVE, BaseRecipe, at_least, check_neighbours, choose_recipe

CHOICES: dict[str, tuple[Any, ...]] = {
    "backbone": ("dgcnn", "pointnet", "dgcnn_seg"),
    "image_depth": (18, 34, 50),
    "objective": ("joint", "imid", "cmid", "distil"),
    "negatives": ("global", "local"),
    "precision": ("fp32", "bf16", "fp16"),
    "schedule": ("cosine", "cosine-early", "constant"),
}
RANGES = {
    "k": at_least(1),
    "views": at_least(1),
    "temperature": POSITIVE,
    "points": at_least(2),
    "image_size": at_least(32),
    "dropout": BELOW_ONE,
    "sparse": BELOW_ONE,
    "batch": at_least(2),
    "epochs": at_least(1),
    "learning_rate": POSITIVE,
    "weight_decay": at_least(0),
}


@dataclass(frozen=True)
class Recipe(BaseRecipe):
    """A pretraining recipe.

    Attributes:
        name: Name of the recipe whose values the other fields started from.
        backbone: Point encoder: `dgcnn`, `pointnet` or `dgcnn_seg`.
        k: Number of neighbours of every point in the graphs (PointNet has none).
        image_depth: Depth of the ResNet: 18, 34 or 50.
        objective: `joint` (eq. 6), `imid` or `cmid` alone (Figure 3); `distil`: a frozen copy of the initial encoder is
            the teacher, and both views of a cloud are to be embedded as it embeds the cloud (not in the paper).
        views: Images per object and step, drawn from its renderings (Table 6).
        temperature: τ of eqs 1 and 4.
        points: Points per cloud.
        image_size: Height and width of an image, in pixels.
        elastic: Elastic distortion of the points (in the paper; not in the official code).
        dropout: Largest share of points that is replaced by the first point (in the official code; not in the paper).
        sparse: Largest share of points that is left out in a step, in half of the steps with copies of others in their
            places; for the objective `distil` (not in the paper).
        single_view: Whether the second point view shows only what a sensor on one side of the object would see of it
            (not in the paper).
        crop: Random crops of the images (in the paper; not in the official code).
        batch: Objects per step, over all processes.
        negatives: `global`: the whole batch gives negatives; `local`: only the part in the same process.
        precision: `fp32`, or `bf16` or `fp16` for matrix products and convolutions; distances, statistics and losses
            stay float32.
        epochs: Passes over the data.
        learning_rate: Learning rate of Adam.
        weight_decay: Weight decay of Adam.
        schedule: `cosine`: to zero over all epochs; `cosine-early`: the same, one epoch ahead, so that the last epoch
            has learning rate 0 (official code); `constant`.
        seed: Random seed.
    """

    choices: ClassVar = CHOICES
    ranges: ClassVar = RANGES

    name: str
    backbone: str = "dgcnn"
    k: int = 20
    image_depth: int = 50
    objective: str = "joint"
    views: int = 1
    temperature: float = 0.1
    points: int = 2048
    image_size: int = 224
    elastic: bool = False
    dropout: float = 0.875
    sparse: float = 0.0
    single_view: bool = False
    crop: bool = False
    batch: int = 20
    negatives: str = "global"
    precision: str = "fp32"
    epochs: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    schedule: str = "cosine"
    seed: int = 0

    @property
    def needs_images(self) -> bool:
        """Whether the objective compares clouds with images."""
        return self.objective in ("joint", "cmid")

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: A value is out of range; the message names the field, its value and its range.
        """
        super().__post_init__()
        if self.sparse > 0 and self.objective != "distil":
            raise InputError(f"sparse={self.sparse} is for the objective distil, not {self.objective}; leave it at 0")
        if self.backbone != "pointnet":
            check_neighbours(self.points, self.k)
            left = self.points - int(self.sparse * self.points)
            if left < self.k:
                raise InputError(
                    f"sparse={self.sparse} leaves {left} of points={self.points}, fewer than k={self.k} neighbours; "
                    "lower sparse or k"
                )


def official() -> Recipe:
    """What the official code does: k = 15, weight decay 1e-6, a schedule that is one epoch ahead."""
    return Recipe("official", k=15, schedule="cosine-early")


def paper() -> Recipe:
    """What the paper says: elastic distortion and crops, no point dropout, weight decay 1e-4."""
    return Recipe("paper", elastic=True, dropout=0.0, crop=True, weight_decay=1e-4)


def clean() -> Recipe:
    """The official code without its quirks; the last epoch is the result, and no test label is ever seen."""
    return Recipe("clean")


def quick() -> Recipe:
    """A small run for a CPU: ResNet-18 on small images, fewer points, larger batches."""
    return Recipe("quick", image_depth=18, points=512, image_size=64, batch=32, epochs=20, dropout=0.5)


RECIPES: dict[str, Callable[[], Recipe]] = {"clean": clean, "official": official, "paper": paper, "quick": quick}


def make_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """The pretraining recipe of a name; see `choose_recipe`."""
    return choose_recipe(RECIPES, name, overrides=overrides)
