"""x, y and z out of rows of bytes that hold more than these."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, some
from crosspoint.data.points import Coordinates

AXES = ("x", "y", "z")


def from_rows(
    buffer: "bytes | memoryview | npt.NDArray[np.uint8]", count: int, *, row: int, places: Sequence[tuple[str, int]]
) -> Coordinates:
    """The coordinates of points that lie one after the other.

    Args:
        buffer: Whole rows, at least `count`.
        count: Points.
        row: Bytes from one point to the next.
        places: Of x, y and z: NumPy's name of the type, e.g. `"<f4"`, and the byte within the row.

    Returns:
        (count, 3): float32 where all three are that, without a copy where they lie side by side; else float64.
    """
    kinds, steps = {kind for kind, _ in places}, {places[i + 1][1] - places[i][1] for i in range(2)}
    if len(kinds) == 1 and len(steps) == 1 and min(steps) > 0:
        kind, step = kinds.pop(), steps.pop()
        points: npt.NDArray[Any] = np.ndarray((count, 3), kind, buffer, places[0][1], (row, step))
        return as_coordinates(points)
    axes = [np.ndarray(count, kind, buffer, offset, (row,)) for kind, offset in places]
    single = all(np.dtype(kind).newbyteorder("=") == np.float32 for kind in kinds)
    return np.stack(axes, axis=-1, dtype=np.float32 if single else np.float64)


def from_fields(rows: npt.NDArray[np.void]) -> Coordinates:
    """The fields x, y, z of structured rows (N,), whatever their capitals, as (N, 3)."""
    names = rows.dtype.names or ()
    axes = []
    for axis in AXES:
        found = [name for name in names if name.lower() == axis]
        if len(found) != 1 or rows.dtype[found[0]].shape or rows.dtype[found[0]].kind not in "fiu":
            raise InputError(f"has no numbers x, y and z, only {some(names)}; {ADVICE}")
        axes.append(rows[found[0]])
    single = all(axis.dtype.newbyteorder("=") == np.float32 for axis in axes)
    return np.stack(axes, axis=-1, dtype=np.float32 if single else np.float64)


def as_coordinates(points: npt.NDArray[Any]) -> Coordinates:
    """Numbers of any type as float32 if they are that, else as float64."""
    single = points.dtype.newbyteorder("=") == np.float32
    return points.astype(np.float32 if single else np.float64, copy=False)
