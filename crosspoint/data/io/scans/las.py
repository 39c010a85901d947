"""LAS and LAZ, the formats of airborne and terrestrial laser scanning, by laspy."""

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError, require
from crosspoint.core.reading import ADVICE, check_announced, read_start, readable

CHUNK = 1 << 18  # points that are decoded at once
HEADER, RECORD = 104, 54  # bytes up to the number of variable-length records, and of the shortest of these


def read_las(path: Path) -> npt.NDArray[np.float64]:
    """The coordinates of a `.las` or `.laz` file: its whole numbers times its scale, plus its offset.

    Returns:
        (N, 3).

    Raises:
        InputError: It is cut off, or has no points.
        MissingDependency: laspy or lazrs is not installed.
    """
    laspy = require("laspy", "las", purpose=f"reading {path.name}")
    if path.suffix.lower() == ".laz":
        require("lazrs", "las", purpose=f"reading {path.name}")
    size = readable(path)
    start = read_start(path, HEADER)
    records = struct.unpack_from("<I", start, 100)[0] if len(start) == HEADER else 0
    if records * RECORD > size:
        raise InputError(f"is damaged: {size} bytes cannot hold {records} records before the points; {ADVICE}")
    with laspy.open(str(path)) as file:
        header = file.header
        count, row = int(header.point_count), int(header.point_format.size)
        if count == 0:
            raise InputError(f"has no points; {ADVICE}")
        if not header.are_points_compressed and count * row > size:
            raise InputError(f"is cut off: {size} bytes cannot hold {count} points; {ADVICE}")
        check_announced(count * row, size)
        scale, offset = np.asarray(header.scales, np.float64), np.asarray(header.offsets, np.float64)
        points = np.empty((count, 3))
        done = 0
        for chunk in file.chunk_iterator(CHUNK):
            block = points[done : done + len(chunk)]  # (n, 3)
            for i, name in enumerate("XYZ"):
                block[:, i] = chunk[name]
            block *= scale
            block += offset
            done += len(chunk)
    if done != count:
        raise InputError(f"is cut off: it has {done} of {count} points; {ADVICE}")
    return points
