"""A file read once: what is computed from it and the SHA-256 that names it are of the same bytes."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from crosspoint.core.errors import InputError
from crosspoint.core.reading import readable, reason_of


@dataclass(frozen=True)
class Content:
    """A file's bytes.

    Attributes:
        path: Where they were read, for messages.
        data: All of them.
    """

    path: Path
    data: bytes

    @property
    def sha256(self) -> str:
        """As 64 hexadecimal digits."""
        return hashlib.sha256(self.data).hexdigest()


def read_once(path: Path) -> Content:
    """The content of a regular file.

    Raises:
        InputError: It cannot be opened, is no regular file, or is too large.
    """
    path = Path(path)
    readable(path)
    try:
        return Content(path, path.read_bytes())
    except (OSError, MemoryError) as error:
        raise InputError(f"{path}: cannot be read ({reason_of(error)}); check its permissions") from error
