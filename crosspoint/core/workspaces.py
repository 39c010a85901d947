"""Hidden folders in which files and folders are made before they take their place, and what killed processes left.

A workspace, `.crosspoint-<host>-<boot>-<random>`, lies in the folder that its content is for, so that one rename brings
the content to its place. Its owner holds a lock (flock) on a file in it, which ends with the process however that ends:
a workspace whose lock is free is a killed process's. Only those of this machine are judged so, known by its name or by
its running kernel (which all its containers share), because not every network file system carries locks.
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
ATTEMPTS = 10  # at a step that another process may have disturbed
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Workspace:
    """A folder of this process.

    Attributes:
        new: Empty folder for what is made.
        old: Empty folder for what it replaces; given back at the end if nothing has taken its place.
        file_mode: Permissions of a new file here: what the umask, or the folder's own default, leaves of 0666.
    """

    def __init__(self, folder: Path, lock: int) -> None:
        self.new, self.old = folder / NEW, folder / OLD
        self.file_mode = os.fstat(lock).st_mode & 0o666


@contextlib.contextmanager
def workspace(parent: Path) -> Iterator[Workspace]:
    """A workspace in `parent`, which is made if need be; both are gone at the end, `parent` only if it was made empty.

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
        except BaseException:  # a signal in the midst of it
            _clear(folder)
            raise
        finally:
            if lock is not None:
                os.close(lock)
            for empty in (folder, *made):  # the first one too: NFS keeps an open file, and so its folder
                with contextlib.suppress(OSError):
                    empty.rmdir()


def fresh_path(parent: Path) -> Path:
    """A name for a workspace in a folder that no other has."""
    return parent / f"{PREFIX}{'-'.join((*_machine(), secrets.token_hex(4)))}"


def _lock(folder: Path) -> int | None:
    """Make a workspace's folder and hold its lock; None if another process took it for a killed process's just then."""
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
        held = True  # a file system without locks, where nobody else gets this one either
    if held:
        return lock
    os.close(lock)
    return None


def _clear(folder: Path) -> None:
    """Remove a workspace, after what was to be replaced is back where nothing has taken its place."""
    with contextlib.suppress(OSError):
        for old in (folder / OLD).iterdir():
            if not os.path.lexists(folder.parent / old.name):
                old.rename(folder.parent / old.name)
    shutil.rmtree(folder, ignore_errors=True)


def remove_partial_files(folder: Path) -> None:
    """Remove the workspaces of killed processes of this machine from a folder; those of live ones stay."""
    host, boot = _machine()
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if (found := NAME.fullmatch(name)) and (found[1] == host or found[2] == boot):
                _remove_unlocked(folder / name)


def _remove_unlocked(folder: Path) -> None:
    with contextlib.suppress(OSError):
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an OSError: its owner lives
            _clear(folder)
        finally:
            os.close(lock)
        folder.rmdir()  # as in `workspace`


def in_use(folder: Path) -> bool:
    """Whether anything but workspaces lies in a folder.

    Raises:
        OSError: It is no folder, or cannot be listed.
    """
    return not all(NAME.fullmatch(name) for name in os.listdir(folder))


@lru_cache(maxsize=1)
def _machine() -> tuple[str, str]:
    """What tells this machine from others, in eight digits each: its name, and the start of its kernel."""
    try:
        boot = BOOT.read_text().strip()
    except OSError:
        boot = ""
    return _digits(socket.gethostname()), _digits(boot or socket.gethostname())


def _digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
