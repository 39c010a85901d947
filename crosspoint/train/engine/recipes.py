"""What all recipes share: their values are checked, changed by name, and read back from a run."""

import dataclasses
import difflib
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, TypeVar

from crosspoint.core.errors import InputError
from crosspoint.core.reading import reason_of

Values = dict[str, str | int | float | bool]  # of a recipe's fields
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


class Range(NamedTuple):
    """What a number has to be: in words that follow "must", and as a test, which NaN fails."""

    words: str
    holds: Callable[[float], bool]


POSITIVE = Range("be positive", lambda value: value > 0)
BELOW_ONE = Range("lie in [0, 1)", lambda value: 0 <= value < 1)


def at_least(least: float) -> Range:
    """Numbers from `least` on."""
    return Range(f"be at least {least}", lambda value: value >= least)


class BaseRecipe:
    """A recipe of any kind of run: a frozen dataclass that says what each of its fields may be.

    Attributes:
        choices: The values of a field that has few.
        ranges: What a number has to be; beside that, none is larger than `LARGEST` says.
        name: The recipe that the fields started from.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {}
    ranges: ClassVar[Mapping[str, Range]] = {}
    name: str

    def __post_init__(self) -> None:
        """Refuse values that no run can have.

        Raises:
            InputError: Names the field, what it was and what it may be.
        """
        kinds = typing.get_type_hints(type(self))
        for field in [each.name for each in dataclasses.fields(self)]:
            value, kind = getattr(self, field), kinds[field]
            given = f"{field}={str(value)[:40]}"
            if type(value) is not kind and not (kind is float and type(value) is int):
                raise InputError(f"{given} does not fit; {field} is of type {kind.__name__}")
            if field in self.choices and value not in self.choices[field]:
                raise InputError(f"{given} is not one of {', '.join(map(str, self.choices[field]))}")
            if field in self.ranges and not self.ranges[field].holds(value):
                raise InputError(f"{given} must {self.ranges[field].words}")
            most = LARGEST.get(field, 10**6)
            if kind in (int, float) and not abs(value) <= most:
                raise InputError(f"{given} is too large; it must be at most {most}")

    def as_dict(self) -> Values:
        """The fields by name, JSON-serialisable."""
        return dataclasses.asdict(self)


def check_neighbours(points: int, k: int) -> None:
    """Refuse clouds with fewer points than neighbours of each.

    Raises:
        InputError: Names both, and what to do.
    """
    if points < k:
        raise InputError(f"points={points} is fewer than k={k} neighbours; raise points or lower k")


R = TypeVar("R", bound=BaseRecipe)


def choose_recipe(recipes: Mapping[str, Callable[[], R]], name: str, *, overrides: Sequence[str] = ()) -> R:
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


def recipe_from(values: Values, source: str, *, kind: Callable[..., R]) -> R:
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
