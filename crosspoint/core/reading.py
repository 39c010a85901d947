"""The one guard in front of every file that is read: only regular files, bounded memory, one-line errors.

Everything that opens a file goes through `read_bytes`, `read_start`, `read_json`, `read_lines` or `readable`, and
everything that parses one works inside `reading`, so that no reader lists the exceptions of its libraries and none
hangs on a pipe or a device. What a file announces in a few bytes is held against its size by `check_announced` before
a library makes room for it.
"""

import contextlib
import json
import os
import stat
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint.core.errors import CrosspointError, InputError
from crosspoint.core.printable import printable
from crosspoint.core.system.memory import available_memory

SIGNATURES = {  # first bytes of files that are often given a wrong suffix
    b"\x89PNG\r\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"%PDF-": "a PDF document",
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b\x08": "a gzip archive",
    b"\x89HDF\r\n": "an HDF5 file",
    b"<!DOCTYPE html": "a web page",
    b"version https://git-lfs": "a Git LFS pointer, not its content",
}
ADVICE = "replace it with an intact copy or leave it out"
REASON = 120  # most characters of a library's message
JSON_BYTES = 64 << 20  # most of a JSON file; those that the package writes are far smaller
SMALL = 64 << 20  # bytes that any file may announce, and a size that is read without asking how much memory there is
GROWTH = 32  # bytes that one byte of a larger file may become; compressed clouds and pictures become 10 at most
HOLLOW = 16  # a file of which less than this share is stored is a sparse one
SHARE = 4  # of the available memory a file may take one part, since what is made of it takes more than once its size
LINE = 1 << 16  # bytes of a line of text; rows of points and polygons are far shorter
SHOWN = 8  # names that a message lists


def reason_of(error: BaseException, most: int = REASON) -> str:
    """An exception on one line, cut where it gets long: what the system says of a file, else type and message."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def some(names: Iterable[object]) -> str:
    """The first of many names, joined by commas, each cut where it gets long; `"none"` if there are none."""
    found = list(names)
    shown = [text if len(text) <= 40 else text[:39] + "…" for text in map(str, found[:SHOWN])]
    return ", ".join(shown + [f"and {len(found) - SHOWN} more"] * (len(found) > SHOWN)) or "none"


def regular(path: Path) -> os.stat_result:
    """What the system says of a file that must be a regular one: no pipe, socket or device, which would never end.

    Raises:
        InputError: It is not there, not to be opened, or no regular file.
    """
    try:
        status = Path(path).stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise _cannot_open(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        list_folder(path)
        raise InputError(f"{path}: is a folder; give a file")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is a pipe, a socket or a device; save its content as a file first")
    return status


def readable(path: Path) -> int:
    """The size of a regular file of which all may be read into memory.

    Raises:
        InputError: As `regular`, or it is far too large for the memory that is available, or a large sparse file: a few
            stored bytes that read as gigabytes of zeros.
    """
    status = regular(path)
    size = status.st_size
    if size <= SMALL:
        return size
    stored = 512 * getattr(status, "st_blocks", size)
    if stored * HOLLOW < size and _has_holes(Path(path), size):
        raise InputError(f"{path}: is a sparse file: {_bytes(stored)} are stored of {_bytes(size)}; {ADVICE}")
    available = available_memory()
    if size > available // SHARE:
        raise InputError(
            f"{path}: has {_bytes(size)}, more than a quarter of the {_bytes(available)} of memory that are available; "
            "divide it, or use a machine with more memory"
        )
    return size


def list_folder(path: Path) -> list[str]:
    """The names in a folder, sorted, without hidden ones.

    Raises:
        InputError: It is no folder, or not to be opened.
    """
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be listed ({reason}); check the path and its permissions") from error


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """The content of a regular file that must not be empty, nor plainly something else than its suffix says.

    Args:
        path: The file.
        most: Bytes that it may have.

    Raises:
        InputError: It cannot be opened, is no regular file, empty, too large for the memory, or starts like a picture,
            an archive or the like.
    """
    content = _content(Path(path), most)
    _check_start(Path(path), content)
    return content


def read_start(path: Path, count: int) -> bytes:
    """The first `count` bytes of a file, or all of a shorter one, under the rules of `read_bytes`.

    Raises:
        InputError: As `read_bytes`.
    """
    readable(path)
    content = _read(Path(path), count)
    _check_start(Path(path), content)
    return content


def read_json(path: Path, kind: str, *, advice: str = ADVICE) -> Any:
    """The value of a JSON file in UTF-8.

    Args:
        path: The file.
        kind: What it should be, e.g. `"a manifest of crosspoint export"`.
        advice: What to do about a bad one.

    Raises:
        InputError: It cannot be opened, is no regular file, has more than `JSON_BYTES`, or is not JSON.
    """
    content = _content(Path(path), JSON_BYTES)
    with reading(path, kind, advice=advice):
        return json.loads(content.decode("utf-8"))


def read_lines(path: Path, kind: str, *, advice: str = ADVICE) -> list[str]:
    """The lines of a text file in UTF-8 that are not blank, stripped.

    Raises:
        InputError: As `read_json`.
    """
    content = _content(Path(path), JSON_BYTES)
    with reading(path, kind, advice=advice):
        return [line for line in map(str.strip, content.decode("utf-8").splitlines()) if line]


@contextlib.contextmanager
def reading(path: Path, kind: str, *, advice: str = ADVICE) -> Iterator[None]:
    """Turn every error met while parsing a file into one line that names it, and keep the libraries' warnings quiet.

    Libraries meet damaged files with exceptions of every type, so all are caught. An InputError raised inside says
    what is wrong without naming the file, which is added here; other errors of this package pass.

    Args:
        path: The file.
        kind: What it should be, with its article, e.g. `"a .ply point cloud"`.
        advice: What to do about a bad one.

    Raises:
        InputError: Anything but another error of this package was raised inside.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except CrosspointError:
        raise
    except Exception as error:
        raise InputError(f"{path}: is damaged or not {kind} ({reason_of(error)}); {advice}") from error


