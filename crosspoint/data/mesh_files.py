"""What a mesh file says of its own length: the library that reads meshes passes over the missing end of some."""

import importlib.util
import itertools
import json
import struct
from collections.abc import Iterable
from pathlib import Path

from crosspoint.core.reading import ADVICE
from crosspoint.errors import InputError

DRACO = "KHR_draco_mesh_compression"
HEADER_BYTES = 1 << 16  # of a PLY header; real ones are a few hundred


def check_complete(suffix: str, content: bytes) -> None:
    """Raise InputError if a mesh file ends before what its header announces; `.obj` announces nothing."""
    check = {".off": _check_off, ".ply": _check_ply, ".stl": _check_stl, ".glb": _check_glb}.get(suffix)
    if check is not None:
        check(content)


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


def ply_counts(content: bytes) -> dict[str, int]:
    """How many of each element a PLY header announces, in order; empty if there is no whole header."""
    header, end, _ = content[:HEADER_BYTES].partition(b"end_header")
    if not end or not header.startswith(b"ply"):
        return {}
    lines = [line.split() for line in header.decode("latin-1").splitlines()]
    return {line[1]: int(line[2]) for line in lines if len(line) == 3 and line[0] == "element" and line[2].isdecimal()}


def ply_faces(path: Path) -> bool:
    """Whether the header of a `.ply` announces faces.

    Raises:
        InputError: The file cannot be opened.
    """
    try:
        with Path(path).open("rb") as file:
            return ply_counts(file.read(HEADER_BYTES)).get("face", 0) > 0
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}); check the path and its permissions") from error


def _check_off(content: bytes) -> None:
    lines = (line.split(b"#")[0].split() for line in content.splitlines())
    rows = (line for line in lines if line)
    first = next(rows, [b""])
    if not first[0].upper().startswith((b"OFF", b"COFF")):
        raise InputError(f"does not start with OFF; {ADVICE}")
    glued = first[0].upper().partition(b"OFF")[2]  # ModelNet has files that start with OFF490 518 0
    counts = ([glued] if glued else []) + first[1:] or next(rows, [])
    if len(counts) < 2 or not (counts[0].isdigit() and counts[1].isdigit()):
        raise InputError(f"does not say how many vertices and faces it has; {ADVICE}")
    _check_rows(rows, int(counts[0]), int(counts[1]))


def _check_ply(content: bytes) -> None:
    counts = ply_counts(content)
    if not counts:
        raise InputError(f"has no PLY header; {ADVICE}")
    header, _, body = content.partition(b"end_header")
    if b"format ascii" not in header or list(counts)[:2] != ["vertex", "face"]:
        return  # binary: the length is checked by the library
    rows = (line.split() for line in body.splitlines() if line.strip())
    _check_rows(rows, counts["vertex"], counts["face"])


def _check_rows(rows: Iterable[list[bytes]], vertices: int, faces: int) -> None:
    """Check that the rows of vertices and faces are all there, and that the last face has all of its vertices."""
    number, last = 0, [b"0"]
    for row in itertools.islice(rows, vertices + faces):
        number, last = number + 1, row
    cut = number < vertices + faces or (faces > 0 and last[0].isdigit() and len(last) <= int(last[0]))
    if cut:
        raise InputError(f"is cut off: it announces {vertices} vertices and {faces} faces; {ADVICE}")


def _is_binary_stl(content: bytes) -> bool:
    """Whether the length is that of a whole binary STL; ones of text can start in the same way."""
    return len(content) >= 84 and len(content) == 84 + 50 * struct.unpack_from("<I", content, 80)[0]


def _check_stl(content: bytes) -> None:
    if not _is_binary_stl(content) and b"endsolid" not in content[-300:]:
        raise InputError(f"is cut off, or not an STL mesh; {ADVICE}")


def _check_glb(content: bytes) -> None:
    if len(content) < 20 or not content.startswith(b"glTF"):
        raise InputError(f"does not start as a GLB file does; {ADVICE}")
    length, header = struct.unpack_from("<II", content, 8)
    if len(content) < length:
        raise InputError(f"is cut off: {len(content)} of {length} bytes; {ADVICE}")
    required = json.loads(content[20 : 20 + header].decode("utf-8")).get("extensionsRequired", ())
    if DRACO in required and importlib.util.find_spec("DracoPy") is None:
        raise InputError("is compressed with Draco; pip install DracoPy, or export it without compression")
