"""Guards every file that is read: only regular files, bounded memory, one-line errors.

Every file is opened through `read_bytes`, `read_start`, `read_json`, `read_lines` or `readable`, and parsed inside
`reading`. So readers need not list the exceptions of their libraries, and none of them waits for a pipe or a device.
`check_announced` compares the sizes in a header with the size of the file before a library allocates memory.
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

SIGNATURES = {  # first bytes of formats that often come with a wrong suffix
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
ARCHIVES = {".npz": "a zip archive", ".gz": "a gzip archive"}
ADVICE = "replace it with an intact copy or leave it out"
REASON = 120  # characters of a library's message that are shown
JSON_BYTES = 64 << 20  # largest JSON file that is read; the package writes far smaller ones
SMALL = 64 << 20  # bytes that any file may expand to, and a size that is read without looking at free memory
GROWTH = 32  # bytes that one byte of a larger file may expand to; compressed clouds and pictures reach 10
HOLLOW = 16  # a file is sparse if less than one part in HOLLOW of it is stored
SHARE = 4  # a file may have one SHARE-th of the free memory, because processing takes several times its size
LINE = 1 << 16  # longest line of a text file, in bytes; rows of points and polygons are far shorter
SHOWN = 8  # names that a message lists


def reason_of(error: BaseException, most: int = REASON) -> str:
    """An exception on one line, cut at `most` characters: the system's message for a file, else type and message."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def some(names: Iterable[object]) -> str:
    """The first names of many, joined by commas; long names are cut. `"none"` if there are none."""
    found = list(names)
    shown = [text if len(text) <= 40 else text[:39] + "…" for text in map(str, found[:SHOWN])]
    return ", ".join(shown + [f"and {len(found) - SHOWN} more"] * (len(found) > SHOWN)) or "none"


def regular(path: Path) -> os.stat_result:
    """File status of a path that must be a regular file: a pipe, socket or device may never end.

    Raises:
        InputError: It does not exist, cannot be opened, or is not a regular file.
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
    """Size in bytes of a regular file that may be read into memory as a whole.

    Raises:
        InputError: As `regular`; or it is too large for the free memory; or it is a large sparse file, whose few stored
            bytes read as gigabytes of zeros.
    """
    status = regular(path)
    size = status.st_size
    if size <= SMALL:
        return size
    stored = 512 * getattr(status, "st_blocks", size)
    if stored * HOLLOW < size and _has_holes(Path(path), size):
        raise InputError(f"{path}: is a sparse file, {_bytes(stored)} stored of {_bytes(size)}; {ADVICE}")
    available = available_memory()
    if size > available // SHARE:
        raise InputError(
            f"{path}: has {_bytes(size)}, more than a quarter of the free memory ({_bytes(available)}); "
            "split the file, or use a machine with more memory"
        )
    return size


def list_folder(path: Path) -> list[str]:
    """Names in a folder, sorted, without hidden ones.

    Raises:
        InputError: It is not a folder, or cannot be opened.
    """
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be listed ({reason}); check the path and its permissions") from error


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Read a regular file that is not empty and does not begin like another format.

    Args:
        path: The file.
        most: Largest size in bytes; None: no limit but memory.

    Raises:
        InputError: It cannot be opened, is not a regular file, is empty or too large, or begins like a picture, an
            archive or another format in `SIGNATURES`.
    """
    content = _content(Path(path), most)
    _check_start(Path(path), content)
    return content


def read_start(path: Path, count: int) -> bytes:
    """Read the first `count` bytes of a file (all of a shorter one), with the rules of `read_bytes`.

    Raises:
        InputError: As `read_bytes`.
    """
    readable(path)
    content = _read(Path(path), count)
    _check_start(Path(path), content)
    return content


