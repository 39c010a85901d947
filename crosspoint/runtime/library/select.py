"""Selects the most different objects of a library."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file
from crosspoint.core.outputs import check_file
from crosspoint.core.results import Result
from crosspoint.runtime.jobs.search import open_index

COLUMNS = ("rank", "name", "distance", "covers")


@dataclass(frozen=True)
class Selected:
    """A selected object.

    Attributes:
        rank: Order of selection, from 1; the first n are the selection of n.
        name: Name in the embeddings.
        distance: Cosine distance to the nearest object selected before; for the first one, to the mean of all.
        covers: Number of objects that are nearest to this one of all selected ones, itself included.
    """

    rank: int
    name: str
    distance: float
    covers: int


@dataclass(frozen=True)
class SelectResult(Result):
    """The most different objects of a library.

    Attributes:
        embeddings: The embeddings.
        size: Number of objects in them.
        model_sha256: SHA-256 of their model.
        radius: Largest cosine distance from any object to the nearest selected one.
        selected: In the order of selection.
        out: The CSV file; None: not written.
    """

    schema: ClassVar[str] = "crosspoint.select/1"

    embeddings: str
    size: int
    model_sha256: str
    radius: float
    selected: tuple[Selected, ...]
    out: str | None


def select(embeddings: Path, keep: int, *, out: Path | None = None) -> SelectResult:
    """Select the objects that differ most, by the greedy solution of the k-centre problem (Gonzalez 1985).

    The first object is the nearest to the mean direction; each next one is the farthest from all selected so far. The
    largest distance that remains is at most twice the optimum, in ‖a − b‖ of unit vectors. Of equal distances the first
    in the file wins, so the same embeddings give the same selection.

    Args:
        embeddings: Output of `crosspoint embed`: `.npz`, `.parquet` or a folder of parts. All are read into memory.
        keep: Number of objects to select; all if there are fewer.
        out: A CSV file with the columns `COLUMNS`.

    Raises:
        InputError: The embeddings cannot be read, or an option cannot be used.
    """
    if keep < 1:
        raise InputError(f"--keep is {keep}; give 1 or more")
    if out is not None:
        check_file(Path(out), inputs=[embeddings], within=True, suffixes=(".csv",))
    index = open_index(embeddings)
    pieces = list(index.pieces())
    names = [name for piece in pieces for name in piece.names]
    if not names:
        raise InputError(f"{embeddings} holds no embeddings; embed the objects again")
    vectors = np.concatenate([piece.vectors for piece in pieces])  # (n, D)
    chosen, distances, nearest, radius = k_centre(vectors, keep)
    covers = np.bincount(nearest, minlength=len(chosen))
    selected = tuple(
        Selected(rank, names[item], far, int(count))
        for rank, (item, far, count) in enumerate(zip(chosen, distances, covers, strict=True), 1)
    )
    if out is not None:
        _write(Path(out), selected)
    written = None if out is None else str(out)
    return SelectResult(str(embeddings), len(names), index.model_sha256, radius, selected, written)


def k_centre(vectors: NDArray[np.float32], keep: int) -> tuple[list[int], list[float], NDArray[np.int64], float]:
    """Select rows of `vectors (n, D)` by farthest point.

    Returns:
        The rows in the order of selection, the distance of each to those before it, the index of the nearest selected
        row for each of the n `(n,)`, and the largest distance that remains.
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    unit = (vectors / np.where(lengths == 0, 1, lengths)).astype(np.float32)
    centre = unit.mean(axis=0, dtype=np.float64).astype(np.float32)
    size = np.linalg.norm(centre)
    from_centre = _distances(unit, centre / size if size > 0 else centre)
    chosen, distances = [int(from_centre.argmin())], [float(from_centre.min())]
    gaps, nearest = _distances(unit, unit[chosen[0]]), np.zeros(len(unit), np.int64)
    gaps[chosen[0]] = -1.0  # never selected again, even among equal ones
    for rank in track(range(1, min(keep, len(unit))), "Selecting"):
        item = int(gaps.argmax())
        chosen.append(item)
        distances.append(float(gaps[item]))
        new = _distances(unit, unit[item])
        closer = new < gaps
        gaps[closer], nearest[closer] = new[closer], rank
        gaps[item], nearest[item] = -1.0, rank
    return chosen, distances, nearest, max(0.0, float(gaps.max()))


def _distances(unit: NDArray[np.float32], one: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine distances ½ ‖a − b‖² of unit vectors `(n, D)` to one `(D,)`."""
    return np.asarray(((unit - one) ** 2).sum(axis=1, dtype=np.float64) / 2)


def _write(path: Path, selected: tuple[Selected, ...]) -> None:
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows((one.rank, one.name, f"{one.distance:.6g}", one.covers) for one in selected)
