"""Rows of text of one length or of many, as PLY, OFF and OBJ write faces."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

BLOCK = 1 << 16  # rows that are split at once


class Rows(NamedTuple):
    """Rows of numbers, one after the other.

    Attributes:
        values: Of all rows, (sum of lengths,).
        lengths: Values of each row, (n,).
    """

    values: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64]


def parse_rows(lines: Iterable[str], kind: str = "f8") -> Rows:
    """The numbers of lines that are not blank.

    Raises:
        ValueError: Something that is not a number.
    """
    remaining, blocks = iter(lines), list[Rows]()
    while block := list(islice(remaining, BLOCK)):
        blocks.append(_parse_block(block, kind))
    if not blocks:
        return Rows(np.empty(0, kind), np.empty(0, np.int64))
    return Rows(np.concatenate([block.values for block in blocks]), np.concatenate([block.lengths for block in blocks]))


def _parse_block(lines: Sequence[str], kind: str) -> Rows:
    width = len(lines[0].split())
    if len(lines[-1].split()) == width:
        try:
            same = np.loadtxt(lines, kind, ndmin=2)  # (n, width)
            return Rows(same.reshape(-1), np.full(len(same), same.shape[1]))
        except ValueError:  # rows of different lengths, or no numbers
            pass
    words = [line.split() for line in lines]
    return Rows(np.array([word for row in words for word in row], kind), np.array([len(row) for row in words]))


def lists_of(rows: Rows, before: int = 0, *, after: int = 0) -> Rows:
    """The lists in rows of `before` numbers, then a length, the list's values, and at least `after` numbers.

    Raises:
        ValueError: A row is shorter than its list.
    """
    starts = np.cumsum(rows.lengths) - rows.lengths + before
    if len(rows.lengths) and int(rows.lengths.min()) <= before:
        raise ValueError("a row has no list")
    lengths = rows.values[starts].astype(np.int64)
    if ((lengths < 0) | (lengths > rows.lengths - before - 1 - after)).any():
        raise ValueError("a list is shorter than its length says")
    return Rows(rows.values[ranges(starts + 1, lengths)].astype(np.int64), lengths)


def ranges(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """`start, start + 1, …` for each start, as many as its length, in one array."""
    ends = np.cumsum(lengths)
    places: npt.NDArray[np.int64] = np.repeat(starts - (ends - lengths), lengths)
    places += np.arange(len(places))
    return places


def filled(lines: Iterable[str]) -> Iterator[str]:
    """Lines without comments, and without those that are blank."""
    for line in lines:
        text = line.partition("#")[0] if "#" in line else line
        if not text.isspace() and text:
            yield text
