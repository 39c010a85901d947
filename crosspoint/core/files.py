"""Writes files and folders atomically, and computes SHA-256.

All output goes through `atomic_file`, `atomic_folder`, `write_json` or `write_once`. Each writes into a hidden
workspace in the target's folder, syncs to disk, and renames. At any moment the name holds either the complete old
content or the complete new content.
"""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from crosspoint.core.console import timed
from crosspoint.core.errors import CrosspointError, InputError
from crosspoint.core.outputs import check_content, check_place, check_replaceable
from crosspoint.core.reading import reason_of
from crosspoint.core.workspaces import ATTEMPTS, NAME, NEW, PREFIX, Workspace, workspace

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
SYNC_EACH = 100  # up to this many files are synced one by one; above it, the whole file system
LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn every error inside the block into one line that names the file; errors of this package pass unchanged.

    If the disk is full, libraries raise exceptions of many types, so all are caught.

    Raises:
        InputError: The block raised any other exception.
    """
    try:
        yield
    except CrosspointError:
        raise
    except Exception as error:
        raise _cannot_write(path, error) from error


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path with the same file name; if the block ends without error, the file replaces `path`.

    The block should only write: every error in it is reported as a failure to write.

    Raises:
        InputError: `path` is a link, a folder or a device, cannot be written, or the disk is full.
    """
    path = Path(path)
    check_place(path, "the output")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file")
    with timed(f"write {path}"), writing(path):
        with workspace(path.parent) as space:
            temporary = space.new / path.name
            yield temporary
            _sync(temporary)
            temporary.chmod(space.file_mode)
            temporary.replace(path)
        _sync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path, ours: Callable[[Path], None] | None = None) -> Iterator[Path]:
    """Yield an empty temporary folder with the same name; if the block ends without error, it replaces `path`.

    The two folders are exchanged in one step. If the system cannot do that, the old folder is moved away first, and is
    restored if the new one does not take its place, if need be by the next run.

    Args:
        path: A missing or empty folder, or an earlier result of the same kind.
        ours: Raises InputError if a folder holds anything but an earlier result, see `check_replaceable`.

    Raises:
        InputError: `path` may not be replaced or written, or the disk is full.
    """
    path = Path(path)
    check_replaceable(path, ours, option="the output")
    try:
        with timed(f"write {path}/"), workspace(path.parent) as space:
            temporary = space.new / path.name
            temporary.mkdir()
            yield temporary
            _sync_tree(temporary)
            check_content(path, ours, option="the output")
            _put(temporary, path, space)
            _sync(path.parent)
    except OSError as error:
        if error.errno in FULL or PREFIX in str(error.filename):
            raise _cannot_write(path, error) from error
        raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with a final newline, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(json_bytes(value))


def write_once(path: Path, value: Any) -> None:
    """Write JSON if the file does not exist. If several processes write at once, one wins; readers see a whole file.

    Raises:
        InputError: `path` cannot be written, or the disk is full.
    """
    with writing(path), workspace(path.parent) as space:
        temporary = space.new / path.name
        temporary.write_bytes(json_bytes(value))
        _sync(temporary)
        temporary.chmod(space.file_mode)
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
            _sync(path.parent)


def json_bytes(value: Any) -> bytes:
    """Indented JSON with a final newline, in UTF-8. Lone surrogates, e.g. of broken file names, are escaped."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _put(new: Path, path: Path, space: Workspace) -> None:
    """Move a folder to its place and replace the one that is there."""
    for _ in range(ATTEMPTS):
        try:
            if not path.exists():
                new.rename(path)
            elif not _exchange(new, path):
                path.rename(space.old / path.name)
                new.rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY):  # another process was at it just then
                raise
        else:
            return
    raise InputError(f"{path} is being written by another process; choose another place")


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step (renameat2, Linux); False if the system or the file system cannot."""
    if not hasattr(LIBC, "renameat2"):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if LIBC.renameat2(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(second))


def _sync_tree(folder: Path) -> None:
    """Sync a folder and everything in it to disk."""
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    if len(found) > SYNC_EACH and hasattr(LIBC, "syncfs"):
        _sync(folder, whole_file_system=True)
        return
    for path in [*found, *{path.parent for path in found}, folder]:
        _sync(path)


def _sync(path: Path, whole_file_system: bool = False) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if whole_file_system:
            LIBC.syncfs(descriptor)
        else:
            os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # of folders on some network file systems
            raise
    finally:
        os.close(descriptor)


def _cannot_write(path: Path, error: Exception) -> InputError:
    place = re.sub(f"{NAME.pattern}/{NEW}/", "", str(path))  # as the user knows it
    return InputError(f"cannot write {place}: {reason_of(error)}; free space or choose another place")
