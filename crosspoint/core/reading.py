"""The one guard in front of every file that is read: only regular files, bounded memory, one-line errors.

Everything that opens a file goes through `read_bytes`, `read_json` or `regular`, and everything that parses one works
inside `reading`, so that no reader lists the exceptions of its libraries and none hangs on a pipe or a device.
"""

import contextlib
import json
import os
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint.errors import CrosspointError, InputError

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


def reason_of(error: BaseException, most: int = REASON) -> str:
    """An exception on one line, cut where it gets long: what the system says of a file, else type and message."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


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
        raise InputError(f"{path}: is a folder; give a file")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is a pipe, a socket or a device; save its content as a file first")
    return status


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """The content of a regular file that must not be empty, nor plainly something else than its suffix says.

    Args:
        path: The file.
        most: Bytes that it may have.

    Raises:
        InputError: It cannot be opened, is no regular file, empty, too large, or starts like a picture, an archive or
            the like.
    """
    path = Path(path)
    content = _content(path, most)
    if not content:
        raise InputError(f"{path}: is empty; {ADVICE}")
    for signature, kind in SIGNATURES.items():
        if content.startswith(signature) and not (kind == "a zip archive" and path.suffix.lower() == ".npz"):
            raise InputError(f"{path}: is {kind}, whatever its suffix says; {ADVICE}")
    return content


def read_json(path: Path, kind: str, advice: str = ADVICE) -> Any:
    """The value of a JSON file in UTF-8.

    Args:
        path: The file.
        kind: What it should be, e.g. `"a manifest of crosspoint export"`.
        advice: What to do about a bad one.

    Raises:
        InputError: It cannot be opened, is no regular file, has more than `JSON_BYTES`, or is not JSON.
    """
    content = _content(Path(path), JSON_BYTES)
    with reading(path, kind, advice):
        return json.loads(content.decode("utf-8"))


@contextlib.contextmanager
def reading(path: Path, kind: str, advice: str = ADVICE) -> Iterator[None]:
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


def _content(path: Path, most: int | None) -> bytes:
    size = regular(path).st_size
    if most is not None and size > most:
        raise InputError(f"{path}: has {size:,} bytes, more than the {most:,} that such a file may have; {ADVICE}")
    try:
        return path.read_bytes()
    except (OSError, MemoryError) as error:
        raise _cannot_open(path, error) from error


def _cannot_open(path: Path, error: Exception) -> InputError:
    reason = reason_of(error) if isinstance(error, (OSError, MemoryError)) else error
    return InputError(f"{path}: cannot be opened ({reason}); check the path and its permissions")
