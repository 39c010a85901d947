"""Point clouds and meshes as PLY files."""

import io
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file
from crosspoint.core.printable import printable
from crosspoint.core.reading import ADVICE, check_lines
from crosspoint.data.io.columns import AXES, from_rows
from crosspoint.data.io.formats.ply_header import Element, PlyHeader, check_counts, read_header
from crosspoint.data.io.rows import Rows, filled, lists_of, parse_rows, ranges
from crosspoint.data.points import Coordinates, near_origin

FACES = ("vertex_indices", "vertex_index")
BLOCK = 1 << 18  # values gathered at once
CODES = dict(zip(("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"), "bBhHiIqQefd", strict=True))
BLANK = 1000  # lines that a text file may have beyond those in its header
COLOURS = (  # of labels, red, green and blue; they differ in hue and in lightness
    *((68, 119, 170), (238, 102, 119), (34, 136, 51), (204, 187, 68), (102, 204, 238), (170, 51, 119)),
    *((255, 153, 51), (34, 34, 85), (153, 221, 170), (136, 68, 34), (187, 153, 221), (119, 119, 119)),
)


class Places(NamedTuple):
    """Where the values of a binary element lie.

    Attributes:
        starts: By column, the byte at which each row has it (n,); of a list, its first value.
        lengths: By column that holds lists, how long each is (n,).
        end: The byte behind the element.
    """

    starts: dict[str, npt.NDArray[np.int64]]
    lengths: dict[str, npt.NDArray[np.int64]]
    end: int


def read_ply(content: bytes) -> tuple[Coordinates, Rows | None]:
    """Read the vertices and the faces of a PLY file: text or binary of either order, elements in any order.

    Returns:
        Coordinates (N, 3), and the corners of each face; None if the header has no faces.

    Raises:
        InputError: The header is invalid, claims more than the file holds, or has no x, y and z.
        ValueError: Something that is not a number.
    """
    header = read_header(content)
    check_counts(header, len(content))
    _check_vertex(header)
    parts = _text(header, content) if header.order == "" else _binary(header, content)
    points, corners = list[Coordinates](), list[Rows]()
    for part in parts:
        if isinstance(part, Rows):
            corners.append(part)
        else:
            points.append(part)
    if not len(points[0]):
        raise InputError(f"has no points; {ADVICE}")
    return points[0], corners[0] if corners and header.count("face") else None


def write_points(path: Path, points: npt.NDArray[np.floating]) -> None:
    """Write a cloud as binary little-endian PLY: one element `vertex` with float32 `x`, `y`, `z`; atomically.

    Args:
        path: Where to write; missing folders are made.
        points: (N, 3) finite coordinates. Those in float64 that float32 cannot hold are moved to the origin.

    Raises:
        InputError: `points` is not (N, 3), has no rows or is not finite, or `path` cannot be written.
    """
    from plyfile import PlyData, PlyElement

    points = _checked(path, points)
    rows = points.view([("x", "<f4"), ("y", "<f4"), ("z", "<f4")]).reshape(-1)  # (N,)
    with atomic_file(path) as temporary:
        PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(str(temporary))


def write_labelled(
    path: Path,
    points: npt.NDArray[np.floating],
    *,
    labels: npt.NDArray[np.integer],
    names: Mapping[int, str],
) -> None:
    """Write a cloud with labels, as `write_points`, with `red`, `green`, `blue` and an int32 `label` for each point.

    The comments of the file name the labels: `comment crosspoint segment 12 Chair/0`. Colours follow the order of
    `names`.

    Args:
        path: Output file; missing folders are made.
        points: (N, 3) finite coordinates.
        labels: (N,), each in `names`.
        names: Name of each label.

    Raises:
        InputError: As `write_points`.
    """
    from plyfile import PlyData, PlyElement

    points = _checked(path, points)
    kinds = [*((axis, "<f4") for axis in "xyz"), *((c, "u1") for c in ("red", "green", "blue")), ("label", "<i4")]
    rows = np.empty(len(points), kinds)
    for i, axis in enumerate("xyz"):
        rows[axis] = points[:, i]
    for i, label in enumerate(names):
        for colour, value in zip(("red", "green", "blue"), COLOURS[i % len(COLOURS)], strict=True):
            rows[colour][labels == label] = value
    rows["label"] = labels
    comments = [f"crosspoint segment {label} {printable(name)}" for label, name in names.items()]
    with atomic_file(path) as temporary:
        PlyData([PlyElement.describe(rows, "vertex")], byte_order="<", comments=comments).write(str(temporary))


