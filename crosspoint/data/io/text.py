"""Reads points from text: one point per line, numbers separated by spaces, tabs, commas or semicolons."""

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, check_lines

COMMENTS = ("#", "//")


def read_text(content: bytes) -> npt.NDArray[np.float64]:
    """Read the coordinates of `.pts`, `.xyz`, `.txt` and `.csv` files.

    Empty lines and lines that start with `#` or `//` are skipped. The first line may hold the number of points or the
    names of the columns. Columns named x, y and z are taken, else the first three; the others are ignored.

    Returns:
        (N, 3).

    Raises:
        InputError: A line is too long, there are fewer than three columns, or the number of points differs from the
            first line.
        ValueError: A value is not a number.
    """
    check_lines(content)
    stripped = (line.strip() for line in content.decode("utf-8-sig", "replace").splitlines())
    lines = [line for line in stripped if line and not line.startswith(COMMENTS)]
    if not lines:
        raise InputError(f"has no points; {ADVICE}")
    delimiter = next((mark for mark in ",;" if mark in lines[0]), None)
    count, columns = None, [0, 1, 2]
    first = lines[0].split(delimiter)
    if len(first) == 1 and first[0].isdecimal():
        count, lines = int(first[0]), lines[1:]
        delimiter = next((mark for mark in ",;" if lines and mark in lines[0]), None)
    elif not all(map(_is_number, first)):
        columns, lines = _named(first), lines[1:]
    if count not in (None, len(lines)):
        raise InputError(f"says {count} points but has {len(lines)}; {ADVICE}")
    if not lines:
        raise InputError(f"has no points; {ADVICE}")
    first_width, last_width = (len(lines[i].split(delimiter)) for i in (0, -1))
    if first_width < 3:
        raise InputError(f"has {first_width} columns; save at least x, y and z")
    if last_width != first_width:
        raise InputError(f"is cut off: its first line has {first_width} columns, its last {last_width}; {ADVICE}")
    return np.loadtxt(lines, delimiter=delimiter, usecols=columns, ndmin=2)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _named(names: list[str]) -> list[int]:
    """Indices of the columns named x, y and z, ignoring quotes and case; the first three if there are none."""
    plain = [name.strip().strip("\"'").lower() for name in names]
    return [plain.index(axis) for axis in "xyz"] if set("xyz") <= set(plain) else [0, 1, 2]
