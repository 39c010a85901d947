"""Hidden folders in which outputs are made before they are renamed to their place.

A workspace, `.crosspoint-<host>-<boot>-<random>`, lies in the folder of the output, so that one rename puts the output
in place. The process that owns it holds a lock (flock) on a file in it. The lock ends with the process, however that
ends, so a workspace without a lock was left by a killed process and is removed. This is done only for workspaces of
this machine, known by host name or by the boot ID of its kernel (which its containers share), because not every
network file system supports locks.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

PREFIX = ".crosspoint-"
NAME = re.compile(re.escape(PREFIX) + "([0-9a-f]{8})-([0-9a-f]{8})-[0-9a-f]{8}")
LOCK, NEW, OLD = "lock", "new", "old"
ATTEMPTS = 10  # tries of a step that another process may have disturbed
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Workspace:
    """A workspace of this process.

    Attributes:
        new: Empty folder for the new output.
        old: Empty folder for the output that is replaced; restored at the end if nothing has taken its place.
        file_mode: Permissions of a new file here, from the umask or the folder's default.
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self.new, self.old = folder / NEW, folder / OLD
        self.file_mode = os.fstat(lock).st_mode & 0o666


@contextlib.contextmanager
def workspace(parent: Path) -> Iterator[Workspace]:
    """Make a workspace in `parent`, and `parent` if needed. At the end both are removed, `parent` if it is empty.

    Raises:
        OSError: It cannot be made.
    """
    made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    folder, lock = fresh_path(parent), None
    try:
        for _ in range(ATTEMPTS):
            if (lock := _lock(folder)) is not None:
                break
            folder = fresh_path(parent)
        else:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(parent))
        space = Workspace(folder, lock)
        space.new.mkdir()
        space.old.mkdir()
        yield space
    finally:
        try:
            _clear(folder)
        except BaseException:  # a signal during the removal
            _clear(folder)
            raise
        finally:
            if lock is not None:
                os.close(lock)
            for empty in (folder, *made):  # `folder` again: NFS keeps an open file, and so its folder
                with contextlib.suppress(OSError):
                    empty.rmdir()


def fresh_path(parent: Path) -> Path:
    """A new, unique path for a workspace in a folder."""
    return parent / f"{PREFIX}{'-'.join((*_machine(), secrets.token_hex(4)))}"


def _lock(folder: Path) -> int | None:
    """Make a workspace's folder and lock it; None if another process removed it as left-over in between."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.fstat(lock).st_nlink > 0
    except BlockingIOError:
        held = False
    except OSError:
        held = True  # a file system without locks: other processes cannot lock it either
    if held:
        return lock
    os.close(lock)
    return None


def _clear(folder: Path) -> None:
    """Remove a workspace. First restore what was to be replaced, unless something has taken its place."""
    with contextlib.suppress(OSError):
        for old in (folder / OLD).iterdir():
            if not os.path.lexists(folder.parent / old.name):
                old.rename(folder.parent / old.name)
    shutil.rmtree(folder, ignore_errors=True)


def remove_partial_files(folder: Path) -> None:
    """Remove the workspaces that killed processes of this machine left in a folder."""
    host, boot = _machine()
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if (found := NAME.fullmatch(name)) and (found[1] == host or found[2] == boot):
                _remove_unlocked(folder / name)


def _remove_unlocked(folder: Path) -> None:
    with contextlib.suppress(OSError):
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: its owner is alive
            _clear(folder)
        finally:
            os.close(lock)
        folder.rmdir()  # as in `workspace`


def in_use(folder: Path) -> bool:
    """Whether a folder holds anything but workspaces.

    Raises:
        OSError: It is not a folder, or cannot be listed.
    """
    return not all(NAME.fullmatch(name) for name in os.listdir(folder))


@lru_cache(maxsize=1)
def _machine() -> tuple[str, str]:
    """Two identifiers of this machine, eight digits each: of its host name and of its kernel's boot."""
    try:
        boot = BOOT.read_text().strip()
    except OSError:
        boot = ""
    return _digits(socket.gethostname()), _digits(boot or socket.gethostname())


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
