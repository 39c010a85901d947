"""Finds all pairs of near embeddings, in blocks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError
from crosspoint.runtime.jobs.embeddings import Embeddings

ROWS = 2048  # compared with as many others at a time: 16 MB of cosines
MOST_PAIRS = 500_000  # in memory
SLACK = 1e-5  # more than the rounding of a cosine of float32


@dataclass(frozen=True)
class NearPairs:
    """Pairs of embeddings; rows are counted from 0 over all pieces.

    Attributes:
        first: `(P,)`.
        second: `(P,)`, larger than `first`.
        distance: `(P,)` cosine distance 1 − cos.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    distance: NDArray[np.float64]


def near_pairs(pieces: Callable[[], Iterator[Embeddings]], limit: float) -> NearPairs:
    """Find every pair with a cosine distance of at most `limit`, exactly.

    Memory: two pieces, a block of `ROWS`² cosines, and the pairs that were found. The cosines of a block are one matrix
    product in float32; candidates are measured again by differences, ½ ‖a − b‖² of unit vectors, which is 0 for equal
    embeddings. An embedding of zeros has no near ones.

    Args:
        pieces: Reads the embeddings from the start at each call.
        limit: Cosine distance, 0 to 2.

    Raises:
        InputError: There are more than `MOST_PAIRS` such pairs.
    """
    found: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]] = []
    total = 0
    for start, rows in _blocks(pieces):
        for other, columns in _blocks(pieces):
            if other < start:
                continue
            close = rows @ columns.T >= 1 - limit - SLACK  # (n, m)
            close &= (rows != 0).any(axis=1)[:, None] & (columns != 0).any(axis=1)
            if other == start:
                close = np.triu(close, 1)
            for i, j in _in_steps(*np.nonzero(close)):
                gap = rows[i].astype(np.float64) - columns[j]
                distance = (gap**2).sum(axis=1) / 2
                near = distance <= limit
                found.append((start + i[near], other + j[near], distance[near]))
                total += int(near.sum())
                if total > MOST_PAIRS:
                    raise InputError(f"more than {MOST_PAIRS:,} pairs are within {limit:g}; give a smaller --within")
    if not found:
        return NearPairs(np.empty(0, np.intp), np.empty(0, np.intp), np.empty(0))
    first, second, distance = (np.concatenate(part) for part in zip(*found, strict=True))
    return NearPairs(first, second, distance)


def _blocks(pieces: Callable[[], Iterator[Embeddings]]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Unit vectors `(n, D)`, at most `ROWS` at a time, with the number of the first one."""
    start = 0
    for piece in pieces():
        for row in range(0, len(piece.names), ROWS):
            vectors = piece.vectors[row : row + ROWS].astype(np.float64)
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            yield start + row, (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)
        start += len(piece.names)


def _in_steps(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    for start in range(0, len(rows), ROWS):
        yield rows[start : start + ROWS], columns[start : start + ROWS]
