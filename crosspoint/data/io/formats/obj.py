"""Wavefront OBJ meshes and clouds: vertices and faces; materials, normals and texture coordinates are not read."""

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, check_lines
from crosspoint.data.io.rows import Rows, parse_rows
from crosspoint.data.points import Coordinates

VERTEX = re.compile(rb"^[ \t]*v[ \t]+([^\n#]*)", re.MULTILINE)
FACE = re.compile(rb"^[ \t]*f[ \t]+([^\n#]*)", re.MULTILINE)
EITHER = re.compile(rb"^[ \t]*(v|f)[ \t]+([^\n#]*)", re.MULTILINE)
REST = re.compile(r"/\S*")  # of a corner: its texture coordinate and normal


def read_obj(content: bytes) -> tuple[Coordinates, Rows]:
    """Read the vertices and faces of an OBJ file; without faces it is a cloud.

    Returns:
        Coordinates (N, 3), and the corners of each face.

    Raises:
        InputError: A line is too long, or there is no vertex.
        ValueError: Something that is not a number.
    """
    check_lines(content)
    if b"\\\n" in content or b"\\\r" in content:  # a line that goes on in the next
        content = re.sub(rb"\\\r?\n", b" ", content)
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")
    rows = (match[1].decode("latin-1") for match in VERTEX.finditer(content))
    first = next(rows, None)
    if first is None:
        raise InputError(f"has no vertices; {ADVICE}")
    points = np.loadtxt(_chain(first, rows), usecols=(0, 1, 2), ndmin=2)
    faces = parse_rows(_corners(content), "i8")
    if len(faces.values) and faces.values.min() < 0:
        faces = Rows(_counted_back(content, faces), faces.lengths)
    return points, Rows(faces.values - 1, faces.lengths)


def _chain(first: str, rows: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rows


def _corners(content: bytes) -> Iterator[str]:
    for match in FACE.finditer(content):
        text = match[1].decode("latin-1")
        yield REST.sub("", text) if "/" in text else text


def _counted_back(content: bytes, faces: Rows) -> npt.NDArray[np.int64]:
    """Corners counted from 1, where negative ones count back from the last vertex before their face."""
    before, vertices = list[int](), 0
    for match in EITHER.finditer(content):
        if match[1] == b"v":
            vertices += 1
        else:
            before.append(vertices)
    seen = np.repeat(np.array(before), faces.lengths)
    return np.where(faces.values < 0, faces.values + 1 + seen, faces.values)
