"""The content of a file, inflated where its name ends in `.gz`, within bounds."""

import zlib
from pathlib import Path

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, SHARE, SMALL, allowance, read_bytes, reading
from crosspoint.core.system.memory import available_memory

GZIP = ".gz"
INFLATED = frozenset({".ply", ".pcd", ".asc", ".pts", ".xyz", ".txt", ".csv", ".off", ".obj", ".stl"})  # also as .gz
STEP = 1 << 24  # bytes that are inflated at once


def format_of(path: Path) -> str:
    """The suffix that tells the format, in lower case: `.ply` of `scan.PLY` and of `scan.ply.gz`."""
    suffix = path.suffix.lower()
    inner = Path(path.stem).suffix.lower()
    return inner if suffix == GZIP and inner in INFLATED else suffix


def read_content(path: Path) -> bytes:
    """The bytes of a file under the rules of `read_bytes`, inflated where its name ends in `.gz`.

    Raises:
        InputError: It cannot be read, is damaged, or becomes far larger than it is.
    """
    if path.suffix.lower() != GZIP:
        return read_bytes(path)
    content = read_bytes(path)
    with reading(path, "a gzip archive"):
        return _inflate(content)


def _inflate(content: bytes) -> bytes:
    """The members of a gzip archive, one after the other; zeros may follow the last."""
    most = min(allowance(len(content)), max(SMALL, available_memory() // SHARE))
    made, parts = 0, list[bytes]()
    while content.rstrip(b"\0"):
        inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
        while not inflater.eof:
            part = inflater.decompress(content, STEP)
            content = inflater.unconsumed_tail or inflater.unused_data
            made += len(part)
            if made > most:
                raise InputError(f"inflates to more than {most // 10**6:,} MB; {ADVICE}")
            parts.append(part)
            if not part and not content and not inflater.eof:
                raise InputError(f"is cut off; {ADVICE}")
    if not made:
        raise InputError(f"is empty; {ADVICE}")
    return b"".join(parts)