def _checked(path: Path, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """The points (N, 3) as float32, near the origin where float32 cannot hold them."""
    points = np.asarray(points)
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise InputError(f"{path}: points of shape {points.shape} cannot be written; give (N, 3) with N at least 1")
    with np.errstate(over="ignore", invalid="ignore"):
        points = np.ascontiguousarray(near_origin(points), dtype="<f4")
    if not np.isfinite(points).all():
        raise InputError(f"{path}: points that are NaN or infinite cannot be written; remove them first")
    return points


def _check_vertex(header: PlyHeader) -> None:
    vertex = next((element for element in header.elements if element.name == "vertex"), None)
    if vertex is None:
        raise InputError(f"has no element named vertex; {ADVICE}")
    if {column.name for column in vertex.lists()} & set(AXES):
        raise InputError(f"has lists as coordinates; {ADVICE}")
    names = [column.name for column in vertex.properties]
    if not set(AXES) <= set(names):
        raise InputError(f"has no x, y and z, only {', '.join(names[:8])}; {ADVICE}")


def _text(header: PlyHeader, content: bytes) -> Iterator[Coordinates | Rows]:
    """The vertices and the corners of the faces, one row of an element a line."""
    check_lines(content)
    rows = sum(element.count for element in header.elements)
    if max(content.count(b"\n"), content.count(b"\r")) > 4 * rows + BLANK + header.length:
        raise InputError(f"has far more lines than the {rows} in its header; {ADVICE}")
    _check_last_row([element for element in header.elements if element.count][-1:], content)
    body = io.BytesIO(content)
    body.seek(header.length)
    lines = filled(io.TextIOWrapper(body, "latin-1"))
    for element in header.elements:
        own = islice(lines, element.count)
        if element.name == "vertex" and not element.lists():
            names = [column.name for column in element.properties]
            wanted = [names.index(axis) for axis in AXES]
            points = np.loadtxt(own, usecols=wanted, ndmin=2) if element.count else np.empty((0, 3))
            _check_rows(element, len(points))
            yield points
            continue
        parsed = parse_rows(own)
        _check_rows(element, len(parsed.lengths))
        if element.name == "vertex":
            yield _before_lists(element, parsed)
        elif element.name == "face":
            yield _faces(element, parsed)


def _check_last_row(elements: Sequence[Element], content: bytes) -> None:
    """Refuse a text that was cut off within the last row of its last element, as far as its length is known."""
    last = content[-(1 << 16) :].rstrip().rpartition(b"\n")[2].rpartition(b"\r")[2].split()
    for element in elements:
        if not element.lists() and len(last) < len(element.properties):
            raise InputError(f"is cut off: its last row has {len(last)} of {len(element.properties)} values; {ADVICE}")


def _check_rows(element: Element, found: int) -> None:
    if found != element.count:
        raise InputError(f"is cut off: its header says {element.count} {element.name}, but it has {found}; {ADVICE}")


def _before_lists(element: Element, rows: Rows) -> npt.NDArray[np.float64]:
    """x, y and z of rows that also hold lists, of which the coordinates are not behind one."""
    names = [column.name for column in element.properties]
    first = next(i for i, column in enumerate(element.properties) if column.length)
    places = np.array([names.index(axis) for axis in AXES])
    if places.max() > first:
        raise InputError(f"has coordinates behind a list; {ADVICE}")
    if len(rows.lengths) and int(rows.lengths.min()) <= int(places.max()):
        raise InputError(f"is cut off: a row has no x, y and z; {ADVICE}")
    starts = np.cumsum(rows.lengths) - rows.lengths
    points: npt.NDArray[np.float64] = rows.values[starts[:, None] + places]
    return points


def _faces(element: Element, rows: Rows) -> Rows:
    """The corners in rows of text, which may have numbers before them."""
    for before, column in enumerate(element.properties):
        if column.length and column.name in FACES:
            return lists_of(rows, before, after=len(element.properties) - before - 1)
        if column.length:
            raise InputError(f"has another list before the corners of its faces; {ADVICE}")
    raise InputError(f"has faces without {FACES[0]}; {ADVICE}")


def _binary(header: PlyHeader, content: bytes) -> Iterator[Coordinates | Rows]:
    """The vertices and the corners of the faces."""
    offset = header.length
    for element in header.elements:
        if element.lists():
            places = _walk(element, header.order, content, offset)
            end = places.end
            if element.name == "vertex":
                yield _gathered(element, header.order, content, places)
            elif element.name == "face" and element.count:
                yield _listed(element, header.order, content, places)
        else:
            end = offset + element.count * sum(int(column.kind[1]) for column in element.properties)
            _check_end(end, content)
            if element.name == "vertex":
                yield _in_rows(element, header.order, memoryview(content)[offset:end])
            elif element.name == "face" and element.count:
                raise InputError(f"has faces without {FACES[0]}; {ADVICE}")
        offset = end


def _in_rows(element: Element, order: str, rows: memoryview) -> Coordinates:
    """x, y and z of vertices without lists."""
    starts = accumulate((int(column.kind[1]) for column in element.properties), initial=0)
    places = {
        column.name: (order + column.kind, start) for column, start in zip(element.properties, starts, strict=False)
    }
    row = len(rows) // max(element.count, 1)
    return from_rows(rows, element.count, row=row, places=[places[axis] for axis in AXES])


def _gathered(element: Element, order: str, content: bytes, places: Places) -> Coordinates:
    """x, y and z of vertices with lists."""
    kinds = {column.name: order + column.kind for column in element.properties}
    axes = [_gather(content, kinds[axis], places.starts[axis]) for axis in AXES]
    return np.stack(axes, axis=-1, dtype=np.float64)


def _listed(element: Element, order: str, content: bytes, places: Places) -> Rows:
    """The corners of faces."""
    column = next((column for column in element.lists() if column.name in FACES), None)
    if column is None:
        raise InputError(f"has faces without {FACES[0]}; {ADVICE}")
    return _corners(content, order + column.kind, places.starts[column.name], places.lengths[column.name])


def _walk(element: Element, order: str, content: bytes, offset: int) -> Places:
    """Where the values of an element with lists lie."""
    if element.count and (found := _same_lengths(element, order, content, offset)) is not None:
        return found
    return _each_row(element, order, content, offset)


def _same_lengths(element: Element, order: str, content: bytes, offset: int) -> Places | None:
    """As `_walk`, of rows of which the lists are as long as those of the first; None where they are not."""
    first = Element(element.name, 1, element.properties)
    starts, lengths, end = _each_row(first, order, content, offset)
    row = end - offset
    if offset + row * element.count > len(content):
        return None
    for column in element.lists():
        place = int(starts[column.name][0]) - int(column.length[1])
        if (np.ndarray(element.count, order + column.length, content, place, (row,)) != lengths[column.name][0]).any():
            return None
    rows = row * np.arange(element.count)
    return Places(
        {name: rows + start[0] for name, start in starts.items()},
        {name: np.full(element.count, length[0]) for name, length in lengths.items()},
        offset + row * element.count,
    )


def _each_row(element: Element, order: str, content: bytes, offset: int) -> Places:
    """As `_walk`, row by row."""
    readers = [
        (
            column.name,
            int(column.kind[1]),
            struct.Struct(order + CODES[column.length]) if column.length else None,
        )
        for column in element.properties
    ]
    starts: dict[str, list[int]] = {name: [] for name, _, _ in readers}
    lengths: dict[str, list[int]] = {name: [] for name, _, length in readers if length}
    for _ in range(element.count):
        for name, size, length in readers:
            count = 1
            if length is not None:
                _check_end(offset + length.size, content)
                count = int(length.unpack_from(content, offset)[0])
                if count < 0:
                    raise InputError(f"has a list of {count} values; {ADVICE}")
                offset += length.size
                lengths[name].append(count)
            starts[name].append(offset)
            offset += size * count
        _check_end(offset, content)
    as_array = {name: np.array(places, np.int64) for name, places in starts.items()}
    return Places(as_array, {name: np.array(found, np.int64) for name, found in lengths.items()}, offset)


def _check_end(end: int, content: bytes) -> None:
    if end > len(content):
        raise InputError(f"is cut off: {len(content)} bytes, of at least {end}; {ADVICE}")


def _corners(content: bytes, kind: str, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Rows:
    """The lists of whole numbers at these bytes."""
    size, count = np.dtype(kind).itemsize, len(starts)
    row = int(starts[1] - starts[0]) if count > 1 else 0
    if (lengths == lengths[0]).all() and (np.diff(starts) == row).all():
        same = np.ndarray((count, int(lengths[0])), kind, content, int(starts[0]), (row, size))
        return Rows(same.astype(np.int64).reshape(-1), lengths)
    places = ranges(np.zeros_like(lengths), lengths) * size + np.repeat(starts, lengths)
    return Rows(_gather(content, kind, places).astype(np.int64), lengths)


def _gather(content: bytes, kind: str, places: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Values at these bytes."""
    values, plain = np.empty(len(places), kind), np.frombuffer(content, np.uint8)
    size = values.dtype.itemsize
    for start in range(0, len(places), BLOCK):
        block = places[start : start + BLOCK]
        values[start : start + BLOCK] = plain[block[:, None] + np.arange(size)].reshape(-1).view(kind)
    return values
