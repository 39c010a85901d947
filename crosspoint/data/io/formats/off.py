"""OFF meshes, with or without normals, colours and texture coordinates."""

import io
import re
from itertools import islice

import numpy as np

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, check_announced, check_lines
from crosspoint.data.io.rows import Rows, filled, lists_of, parse_rows
from crosspoint.data.points import Coordinates

KEYWORD = re.compile(r"(ST)?(C)?(N)?(4)?OFF", re.IGNORECASE)
LEAST = 2  # bytes of a number with what separates it from the next


def read_off(content: bytes) -> tuple[Coordinates, Rows]:
    """Read the vertices and faces of an OFF file: `OFF`, `COFF`, `NOFF`, `STOFF` and their combinations.

    Returns:
        Coordinates (N, 3), and the corners of each face.

    Raises:
        InputError: It is no OFF file, is one of four or n dimensions, is binary, or is cut off.
        ValueError: Something that is not a number.
    """
    check_lines(content)
    lines = filled(io.TextIOWrapper(io.BytesIO(content), "latin-1"))
    first = next(lines, "").removeprefix("ï»¿").strip()
    keyword = KEYWORD.match(first)
    if keyword is None:
        raise InputError(f"does not begin with OFF; {ADVICE}")
    rest = first[keyword.end() :].split()  # ModelNet has files that start with OFF490 518 0
    if keyword[4] or rest[:1] == ["BINARY"]:
        raise InputError("is binary, or has four coordinates a vertex; save it as OFF text with three")
    counts = rest or next(lines, "").split()
    if len(counts) < 2 or not all(word.isascii() and word.isdecimal() and len(word) < 19 for word in counts[:2]):
        raise InputError(f"has no numbers of vertices and faces; {ADVICE}")
    vertices, faces = int(counts[0]), int(counts[1])
    if LEAST * (3 * vertices + faces) > len(content) + 1:
        raise InputError(f"is cut off: its header says {vertices} vertices and {faces} faces; {ADVICE}")
    check_announced(24 * vertices + 8 * faces, len(content))
    points = np.loadtxt(islice(lines, vertices), usecols=(0, 1, 2), ndmin=2) if vertices else np.empty((0, 3))
    corners = _faces(parse_rows(lines), faces)
    if len(points) < vertices or corners is None:
        raise InputError(f"is cut off: its header says {vertices} vertices and {faces} faces; {ADVICE}")
    return points, corners


def _faces(rows: Rows, count: int) -> Rows | None:
    """The corners of `count` faces, each a line that may end with a colour; or all in a row of numbers, on any lines.

    Returns:
        None where there are fewer faces.
    """
    if count == 0:
        return Rows(np.empty(0, np.int64), np.empty(0, np.int64))
    if len(rows.lengths) >= count:
        some = Rows(rows.values[: int(rows.lengths[:count].sum())], rows.lengths[:count])
        firsts = some.values[np.cumsum(some.lengths) - some.lengths]
        if (firsts < some.lengths).all():
            return lists_of(some)
    values, at, corners, lengths = rows.values.astype(np.int64).tolist(), 0, list[int](), list[int]()
    for _ in range(count):
        if at >= len(values) or not 0 <= values[at] < len(values) - at:
            return None
        lengths.append(values[at])
        corners += values[at + 1 : at + 1 + values[at]]
        at += 1 + values[at]
    return Rows(np.array(corners, np.int64), np.array(lengths, np.int64))