def reason_without(path: Path | str, error: InputError) -> str:
    """What an error says of a file, without the file's name."""
    return str(error).removeprefix(f"{printable(path)}: ")


def check_announced(announced: int, size: int) -> None:
    """Refuse what would become far larger than its file: a header that announces more than there is, or a bomb.

    Args:
        announced: Bytes in memory that the file asks for.
        size: Bytes of the file.

    Raises:
        InputError: `announced` is more than `SMALL` and more than `GROWTH` times `size`.
    """
    if announced > allowance(size):
        raise InputError(f"announces {_bytes(announced)} of content in a file of {_bytes(size)}; {ADVICE}")


def allowance(size: int) -> int:
    """Bytes in memory that may be made of a file of `size` bytes."""
    return max(SMALL, GROWTH * size)


def check_lines(content: bytes) -> None:
    """Refuse text with a line far longer than any row of numbers.

    Raises:
        InputError: A block of `LINE` bytes has no line break in it.
    """
    for start in range(0, len(content) - LINE, LINE):
        if content.find(b"\n", start, start + LINE) < 0 and content.find(b"\r", start, start + LINE) < 0:
            raise InputError(f"has a line of more than {LINE:,} characters; {ADVICE}")


def _content(path: Path, most: int | None) -> bytes:
    size = regular(path).st_size
    if most is not None and size > most:
        raise InputError(f"{path}: has {size:,} bytes, more than the {most:,} that such a file may have; {ADVICE}")
    return _read(path, readable(path))


def _read(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)  # never more than the size: some regular files of the system have no end
    except (OSError, ValueError, MemoryError) as error:
        raise _cannot_open(path, error) from error


def _has_holes(path: Path, size: int) -> bool:
    """Whether parts of a file are not stored; a file system that compresses also stores less, but has no holes."""
    try:
        with path.open("rb") as file:
            return os.lseek(file.fileno(), 0, os.SEEK_HOLE) < size
    except (OSError, AttributeError):  # AttributeError: a system without SEEK_HOLE
        return False


def _check_start(path: Path, content: bytes) -> None:
    if not content:
        raise InputError(f"{path}: is empty; {ADVICE}")
    for signature, kind in SIGNATURES.items():
        if content.startswith(signature) and not (kind == "a zip archive" and path.suffix.lower() == ".npz"):
            raise InputError(f"{path}: is {kind}, whatever its suffix says; {ADVICE}")


def _cannot_open(path: Path, error: Exception) -> InputError:
    reason = reason_of(error) if isinstance(error, (OSError, MemoryError)) else error
    return InputError(f"{path}: cannot be opened ({reason}); check the path and its permissions")


def _bytes(count: int) -> str:
    """A number of bytes to be read by people."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{min(count, 10**21) // size:,} {unit}"
    return f"{count} bytes"
