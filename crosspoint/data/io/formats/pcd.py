"""Reads PCD files, as the Point Cloud Library (PCL) writes them, old versions included.

The format: https://pointclouds.org/documentation/tutorials/pcd_file_format.html. Where that page says nothing, this
reads what PCL's own reader reads.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, check_announced, check_lines, some
from crosspoint.data.io.columns import AXES, from_rows
from crosspoint.data.points import Coordinates

HEADER_BYTES = 1 << 16  # largest header; real ones have a few hundred bytes
PADDING = "_"  # name of fields that only fill a gap
SIZES = (1, 2, 4, 8)  # bytes of a value
KINDS = {f"{kind}{size}": f"<{kind.lower()}{size}" for kind in "IU" for size in SIZES} | {"F4": "<f4", "F8": "<f8"}
COMPRESSED = ("binary_compressed", "binaryscompressed")  # the second is a misspelling that other writers use


@dataclass(frozen=True)
class Field:
    """A column of the points, e.g. `x` or a descriptor of many values.

    Attributes:
        name: Name, in lower case.
        kind: Type and size of a value, e.g. `F4`.
        size: Bytes per value.
        count: Values per point.
    """

    name: str
    kind: str
    size: int
    count: int


Fields = tuple[Field, ...]


@dataclass(frozen=True)
class PcdHeader:
    """The fields in order, the number of points, the encoding, and the size of the header in bytes."""

    fields: Fields
    points: int
    data: str
    length: int


def read_pcd(content: bytes) -> Coordinates:
    """Read the coordinates of a PCD file: ascii, binary or binary_compressed, organised or not, fields in any order.

    Returns:
        (N, 3); an organised cloud row by row. Missing points are NaN, as in the file.

    Raises:
        InputError: The header is missing or invalid, the file is shorter than the header says, or there are no fields
            x, y and z of one value each.
        ValueError: A value is not a number.
    """
    header = read_header(content)
    _check_axes(header.fields)
    if header.points == 0:
        raise InputError(f"has no points; {ADVICE}")
    body = memoryview(content)[header.length :]
    if header.data == "ascii":
        check_lines(content)
        return _read_ascii(header, body)
    if header.data == "binary":
        return _read_binary(header, body)
    if header.data in COMPRESSED:
        return _read_compressed(header, body)
    raise InputError(f"has DATA {some([header.data])}; save it as ascii, binary or binary_compressed")


def read_header(content: bytes) -> PcdHeader:
    """Parse the header of a PCD file. FIELDS, DATA and POINTS (or WIDTH and HEIGHT) are required.

    Raises:
        InputError: It does not end within `HEADER_BYTES`, or one of its lines is invalid.
    """
    lines: dict[str, list[str]] = {}
    length = 0
    for line in io.BytesIO(content[:HEADER_BYTES]):
        length += len(line)
        words = line.decode("latin-1").split()
        if words and not words[0].startswith("#"):
            lines[words[0].upper()] = words[1:]
            if words[0].upper() == "DATA":
                break
    names = lines.get("FIELDS", lines.get("COLUMNS", []))  # COLUMNS in the oldest files
    if not lines.get("DATA") or not names:
        raise InputError(f"has no PCD header; {ADVICE}")
    sizes = _numbers(lines, "SIZE", len(names), 4)
    counts = _numbers(lines, "COUNT", len(names), 1)
    kinds = lines.get("TYPE") or ["F"] * len(names)
    if len(kinds) != len(names):
        raise InputError(f"is damaged: its header names {len(names)} FIELDS and {len(kinds)} of TYPE; {ADVICE}")
    if not set(sizes) <= set(SIZES):
        raise InputError(f"is damaged: its header gives values of {some(sizes)} bytes; {ADVICE}")
    fields = (
        Field(name.lower(), f"{kind.upper()}{size}", size, count)
        for name, kind, size, count in zip(names, kinds, sizes, counts, strict=True)
    )
    return PcdHeader(tuple(fields), _points(lines), lines["DATA"][0].lower(), length)


def _numbers(lines: dict[str, list[str]], key: str, expected: int, default: int) -> list[int]:
    """The whole numbers of a line of the header; if the line is missing, `default` for each."""
    words = lines.get(key) or [str(default)] * expected
    if len(words) != expected or not all(word.isascii() and word.isdecimal() and len(word) <= 18 for word in words):
        raise InputError(f"is damaged: its header has no valid {key} ({some(words)}); {ADVICE}")
    return [int(word) for word in words]


def _points(lines: dict[str, list[str]]) -> int:
    """POINTS, which equals WIDTH · HEIGHT if those are given."""
    found = {key: _numbers(lines, key, 1, 1)[0] for key in ("WIDTH", "HEIGHT", "POINTS") if lines.get(key)}
    area = found["WIDTH"] * found.get("HEIGHT", 1) if "WIDTH" in found else None
    points = found.get("POINTS", area)
    if points is None:
        raise InputError(f"is damaged: its header has no number of POINTS; {ADVICE}")
    if area not in (None, points):
        raise InputError(f"is damaged: its header says {points} POINTS, but WIDTH times HEIGHT is {area}; {ADVICE}")
    return points


def _check_axes(fields: Fields) -> None:
    names = [field.name for field in fields]
    if not set(AXES) <= set(names):
        raise InputError(f"has no x, y and z, only {some(names)}; {ADVICE}")
    for field in (fields[names.index(axis)] for axis in AXES):
        if field.kind not in KINDS:
            raise InputError(f"has {field.name} of type {some([field.kind])}; save float32 coordinates")
        if field.count > 1:
            raise InputError(f"has {field.count} values of {field.name} a point; save one")


def _layouts(fields: Fields, compressed: bool) -> Iterator[Fields]:
    """Possible rows: as the header says, then two variants, because writers differ.

    Old converters of PCL write COUNT 0 for one value; other writers mean none. PCL leaves the padding out of compressed
    files.
    """
    kept = tuple(field for field in fields if field.name != PADDING)
    for chosen in (kept, fields) if compressed and kept != fields else (fields,):
        yield tuple(Field(field.name, field.kind, field.size, field.count or 1) for field in chosen)
        if any(field.count == 0 for field in chosen):
            yield tuple(field for field in chosen if field.count)


def _choose(header: PcdHeader, size: int, compressed: bool = False) -> Fields:
    """The layout whose points take `size` bytes; the first layout if none does."""
    layouts = list(_layouts(header.fields, compressed))
    return next((layout for layout in layouts if header.points * _row(layout) == size), layouts[0])


def _row(fields: Fields) -> int:
    """Bytes per point."""
    return sum(field.size * field.count for field in fields)


def _locate(fields: Fields) -> list[tuple[Field, Fields]]:
    """The fields x, y and z, each with the fields before it."""
    names = [field.name for field in fields]
    return [(fields[names.index(axis)], fields[: names.index(axis)]) for axis in AXES]


def _cut_off(header: PcdHeader, size: int) -> InputError:
    return InputError(f"is cut off: its {size} bytes cannot hold {header.points} points; {ADVICE}")


def _read_ascii(header: PcdHeader, body: memoryview) -> npt.NDArray[np.float64]:
    columns = sum(field.count for field in header.fields)
    if 2 * columns * header.points - 1 > len(body):  # a value has at least one digit and one separator
        raise _cut_off(header, len(body))
    rows = np.loadtxt(io.BytesIO(body), ndmin=2, encoding="latin-1")  # (N, columns)
    if len(rows) != header.points:
        raise InputError(f"is cut off: {len(rows)} of {header.points} points; {ADVICE}")
    layouts = _layouts(header.fields, compressed=False)
    fields = next((layout for layout in layouts if sum(field.count for field in layout) == rows.shape[1]), None)
    if fields is None:
        raise InputError(f"is damaged: its points have {rows.shape[1]} values and not {columns}; {ADVICE}")
    return rows[:, [sum(field.count for field in before) for _, before in _locate(fields)]]


def _read_binary(header: PcdHeader, body: memoryview) -> Coordinates:
    """Read rows of points."""
    fields = _choose(header, len(body))
    row = _row(fields)
    if row * header.points > len(body):
        raise _cut_off(header, len(body))
    places = [(KINDS[field.kind], _row(before)) for field, before in _locate(fields)]
    return from_rows(body, header.points, row=row, places=places)


def _read_compressed(header: PcdHeader, body: memoryview) -> Coordinates:
    """Read two lengths, then LZF-compressed data: all values of the first field, of the second, and so on."""
    import lzf

    if len(body) < 8:
        raise _cut_off(header, len(body))
    packed, plain = struct.unpack_from("<II", body)
    check_announced(plain, header.length + len(body))
    fields = _choose(header, plain, compressed=True)
    if plain != _row(fields) * header.points:
        raise InputError(f"is damaged: {plain} bytes are not {header.points} points of {_row(fields)}; {ADVICE}")
    if 8 + packed > len(body):
        raise _cut_off(header, len(body))
    values = lzf.decompress(bytes(body[8 : 8 + packed]), plain)  # None if the result is longer
    if values is None or len(values) != plain:
        raise InputError(f"is damaged: its compressed points are not {plain} bytes, as its header says; {ADVICE}")
    axes = [
        np.frombuffer(values, KINDS[field.kind], header.points, header.points * _row(before))
        for field, before in _locate(fields)
    ]
    single = all(field.kind == "F4" for field, _ in _locate(fields))
    return np.stack(axes, axis=-1, dtype=np.float32 if single else np.float64)  # (N, 3)
