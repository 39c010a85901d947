"""Which columns of a text are x, y and z: by their names, by what the user says, or the first three."""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.reading import some

ADVICE = "say which are x, y and z, e.g. --columns x,y,z or --columns 2,3,4"
MOST = 11  # columns without names: x, y, z, intensity, a colour with alpha, a normal
TIME = 1e8  # seconds or more: a time stamp, and no coordinate on Earth
UNIT = re.compile(r"\s*(?:\[[^\]]*\]|\([^)]*\))")
WHAT = r"(?:p|pt|pos|position|points?|coords?|coordinates?|loc|location|xyz|field|world)"
NAME = re.compile(rf"(?P<what>(?:{WHAT}[_.:/ -]?)*)(?P<axis>[xyz])(?P<end>[_ -]?(?:coord|coordinate|pos|m|cm|mm))?")
PART = re.compile(r"(?P<what>(?:points?|xyz|pos|position|coords?|coordinates?)\w*?)[:_.\[](?P<axis>[012])(?P<end>\]?)")


def units_removed(text: str) -> str:
    """`"x [m]"` as `"x"`."""
    return UNIT.sub("", text)


def plain(name: str) -> str:
    """A name without its quotes, unit and capitals."""
    return units_removed(name.strip().strip("\"'")).strip().lower()


def named_columns(names: Sequence[str], *, must: bool = False) -> tuple[int, ...]:
    """Positions of the columns that are named as x, y and z are: `x`, `X [m]`, `px`, `pos_x`, `Points:0`.

    Args:
        names: Of all columns.
        must: Raise InputError where there are no such names, instead of returning ().

    Raises:
        InputError: Two columns have the same such name.
    """
    words = [plain(name) for name in names]
    if set("xyz") <= set(words):
        double = next((axis for axis in "xyz" if words.count(axis) > 1), None)
        if double:
            raise InputError(f"has {words.count(double)} columns named {double}; {ADVICE}")
        return tuple(words.index(axis) for axis in "xyz")
    groups: dict[tuple[str, str], dict[str, int]] = {}
    for i, word in enumerate(words):
        found = NAME.fullmatch(word) or PART.fullmatch(word)
        if found:
            groups.setdefault((found["what"], found["end"] or ""), {}).setdefault(found["axis"], i)
    for group in groups.values():
        for axes in ("xyz", "012"):
            if set(axes) <= set(group):
                return tuple(group[axis] for axis in axes)
    if must:
        raise InputError(f"has columns named {some(words)}, none of them x, y and z; {ADVICE}")
    return ()


def chosen_columns(columns: str, names: Sequence[str], *, width: int) -> tuple[int, ...]:
    """Positions of the columns that the user names, or numbers from 1.

    Raises:
        InputError: They are not three of those that are there.
    """
    asked = [plain(name) for name in columns.split(",")]
    if len(asked) != 3:
        raise InputError(f"cannot be read with --columns {columns}: text has three, e.g. --columns x,y,z")
    words = [plain(name) for name in names]
    if set(asked) <= set(words):
        return tuple(words.index(name) for name in asked)
    numbers = [int(name) if name.isascii() and name.isdecimal() and len(name) < 9 else 0 for name in asked]
    if not all(1 <= number <= width for number in numbers):
        shown = some(words) if words else f"numbers 1 to {width}, without names"
        raise InputError(f"has no columns {columns}; it has {shown}")
    return tuple(number - 1 for number in numbers)


def unnamed_columns(rows: Sequence[Sequence[str]]) -> tuple[int, ...]:
    """The first three columns, unless the values show that these are something else.

    Raises:
        InputError: There are too few or too many, or they are poses, time stamps or the numbers of the rows.
    """
    width = len(rows[0])
    if width < 3:
        raise InputError(f"has {width} columns; save x, y and z")
    what = None
    if width > MOST:
        what = f"{width} columns without names"
    elif width > 3 and (values := _values(rows, width)) is not None:
        first = values[:, 0]
        if width in (7, 8) and len(values) > 1 and np.allclose(np.linalg.norm(values[:, -4:], axis=1), 1, atol=1e-3):
            what = "poses: a position and a quaternion a line"
        elif (first > TIME).all():
            what = "time stamps in its first column"
        elif len(first) > 3 and (np.diff(first) == 1).all() and not (values % 1 == 0).all():
            what = "the numbers of its rows in the first column"
    if what:
        raise InputError(f"has {what}; {ADVICE}")
    return 0, 1, 2


def _values(rows: Sequence[Sequence[str]], width: int) -> npt.NDArray[np.float64] | None:
    """The rows as numbers (rows, width); None where one is not."""
    try:
        return np.array([row for row in rows if len(row) == width], dtype=np.float64)
    except ValueError:
        return None
