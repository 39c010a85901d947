"""Checks that mesh files are complete: the library that reads meshes does not notice the missing end of some."""

import itertools
import re
import struct
from collections.abc import Iterable
from pathlib import Path

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, allowance, check_announced, check_lines, read_start
from crosspoint.data.io.glb import check_glb
from crosspoint.data.io.ply_header import HEADER_BYTES, check_counts, read_header

PIECES = 2000  # most pieces of a mesh file; the library takes a millisecond or more for each
TRIANGLE = 270  # bytes of memory per triangle while a text format is read (measured)
BLANK = 1000  # lines that a text file may have beyond those in its header


def check_complete(suffix: str, content: bytes) -> None:
    """Raise InputError if a mesh file is shorter than its header says, or its header claims far more than its size."""
    check = {".off": _check_off, ".obj": _check_obj, ".ply": _check_ply, ".stl": _check_stl, ".glb": check_glb}
    check[suffix](content)


def as_utf8(suffix: str, content: bytes) -> bytes:
    """Convert a text format to UTF-8 without a byte-order mark; bytes that are not UTF-8 are read as Latin-1."""
    if suffix not in (".off", ".obj", ".stl") or _is_binary_stl(content):
        return content
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1").encode("utf-8")
    return content


def ply_faces(path: Path) -> bool:
    """Whether the header of a `.ply` has faces; False if the header cannot be read."""
    try:
        return read_header(read_start(path, HEADER_BYTES)).count("face") > 0
    except InputError:
        return False


def _check_off(content: bytes) -> None:
    check_lines(content)
    lines = (line.split(b"#")[0].split() for line in content.splitlines())
    rows = (line for line in lines if line)
    first = next(rows, [b""])
    if not first[0].upper().startswith((b"OFF", b"COFF")):
        raise InputError(f"does not begin with OFF; {ADVICE}")
    glued = first[0].upper().partition(b"OFF")[2]  # ModelNet has files that begin with OFF490 518 0
    counts = ([glued] if glued else []) + first[1:] or next(rows, [])
    if len(counts) < 2 or not (counts[0].isdigit() and counts[1].isdigit()):
        raise InputError(f"has no numbers of vertices and faces; {ADVICE}")
    _check_triangles(_check_rows(rows, int(counts[0]), int(counts[1])), content)


def _check_obj(content: bytes) -> None:
    check_lines(content)
    if content.count(b"usemtl") > PIECES:  # each material becomes one piece
        _check_pieces(len(set(re.findall(rb"usemtl[^\n]*", content))))
    if TRIANGLE * (content.count(b" ") + content.count(b"\t")) > allowance(len(content)):  # a corner has at least one
        faces = re.finditer(rb"^[ \t]*f[ \t][^\n]*", content, re.MULTILINE)
        _check_triangles(sum(len(face[0].split()) - 3 for face in faces), content)


def _check_ply(content: bytes) -> None:
    header = read_header(content)
    check_counts(header, len(content))
    if not header.text:
        return  # the library checks the length
    body = content[header.length :]
    check_lines(body)
    rows = sum(element.count for element in header.elements)
    if body.count(b"\n") + body.count(b"\r") > 4 * rows + BLANK:
        raise InputError(f"has far more lines than the {rows} in its header; {ADVICE}")
    if [element.name for element in header.elements[:2]] == ["vertex", "face"]:
        lines = (line.split() for line in body.splitlines() if line.strip())
        _check_triangles(_check_rows(lines, header.count("vertex"), header.count("face")), content)


def _check_rows(rows: Iterable[list[bytes]], vertices: int, faces: int) -> int:
    """Check that all rows of vertices and faces are present, and that the last face is complete.

    Returns:
        The largest number of triangles that the faces can become.
    """
    number, corners, last = 0, 0, [b"0"]
    for row in itertools.islice(rows, vertices + faces):
        number, last = number + 1, row
        if number > vertices:
            corners += len(row) - 1  # the first entry is the number of corners
    cut = number < vertices + faces or (faces > 0 and last[0].isdigit() and len(last) <= int(last[0]))
    if cut:
        raise InputError(f"is cut off: its header says {vertices} vertices and {faces} faces; {ADVICE}")
    return corners - 2 * faces


def _is_binary_stl(content: bytes) -> bool:
    """Whether the length is that of a complete binary STL; a text STL can begin in the same way."""
    return len(content) >= 84 and len(content) == 84 + 50 * struct.unpack_from("<I", content, 80)[0]


def _check_stl(content: bytes) -> None:
    if _is_binary_stl(content):
        return
    if b"endsolid" not in content[-300:]:
        raise InputError(f"is cut off or is not an STL mesh; {ADVICE}")
    check_lines(content)
    _check_pieces(content.lower().count(b"endsolid"))


def _check_triangles(count: int, content: bytes) -> None:
    """Refuse polygons that need far more memory than their text: a polygon of n corners becomes n - 2 triangles."""
    check_announced(TRIANGLE * count, len(content))


def _check_pieces(count: int) -> None:
    if count > PIECES:
        raise InputError(f"has {count:,} pieces; at most {PIECES:,} can be joined; save it as one mesh")
