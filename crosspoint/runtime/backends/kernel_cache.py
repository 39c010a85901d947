"""Keeps the kernels that TensorRT-RTX compiles at run time in the user's cache folder, for the next start."""

import hashlib
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file


class KernelCache:
    """A runtime cache of TensorRT-RTX and its file. If the file cannot be read or written, it is not used.

    Args:
        cache: TensorRT's `IRuntimeCache`, empty.
        file: Path from `cache_file`; None: no file.
    """

    def __init__(self, cache: Any, file: Path | None) -> None:
        self._cache, self._file = cache, file
        self._kept = b"" if file is None else _read(file)
        self._seen: set[tuple[tuple[str, tuple[int, ...]], ...]] = set()
        if self._kept:
            cache.deserialize(self._kept)  # TensorRT refuses one that does not fit, and starts with an empty cache

    def save_after(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Save after a run with these shapes, if they are new: TensorRT compiles kernels for new shapes only."""
        key = tuple(sorted(shapes.items()))
        if key not in self._seen:
            self._seen.add(key)
            self.save()

    def save(self) -> None:
        """Write the file if the cache has changed since it was read or written."""
        content = bytes(self._cache.serialize() or b"")
        if self._file is not None and content and content != self._kept and _is_private(self._file.parent):
            with suppress(OSError, InputError), atomic_file(self._file) as temporary:
                temporary.write_bytes(content)
            self._kept = content


def cache_file(plan: bytes, version: str, *, capability: str) -> Path | None:
    """Path of the kernel cache of an engine; None if the user has no home folder.

    Args:
        plan: The bytes of the engine.
        version: Version of TensorRT-RTX.
        capability: Compute capability of the GPU, e.g. `"sm86"`.
    """
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return root / "crosspoint" / f"{hashlib.sha256(plan).hexdigest()[:32]}-{version}-{capability}.rtx"


def _is_private(folder: Path) -> bool:
    """Make a folder if it is missing; whether only this user can write to it. The cache holds code."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _read(file: Path) -> bytes:
    """The content of a file; empty if it is missing, or if other users could have written it."""
    try:
        return file.read_bytes() if file.is_file() and _is_private(file.parent) else b""
    except OSError:
        return b""
