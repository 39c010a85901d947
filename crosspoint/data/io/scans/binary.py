"""Binary scans: rows of float32 without a header, as KITTI, nuScenes and others write them."""

import math

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE
from crosspoint.data.points import Points, farthest

WIDTHS = (4, 5, 6, 3)  # KITTI's first
FARTHEST = 1e7  # of a coordinate, in any unit
SMALLEST, NEAREST = 1e-15, 1e-3  # numbers of another type, read as float32, are tiny; so are clouds of them
ROWS = 50_000  # that are looked at for such numbers
SAMPLE = 60 * 500  # values by which the columns are told: whole rows of every width
CLEAR = 0.1  # difference of the scores of two widths


def read_binary_scan(content: bytes, columns: int | None = None) -> Points:
    """Read x, y and z, the first three of each row.

    Args:
        content: Rows of float32, little-endian.
        columns: Values in a row; told from the values if None.

    Returns:
        (N, 3), as stored.

    Raises:
        InputError: The bytes are no whole rows, the number of columns cannot be told, or the coordinates are none.
    """
    if columns is not None and columns < 3:
        raise InputError(f"cannot have {columns} columns; give --columns 3 or more")
    if len(content) % (4 * columns if columns else 4):
        raise InputError(f"is cut off: {len(content)} bytes are not rows of {columns or 3} float32; {ADVICE}")
    values = np.frombuffer(content, "<f4")
    width = columns or _told(values)
    points: Points = values.reshape(-1, width)[:, :3]
    _check(points, width)
    return points


def _told(values: npt.NDArray[np.float32]) -> int:
    """The number of columns.

    Values repeat in kind from row to row: one that comes a row later is more like its forerunner than one that comes
    some other number of values later. Each width is scored by that; without a clear difference, as in random points
    without anything beside them, a width counts that leaves nothing negative in its further columns.
    """
    widths = [width for width in WIDTHS if len(values) % width == 0]
    if not widths:
        raise InputError(f"is cut off, or no scan: {4 * len(values)} bytes are not rows of 3, 4, 5 or 6 float32")
    start = len(values) // 2 // 60 * 60 if len(values) > SAMPLE else 0
    sample = values[start : start + SAMPLE]
    scores = {width: _likeness(sample, width) for width in widths}
    best = max(widths, key=lambda width: scores[width])
    if best == 6 and 3 in scores and scores[3] > scores[6] - CLEAR / 2:
        best = 3  # two rows are as much alike as one
    others = [scores[width] for width in widths if width != best and not (best == 3 and width == 6)]
    if len(widths) == 1 or scores[best] > max(others, default=-1.0) + CLEAR:
        return best
    likely = [width for width in widths if width > 3 and not (sample.reshape(-1, width)[:, 3:] < 0).any()]
    if len(likely) == 1:
        return likely[0]
    if not likely and 3 in widths:
        return 3
    raise InputError(
        f"may have rows of {' or '.join(map(str, sorted(widths)))} float32; say which with --columns, e.g. --columns 4"
    )


def _likeness(values: npt.NDArray[np.float32], lag: int) -> float:
    """Mean correlation of values with those `lag` later, of their sizes, their signs and whether they are whole."""
    with np.errstate(invalid="ignore"):  # of signalling NaN
        finite = np.nan_to_num(values.astype(np.float64), posinf=0.0, neginf=0.0)
    size = np.log1p(np.abs(finite))
    kinds = (np.sign(finite) * size, size, np.rint(finite) == finite)
    return math.fsum(_correlation(np.asarray(kind, np.float64), lag) for kind in kinds)


def _correlation(values: npt.NDArray[np.float64], lag: int) -> float:
    centred = values - values.mean()
    power = float(np.mean(centred**2))
    if len(values) <= lag or power < 1e-12:
        return 0.0
    return float(np.mean(centred[lag:] * centred[:-lag])) / power


def _check(points: Points, width: int) -> None:
    """Refuse coordinates that no scan has: the file has another number of columns, or no float32 at all."""
    if not len(points):
        return
    far = farthest(points)
    if not np.isfinite(far):
        there = points[np.isfinite(points).all(axis=1)]
        far = farthest(there) if len(there) else NEAREST
    some = np.abs(points[:: max(1, len(points) // ROWS)])
    tiny = float(np.mean((some > 0) & (some < SMALLEST)))
    if far > FARTHEST or far < NEAREST or tiny > 0.01:
        raise InputError(
            f"has coordinates of up to {far:.3g} when read as rows of {width} float32, which no scan has; "
            "give the right --columns, or save it as .npy"
        )
