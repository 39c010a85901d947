"""A file that is read once, so that its SHA-256 belongs to the very bytes that are used."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from crosspoint.core.errors import InputError
from crosspoint.core.reading import readable, reason_of


@dataclass(frozen=True)
class Content:
    """The bytes of a file.

    Attributes:
        path: Path that was read, for messages.
        data: All bytes.
    """

    path: Path
    data: bytes

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes, 64 hexadecimal digits."""
        return hashlib.sha256(self.data).hexdigest()


def read_once(path: Path) -> Content:
    """Read a regular file.

    Raises:
        InputError: It cannot be opened, is not a regular file, or is too large.
    """
    path = Path(path)
    readable(path)
    try:
        return Content(path, path.read_bytes())
    except (OSError, MemoryError) as error:
        raise InputError(f"{path}: cannot be read ({reason_of(error)}); check its permissions") from error
