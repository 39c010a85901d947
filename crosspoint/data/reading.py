"""What reading any file has in common: its bytes, and one-line errors that name it."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from crosspoint.errors import InputError

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


def read_bytes(path: Path) -> bytes:
    """The content of a file that must be there and not be empty, nor plainly something else than its suffix says.

    Raises:
        InputError: It cannot be opened, is empty, or starts like a picture, an archive or the like.
    """
    try:
        content = Path(path).read_bytes()
    except IsADirectoryError as error:
        raise InputError(f"{path}: is a folder; give a file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be opened ({reason}); check the path and its permissions") from error
    if not content:
        raise InputError(f"{path}: is empty; {ADVICE}")
    for signature, kind in SIGNATURES.items():
        if content.startswith(signature) and not (kind == "a zip archive" and path.suffix.lower() == ".npz"):
            raise InputError(f"{path}: is {kind}, whatever its suffix says; {ADVICE}")
    return content


@contextlib.contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turn every error of a format's library into one line that names the file, and keep its warnings quiet.

    Libraries meet damaged files with exceptions of every type, so all are caught; an InputError raised inside says
    what is wrong without naming the file, which is added here.

    Raises:
        InputError: Anything was raised inside.
    """
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        reason = reason if len(reason) <= 120 else reason[:119] + "…"
        raise InputError(f"{path}: is damaged or not {kind} ({reason}); {ADVICE}") from error
