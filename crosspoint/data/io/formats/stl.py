"""STL meshes: whether the file is whole, which the library that reads them does not see, and what it reads."""

import io
import logging
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, check_lines

# Without any handler Python prints a library's warnings; an application that sets up logging still gets them.
logging.getLogger("trimesh").addHandler(logging.NullHandler())

PIECES = 2000  # of one file: the library takes a millisecond for each, and more for many
FACET = [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")]


def read_stl(content: bytes) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Read an STL file, binary or text.

    Returns:
        Vertices (3 F, 3), three of each facet, and triangles (F, 3).

    Raises:
        InputError: It is cut off, or of too many pieces.
    """
    if _is_binary(content):
        facets = np.frombuffer(content, FACET, offset=84)
        return facets["corners"].reshape(-1, 3), np.arange(3 * len(facets)).reshape(-1, 3)
    if b"endsolid" not in content[-300:].lower():
        raise InputError(f"is cut off or is not an STL mesh; {ADVICE}")
    check_lines(content)
    pieces = content.lower().count(b"endsolid")
    if pieces > PIECES:
        raise InputError(f"has {pieces:,} pieces, more than the {PIECES:,} that can be joined; save it as one mesh")
    import trimesh

    text = io.BytesIO(content.decode("utf-8", "replace").encode("utf-8"))
    mesh: Any = trimesh.load(text, file_type="stl_ascii", force="mesh", process=False)
    if not isinstance(mesh, trimesh.Trimesh):
        raise InputError(f"has no faces; {ADVICE}")
    return np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int64)


def _is_binary(content: bytes) -> bool:
    """Whether the length is that of a whole binary STL; ones of text can start in the same way."""
    return len(content) >= 84 and len(content) == 84 + 50 * int(struct.unpack_from("<I", content, 80)[0])
