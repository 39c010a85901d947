"""Points as text: one point a line, with spaces, tabs, commas or semicolons between the numbers."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, check_lines, some
from crosspoint.data.io.formats.text_columns import chosen_columns, named_columns, plain, units_removed, unnamed_columns

COMMENTS = ("#", "//")
START = 1 << 16  # bytes by which the columns are told
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
NUMBER = r"[+-]?\d*,?\d+(?:[eE][+-]?\d+)?"  # with a decimal comma, or whole
COMMA_ROW = re.compile(rf"{NUMBER}(?:\s+{NUMBER}){{2,}}")
BLANK = re.compile(rb"\n[ \t]+\r?\n")


@dataclass(frozen=True)
class Layout:
    """How the lines of a text are read.

    Attributes:
        skip: Lines before the first point.
        count: How many points the first line says there are, if it does.
        delimiter: Between the numbers; None for spaces and tabs.
        decimal_comma: Whether numbers are written `0,5`.
        width: Values in a line.
        columns: Positions of x, y and z.
    """

    skip: int
    count: int | None
    delimiter: str | None
    decimal_comma: bool
    width: int
    columns: tuple[int, ...]


def read_text(content: bytes, columns: str | None = None) -> npt.NDArray[np.float64]:
    """Read the coordinates of `.pts`, `.xyz`, `.txt` and `.csv` files in UTF-8, Latin-1 or UTF-16.

    Empty lines and lines that start with `#` or `//` are passed over. The first line may be the number of points. The
    names of the columns may follow, or stand in the last comment: x, y and z are then taken where they are. Without
    names the first three columns are taken.

    Args:
        content: The text.
        columns: Names of the columns of x, y and z, or their numbers counted from 1, with commas between them.

    Returns:
        (N, 3).

    Raises:
        InputError: A line is too long, the columns cannot be told, or there are not as many points as the first line
            says.
        ValueError: Something that is not a number.
    """
    check_lines(content)
    encoding = _encoding(content)
    layout = _layout(_start(content, encoding), columns)
    _check_last_line(content, encoding, layout)
    text = io.TextIOWrapper(io.BytesIO(content), encoding, "replace")
    for _ in range(layout.skip):
        next(text)
    quotes = '"' if b'"' in content else None
    points = np.loadtxt(
        _cleaned(text, content, layout), delimiter=layout.delimiter, usecols=layout.columns, ndmin=2, quotechar=quotes
    )  # (N, 3)
    if layout.count not in (None, len(points)):
        raise InputError(f"says {layout.count} points but has {len(points)}; {ADVICE}")
    return points


def may_be_points(start: bytes, columns: str | None = None) -> bool:
    """Whether the start of a `.txt` or `.csv` can be one of points: others are prose, poses, labels or calibrations."""
    if not start:
        return True  # which reading it refuses
    try:
        _layout(_start(start, _encoding(start)), columns)
    except InputError:
        return False
    return True


def _encoding(content: bytes) -> str:
    """By the byte-order mark; else UTF-16 where every second byte is zero; else UTF-8, others in comments at most."""
    for mark, encoding in MARKS.items():
        if content.startswith(mark):
            return encoding
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        half = content[first:400:2]
        if len(half) > 4 and half.count(0) > 0.9 * len(half):
            return encoding
    return "utf-8"


def _start(content: bytes, encoding: str) -> list[str]:
    """The first lines, whole ones."""
    lines = content[:START].decode(encoding, "replace").splitlines()
    return lines[:-1] if len(content) > START else lines


def _cleaned(text: Iterable[str], content: bytes, layout: Layout) -> Iterator[str]:
    """The lines as `numpy.loadtxt` takes them; changed only where there is something to change, for speed."""
    if b"//" in content or BLANK.search(content):
        text = (line for line in text if not line.isspace() and not line.lstrip().startswith(COMMENTS))
    if layout.decimal_comma:
        text = (line.replace(",", ".") for line in text)
    return iter(text)


def _layout(lines: Sequence[str], columns: str | None) -> Layout:
    count = header = None
    comment, rows = "", list[tuple[int, str]]()
    for i, line in enumerate(map(str.strip, lines)):
        if line.startswith(COMMENTS):
            comment = comment if rows else line.lstrip("#/ \t")
        elif not rows and not header and count is None and len(line) < 19 and line.isascii() and line.isdecimal():
            count = int(line)
        elif line and not rows and header is None and not _all_numbers(line):
            header = line
        elif line:
            rows.append((i, line))
    sample = [row for _, row in rows]
    delimiter, comma = _separators(sample)
    words = [_split(row, delimiter) for row in sample]
    names = _split(header, delimiter, names=True) if header is not None else []
    width = len(words[0]) if words else len(names)
    if header is None and len(names := _split(comment, delimiter, names=True)) != width:
        if words and len(names) > width and tuple(map(plain, names[:3])) == tuple("xyz"):
            raise InputError(f"names {len(names)} columns ({some(names)}) and has {width}; {ADVICE}")
        names = []  # just a comment
    if header is not None and len(names) != width:
        raise InputError(f"names {len(names)} columns ({some(names)}) and has {width}; {ADVICE}")
    if columns is not None:
        found = chosen_columns(columns, names, width=width)
    elif header is not None or named_columns(names):
        found = named_columns(names, must=True)
    else:
        found = unnamed_columns([[word.replace(",", ".") for word in row] for row in words]) if words else ()
    if not words:
        raise InputError(f"has no points; {ADVICE}")
    return Layout(rows[0][0], count, delimiter, comma, width, found)


def _all_numbers(line: str) -> bool:
    delimiter, comma = _separators([line])
    words = _split(line, delimiter)
    return all(is_number(word.replace(",", ".") if comma else word) for word in words)


def is_number(word: str) -> bool:
    """Whether a word is a number, NaN and infinity included; an empty one stands for a missing number."""
    try:
        float(word or "nan")
    except ValueError:
        return False
    return True


def _separators(rows: Sequence[str]) -> tuple[str | None, bool]:
    """The delimiter, and whether there are decimal commas."""
    row = next((row for row in rows if "," in row), rows[0] if rows else "")
    if any(";" in row for row in rows[:1]):
        return ";", "," in row
    if "," not in row:
        return None, False
    return (None, True) if COMMA_ROW.fullmatch(row) else (",", False)


def _split(line: str, delimiter: str | None, names: bool = False) -> list[str]:
    """The words of a line, without the empty one after a delimiter at its end."""
    if delimiter is None:
        if names and "\t" in line:
            return [word.strip() for word in line.split("\t")]
        return units_removed(line).split() if names else line.split()
    words = [word.strip() for word in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]
    return words[:-1] if words and not words[-1] else words


def _check_last_line(content: bytes, encoding: str, layout: Layout) -> None:
    """Refuse a text that was cut off within its last line."""
    if encoding.startswith("utf-16"):
        return
    tail = content[-START:].decode("utf-8", "replace").splitlines()
    last = next((row for row in map(str.strip, reversed(tail)) if row and not row.startswith(COMMENTS)), "")
    width = len(_split(last.partition("#")[0], layout.delimiter))
    if width != layout.width:
        raise InputError(f"is cut off: its first line has {layout.width} columns, its last {width}; {ADVICE}")
