"""Writing files so that nothing is ever lost or half written, and naming them by what they hold.

Everything that is written goes through `atomic_file`, `atomic_folder`, `write_json` or `write_once`. Each makes it in a
workspace beside its place, brings it to the disk, and puts it in its place in one step: at no instant is there less
under a name than a whole old file or folder or a whole new one.
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
SYNC_EACH = 100  # files of a folder that are brought to the disk one by one; for more, its whole file system is
LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn every error met while writing a file into one line that names it; the package's own errors pass.

    Libraries meet a full disk with exceptions of every type, so all are caught.

    Raises:
        InputError: Anything else was raised inside.
    """
    try:
        yield
    except CrosspointError:
        raise
    except Exception as error:
        raise _cannot_write(path, error) from error


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path of the same name; when the block ends without an error, the file takes its place.

    The block should do nothing but write: whatever it raises is taken for a failure to.

    Raises:
        InputError: The place is a link, a folder or a device, cannot be written to, or the disk is full.
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
    """Give an empty temporary folder of the same name that takes the place of `path` when the block ends without error.

    Two folders are exchanged in one step. Where the system cannot do that, the old one is moved away first and comes
    back if the new one does not take its place, be it in the next run.

    Args:
        path: Missing or empty, or an earlier folder of the same kind.
        ours: Raises InputError unless a folder holds nothing but an earlier output, see `check_replaceable`.

    Raises:
        InputError: The place may not be taken or written to, or the disk is full.
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
    """Write JSON unless the file is there; of several writers at once one wins, and nobody sees half a file.

    Raises:
        InputError: The place cannot be written to, or the disk is full.
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
    """Indented JSON with a final newline, in UTF-8; half of a surrogate pair, as of a broken file name, is escaped."""
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _put(new: Path, path: Path, space: Workspace) -> None:
    """Bring a folder to its place, in the place of one that is there."""
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
    raise InputError(f"{path} is written by other processes all the time; choose another place")


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step (renameat2, Linux); False where the system or the file system cannot."""
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
    """Bring a folder and all that is in it to the disk."""
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
