"""What a mesh file says of its own length: the library that reads meshes passes over the missing end of some."""

import itertools
import re
import struct
from collections.abc import Iterable
from pathlib import Path

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, allowance, check_announced, check_lines, read_start
from crosspoint.data.io.glb import check_glb
from crosspoint.data.io.ply_header import HEADER_BYTES, check_counts, read_header

PIECES = 2000  # of one mesh file: the library takes a millisecond for each, and more for many
TRIANGLE = 270  # bytes of memory that a triangle of a text takes while it is read, as measured
BLANK = 1000  # lines that a text may have beside those that it announces


def check_complete(suffix: str, content: bytes) -> None:
    """Raise InputError if a mesh file ends before what its header announces, or announces far more than its size."""
    check = {".off": _check_off, ".obj": _check_obj, ".ply": _check_ply, ".stl": _check_stl, ".glb": check_glb}
    check[suffix](content)


def as_utf8(suffix: str, content: bytes) -> bytes:
    """The content of a text format as UTF-8 without a byte-order mark; what is not UTF-8 is taken as Latin-1."""
    if suffix not in (".off", ".obj", ".stl") or _is_binary_stl(content):
        return content
    content = content.removeprefix(b"\xef\xbb\xbf")
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1").encode("utf-8")
    return content


def ply_faces(path: Path) -> bool:
    """Whether the header of a `.ply` announces faces; not if there is none that can be read."""
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
        raise InputError(f"does not start with OFF; {ADVICE}")
    glued = first[0].upper().partition(b"OFF")[2]  # ModelNet has files that start with OFF490 518 0
    counts = ([glued] if glued else []) + first[1:] or next(rows, [])
    if len(counts) < 2 or not (counts[0].isdigit() and counts[1].isdigit()):
        raise InputError(f"does not say how many vertices and faces it has; {ADVICE}")
    _check_triangles(_check_rows(rows, int(counts[0]), int(counts[1])), content)


def _check_obj(content: bytes) -> None:
    check_lines(content)
    if content.count(b"usemtl") > PIECES:  # each material becomes a piece
        _check_pieces(len(set(re.findall(rb"usemtl[^\n]*", content))))
    if TRIANGLE * (content.count(b" ") + content.count(b"\t")) > allowance(len(content)):  # at least one a corner
        faces = re.finditer(rb"^[ \t]*f[ \t][^\n]*", content, re.MULTILINE)
        _check_triangles(sum(len(face[0].split()) - 3 for face in faces), content)


def _check_ply(content: bytes) -> None:
    header = read_header(content)
    check_counts(header, len(content))
    if not header.text:
        return  # the length is checked by the library
    body = content[header.length :]
    check_lines(body)
    rows = sum(element.count for element in header.elements)
    if body.count(b"\n") + body.count(b"\r") > 4 * rows + BLANK:
        raise InputError(f"has far more lines than the {rows} that it announces; {ADVICE}")
    if [element.name for element in header.elements[:2]] == ["vertex", "face"]:
        lines = (line.split() for line in body.splitlines() if line.strip())
        _check_triangles(_check_rows(lines, header.count("vertex"), header.count("face")), content)


def _check_rows(rows: Iterable[list[bytes]], vertices: int, faces: int) -> int:
    """Check that the rows of vertices and faces are all there, and that the last face has all of its vertices.

    Returns:
        The most triangles that the faces can become.
    """
    number, corners, last = 0, 0, [b"0"]
    for row in itertools.islice(rows, vertices + faces):
        number, last = number + 1, row
        if number > vertices:
            corners += len(row) - 1  # the first is their number
    cut = number < vertices + faces or (faces > 0 and last[0].isdigit() and len(last) <= int(last[0]))
    if cut:
        raise InputError(f"is cut off: it announces {vertices} vertices and {faces} faces; {ADVICE}")
    return corners - 2 * faces


def _is_binary_stl(content: bytes) -> bool:
    """Whether the length is that of a whole binary STL; ones of text can start in the same way."""
    return len(content) >= 84 and len(content) == 84 + 50 * struct.unpack_from("<I", content, 80)[0]


def _check_stl(content: bytes) -> None:
    if _is_binary_stl(content):
        return
    if b"endsolid" not in content[-300:]:
        raise InputError(f"is cut off, or not an STL mesh; {ADVICE}")
    check_lines(content)
    _check_pieces(content.lower().count(b"endsolid"))


def _check_triangles(count: int, content: bytes) -> None:
    """Refuse polygons that become far more memory than their text: each of n corners is n - 2 triangles."""
    check_announced(TRIANGLE * count, len(content))


def _check_pieces(count: int) -> None:
    if count > PIECES:
        raise InputError(f"has {count:,} pieces, more than the {PIECES:,} that can be joined; save it as one mesh")