def read_json(path: Path, kind: str, *, advice: str = ADVICE) -> Any:
    """Read a JSON file in UTF-8.

    Args:
        path: The file.
        kind: What it should be, for the message, e.g. `"a manifest of crosspoint export"`.
        advice: What to do about a bad file, for the message.

    Raises:
        InputError: It cannot be opened, is not a regular file, is larger than `JSON_BYTES`, or is not JSON.
    """
    content = _content(Path(path), JSON_BYTES)
    with reading(path, kind, advice=advice):
        return json.loads(content.decode("utf-8"))


def read_lines(path: Path, kind: str, *, advice: str = ADVICE) -> list[str]:
    """Read the non-blank lines of a UTF-8 text file, stripped.

    Raises:
        InputError: As `read_json`.
    """
    content = _content(Path(path), JSON_BYTES)
    with reading(path, kind, advice=advice):
        return [line for line in map(str.strip, content.decode("utf-8").splitlines()) if line]


@contextlib.contextmanager
def reading(path: Path, kind: str, *, advice: str = ADVICE) -> Iterator[None]:
    """Turn every error while a file is parsed into one line that names the file; hide warnings of libraries.

    On damaged files libraries raise exceptions of every type, so all are caught. An InputError raised inside must not
    name the file: the name is added here. Other errors of this package pass unchanged.

    Args:
        path: The file.
        kind: What it should be, with its article, e.g. `"a .ply point cloud"`.
        advice: What to do about a bad file.

    Raises:
        InputError: The block raised an exception that is not another error of this package.
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
    """The message of an error about a file, without the name of the file."""
    return str(error).removeprefix(f"{printable(path)}: ")


def check_announced(announced: int, size: int) -> None:
    """Refuse content far larger than its file: a false header, or a decompression bomb.

    Args:
        announced: Bytes of memory that the content needs.
        size: Bytes of the file.

    Raises:
        InputError: `announced` is more than `SMALL` and more than `GROWTH` times `size`.
    """
    if announced > allowance(size):
        raise InputError(f"claims {_bytes(announced)} of content in a file of {_bytes(size)}; {ADVICE}")


def allowance(size: int) -> int:
    """Largest number of bytes that a file of `size` bytes may expand to."""
    return max(SMALL, GROWTH * size)


def check_lines(content: bytes) -> None:
    """Refuse text with a line longer than `LINE` bytes.

    Raises:
        InputError: A block of `LINE` bytes has no line break in it.
    """
    for start in range(0, len(content) - LINE, LINE):
        if content.find(b"\n", start, start + LINE) < 0 and content.find(b"\r", start, start + LINE) < 0:
            raise InputError(f"has a line of more than {LINE:,} characters; {ADVICE}")


def _content(path: Path, most: int | None) -> bytes:
    size = regular(path).st_size
    if most is not None and size > most:
        raise InputError(f"{path}: has {size:,} bytes; the limit for such a file is {most:,} bytes; {ADVICE}")
    return _read(path, readable(path))


def _read(path: Path, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(count)  # bounded, because some regular files of the system have no end
    except (OSError, ValueError, MemoryError) as error:
        raise _cannot_open(path, error) from error


def _has_holes(path: Path, size: int) -> bool:
    """Whether parts of a file are not stored. A compressing file system also stores less, but without holes."""
    try:
        with path.open("rb") as file:
            return os.lseek(file.fileno(), 0, os.SEEK_HOLE) < size
    except (OSError, AttributeError):  # AttributeError: a system without SEEK_HOLE
        return False


def _check_start(path: Path, content: bytes) -> None:
    if not content:
        raise InputError(f"{path}: is empty; {ADVICE}")
    for signature, kind in SIGNATURES.items():
        if content.startswith(signature) and ARCHIVES.get(path.suffix.lower()) != kind:
            raise InputError(f"{path}: is {kind}, not what its suffix says; {ADVICE}")


def _cannot_open(path: Path, error: Exception) -> InputError:
    reason = reason_of(error) if isinstance(error, (OSError, MemoryError)) else error
    return InputError(f"{path}: cannot be opened ({reason}); check the path and its permissions")


def _bytes(count: int) -> str:
    """A number of bytes with a unit, for people."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{min(count, 10**21) // size:,} {unit}"
    return f"{count} bytes"
