"""Recipes: everything that decides the outcome of a pretraining run, in one frozen dataclass."""

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar

from crosspoint.core.errors import InputError
from crosspoint.core.reading import reason_of

CHOICES: dict[str, tuple[Any, ...]] = {
    "backbone": ("dgcnn", "pointnet", "dgcnn_seg"),
    "image_depth": (18, 34, 50),
    "objective": ("joint", "imid", "cmid"),
    "negatives": ("global", "local"),
    "precision": ("fp32", "bf16", "fp16"),
    "schedule": ("cosine", "cosine-early", "constant"),
}
NUMBER = r"nan|[+-]?(\d{1,20}\.?\d{0,20}|\.\d{1,20})([eE][+-]?\d{1,3})?"  # that a recipe's field may be given as
# Numbers beyond these are of damaged files and slips of the keyboard; 10⁶ where nothing is said.
LARGEST = {
    "k": 1 << 12,
    "points": 1 << 24,
    "views": 1 << 12,
    "image_size": 1 << 13,
    "size": 1 << 13,
    "seed": 1 << 53,
}


@dataclass(frozen=True)
class Recipe:
    """A pretraining recipe.

    Attributes:
        name: The recipe that the fields started from.
        backbone: Point encoder: `dgcnn`, `pointnet` or `dgcnn_seg`.
        k: Neighbours of every point in the encoder's graphs (PointNet has none).
        image_depth: ResNet 18, 34 or 50.
        objective: `joint` (eq. 6), `imid` or `cmid` alone (Figure 3).
        views: Images of every object in a step, drawn from its renderings (Table 6).
        temperature: τ of eqs 1 and 4.
        points: Points of a cloud.
        image_size: Height and width of an image, in pixels.
        elastic: Elastic distortion among the point augmentations (paper; absent in the official code).
        dropout: Largest share of points replaced by the first one (official code; absent in the paper).
        single_view: Whether the second point view shows only what a sensor on one side of the object would see of it
            (not in the paper).
        crop: Random crop among the image augmentations (paper; absent in the official code).
        batch: Objects in a step, over all processes.
        negatives: `global`: the whole batch; `local`: the part of it in the same process.
        precision: `fp32`, or `bf16` or `fp16` for products and convolutions; distances, statistics and losses stay
            float32.
        epochs: Passes over the data.
        learning_rate: Of Adam.
        weight_decay: Of Adam.
        schedule: `cosine` to zero over all steps of the run, epoch by epoch; `cosine-early` the same one epoch ahead,
            so that the last epoch has learning rate 0 (official code); `constant`.
        seed: Of everything drawn at random.
    """

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

    def __post_init__(self) -> None:
        """Refuse values that no run can have.

        Raises:
            InputError: Names the field, what it was and what it may be.
        """
        for field, allowed in CHOICES.items():
            if getattr(self, field) not in allowed:
                given = str(getattr(self, field))[:40]
                raise InputError(f"{field}={given!r} is not one of {', '.join(map(str, allowed))}")
        for field, least in [("k", 1), ("views", 1), ("points", 2), ("image_size", 32), ("batch", 2), ("epochs", 1)]:
            if getattr(self, field) < least:
                raise InputError(f"{field}={getattr(self, field)} is too small; it must be at least {least}")
        for field in ("temperature", "learning_rate"):
            if not getattr(self, field) > 0:
                raise InputError(f"{field}={getattr(self, field)} must be positive")
        if not 0 <= self.dropout < 1 or self.weight_decay < 0:
            raise InputError("dropout must lie in [0, 1) and weight_decay must not be negative")
        if self.backbone != "pointnet" and self.points < self.k:
            raise InputError(f"points={self.points} is fewer than k={self.k} neighbours; raise points or lower k")
        check_values(self)

    def as_dict(self) -> dict[str, Any]:
        """The fields by name, JSON-serialisable."""
        return dataclasses.asdict(self)


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
    return choose_recipe(RECIPES, name, overrides)


class AnyRecipe(Protocol):
    """A recipe of any kind of run: a frozen dataclass with a name."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """The recipe that the fields started from."""


R = TypeVar("R", bound=AnyRecipe)


def choose_recipe(recipes: Mapping[str, Callable[[], R]], name: str, overrides: Sequence[str] = ()) -> R:
    """The recipe of a name, with `key=value` overrides of its fields.

    Raises:
        InputError: An unknown name or key, answered with the nearest right ones, or a value that does not fit.
    """
    if name not in recipes:
        raise InputError(f"there is no recipe {name[:40]!r}; {_nearest(name[:40], list(recipes))}")
    recipe = recipes[name]()
    kinds = {key: kind for key, kind in typing.get_type_hints(type(recipe)).items() if key != "name"}
    values = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise InputError(f"{override[:40]!r} is not of the form key=value")
        if key not in kinds:
            raise InputError(f"a recipe has no field {key[:40]!r}; {_nearest(key[:40], list(kinds))}")
        values[key] = _parse(key, text, kinds[key])
    return dataclasses.replace(recipe, **values)


def recipe_from(values: dict[str, Any], source: str, kind: Callable[..., R]) -> R:
    """The recipe that `as_dict` wrote.

    Args:
        values: Fields by name.
        source: Where they are from, for the message.
        kind: The class of the recipe.

    Raises:
        InputError: A field is missing, unknown or of the wrong type.
    """
    try:
        return kind(**values)
    except (TypeError, InputError) as error:
        reason = error if isinstance(error, InputError) else reason_of(error)
        raise InputError(f"{source} does not hold a recipe of this version ({reason}); start the run anew") from error


def check_values(recipe: AnyRecipe) -> None:
    """Refuse a field that is of another type than it should be, not finite or larger than `LARGEST`.

    Raises:
        InputError: Names the first such field.
    """
    for field, kind in typing.get_type_hints(type(recipe)).items():
        value = getattr(recipe, field)
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise InputError(f"{field}={str(value)[:40]} does not fit; {field} is of type {kind.__name__}")
        most = LARGEST.get(field, 10**6)
        if kind in (int, float) and not abs(value) <= most:
            raise InputError(f"{field}={str(value)[:40]} is too large; it must be at most {most}")


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"


def _parse(key: str, text: str, kind: Any) -> Any:
    assert not isinstance(kind, types.UnionType)
    if kind is str:
        return text
    value: Any = None
    if kind is bool:
        value = {"true": True, "false": False}.get(text.lower())
    elif re.fullmatch(NUMBER, text, re.ASCII):
        value = int(text) if re.fullmatch(r"[+-]?\d+", text, re.ASCII) else float(text)
    if value is None or (kind is int and value % 1):
        raise InputError(f"{key}={text[:40]} does not fit; {key} is of type {kind.__name__}")
    return kind(value)
