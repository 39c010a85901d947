"""Finds the pairs of objects that are worth a check, in blocks: near embeddings, or equal measures."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError
from crosspoint.runtime.jobs.embeddings import Embeddings
from crosspoint.runtime.library.measures import CLOSE, EQUAL, equal_pairs, match
from crosspoint.runtime.library.surface import Array

ROWS = 2048  # compared with as many others at a time: 16 MB of cosines
MOST_PAIRS = 500_000  # in memory
SLACK = 1e-5  # more than the rounding of a cosine of float32

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Wanted:
    """Which pairs are wanted.

    Attributes:
        near: Cosine distance up to which pairs with close measures are wanted.
        similar: Cosine distance up to which all pairs are wanted; None: none but for their measures.
        measured: `(n, COUNT)` measures of all objects, NaN for those that were not read; None: measures decide nothing.
        far: Whether pairs with equal measures are wanted at any distance.
    """

    near: float
    similar: float | None = None
    measured: Array | None = None
    far: bool = False

    @property
    def limit(self) -> float:
        """Cosine distance beyond which embeddings are not near."""
        return max(self.near, -1.0 if self.similar is None else self.similar)


@dataclass(frozen=True)
class NearPairs:
    """NearPairs of embeddings; rows are counted from 0 over all pieces.

    Attributes:
        first: `(P,)`.
        second: `(P,)`, larger than `first`.
        distance: `(P,)` cosine distance 1 − cos.
        unmeasured: Number of near pairs of which an object has no measures.
    """

    first: Indices
    second: Indices
    distance: NDArray[np.float64]
    unmeasured: int = 0


def find_pairs(pieces: Callable[[], Iterator[Embeddings]], wanted: Wanted) -> NearPairs:
    """Find every pair that is wanted, exactly.

    Memory: two pieces, a block of `ROWS`² cosines, and the pairs that were found. The cosines of a block are one matrix
    product in float32; candidates are measured again by differences, ½ ‖a − b‖² of unit vectors, which is 0 for equal
    embeddings. An embedding of zeros has no near ones.

    Args:
        pieces: Reads the embeddings from the start at each call.
        wanted: Which pairs.

    Raises:
        InputError: There are more than `MOST_PAIRS` such pairs.
    """
    found: list[tuple[Indices, Indices, NDArray[np.float64]]] = []
    total = unmeasured = 0
    for start, rows in _blocks(pieces):
        for other, columns in _blocks(pieces):
            if other < start:
                continue
            close = rows @ columns.T >= 1 - wanted.limit - SLACK  # (n, m)
            close &= (rows != 0).any(axis=1)[:, None] & (columns != 0).any(axis=1)
            if wanted.far and wanted.measured is not None:
                equal = equal_pairs(wanted.measured[start:][: len(rows)], wanted.measured[other:][: len(columns)])
                close[equal] = True
            if other == start:
                close = np.triu(close, 1)
            for i, j in _in_steps(*np.nonzero(close)):
                distance = ((rows[i].astype(np.float64) - columns[j]) ** 2).sum(axis=1) / 2
                keep, unread = _choose(wanted, start + i, other + j, distance)
                found.append((start + i[keep], other + j[keep], distance[keep]))
                total += int(keep.sum())
                unmeasured += unread
                if total > MOST_PAIRS:
                    raise InputError(f"more than {MOST_PAIRS:,} pairs are near enough; give --within, or a smaller one")
    if not found:
        return NearPairs(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0))
    first, second, distance = (np.concatenate(part) for part in zip(*found, strict=True))
    return NearPairs(first, second, distance, unmeasured)


def _choose(
    wanted: Wanted, first: Indices, second: Indices, distance: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], int]:
    """Which of these pairs are wanted `(P,)`, and of how many near ones an object has no measures."""
    near = distance <= wanted.near
    if wanted.measured is None:
        keep, unmeasured = near, 0
    else:
        a, b = wanted.measured[first], wanted.measured[second]  # (P, COUNT)
        unmeasured = int((near & (np.isnan(a) | np.isnan(b)).any(axis=1)).sum())
        keep = near & match(a, b, tolerance=CLOSE)
        if wanted.far:
            keep |= match(a, b, tolerance=EQUAL)
    if wanted.similar is not None:
        keep = keep | (distance <= wanted.similar)
    return keep, unmeasured


def _blocks(pieces: Callable[[], Iterator[Embeddings]]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Unit vectors `(n, D)`, at most `ROWS` at a time, with the number of the first one."""
    start = 0
    for piece in pieces():
        for row in range(0, len(piece.names), ROWS):
            vectors = piece.vectors[row : row + ROWS].astype(np.float64)
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            yield start + row, (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)
        start += len(piece.names)


def _in_steps(rows: Indices, columns: Indices) -> Iterator[tuple[Indices, Indices]]:
    for start in range(0, len(rows), ROWS):
        yield rows[start : start + ROWS], columns[start : start + ROWS]
