"""LAS and LAZ, the formats of airborne and terrestrial laser scanning, by laspy."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError, require
from crosspoint.core.reading import ADVICE, check_announced, read_start, readable
from crosspoint.data.io.scans.laszip import check_chunks

CHUNK = 1 << 18  # points that are decoded at once
HEADER, RECORD = 104, 54  # bytes up to the number of variable-length records, and of the shortest of these


def read_las(path: Path) -> npt.NDArray[np.float64]:
    """Read the coordinates of a `.las` or `.laz` file: stored whole numbers times the scale, plus the offset.

    Returns:
        (N, 3).

    Raises:
        InputError: The file is damaged, is cut off, or has no points.
        MissingDependency: laspy or lazrs is not installed.
    """
    laspy = require("laspy", "las", purpose=f"reading {path.name}")
    lazrs = require("lazrs", "las", purpose=f"reading {path.name}") if path.suffix.lower() == ".laz" else None
    size = readable(path)
    start = read_start(path, HEADER)
    records = struct.unpack_from("<I", start, 100)[0] if len(start) == HEADER else 0
    if len(start) == HEADER and struct.unpack_from("<I", start, 96)[0] > size:
        raise InputError(f"is cut off: its points would begin behind its {size} bytes; {ADVICE}")
    if records * RECORD > size:
        raise InputError(f"is damaged: {size} bytes cannot hold {records} records before the points; {ADVICE}")
    with open(path, "rb") as stream:
        header = laspy.LasHeader.read_from(stream)
    count, row = int(header.point_count), int(header.point_format.size)
    if count == 0:
        raise InputError(f"has no points; {ADVICE}")
    if not header.are_points_compressed and count * row > size:
        raise InputError(f"is cut off: {size} bytes cannot hold {count} points; {ADVICE}")
    check_announced(count * row, size)
    if header.are_points_compressed:
        lazrs = lazrs or require("lazrs", "las", purpose=f"reading {path.name}")
        check_chunks(path, header=header, lazrs=lazrs)
    try:
        return _decoded(laspy, path, header)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the decoder's own, which is no Exception
            raise
        raise InputError(f"is damaged: its points cannot be decoded; {ADVICE}") from error


def _decoded(laspy: Any, path: Path, header: Any) -> npt.NDArray[np.float64]:
    count = int(header.point_count)
    scale, offset = np.asarray(header.scales, np.float64), np.asarray(header.offsets, np.float64)
    points = np.empty((count, 3))
    done = 0
    with laspy.open(str(path)) as file:
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
