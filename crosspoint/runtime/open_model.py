"""The life of an open model: use by many threads, closing, forks and pickling."""

import contextlib
import os
import threading
from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakSet

from crosspoint.core.content import read_once
from crosspoint.core.errors import InputError
from crosspoint.runtime.specification import Specification

AnyOpened = TypeVar("AnyOpened", bound="OpenModel")


class Calls:
    """Counts the calls in progress: they run side by side; `close` waits until there are none."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._threads: list[int] = []  # one entry per call
        self._alone: int | None = None  # the thread that waits for all others, or runs alone

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """A call. It begins when no thread needs to be alone."""
        thread = threading.get_ident()
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._alone is None)
                self._threads.append(thread)
            yield
        finally:
            with self._changed:
                if thread in self._threads:  # not if Ctrl-C ended the waiting
                    self._threads.remove(thread)
                self._changed.notify_all()

    @contextlib.contextmanager
    def none(self) -> Iterator[None]:
        """Wait until no call is in progress; new calls wait until the block ends."""
        thread = threading.get_ident()
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._alone is None)
                self._alone = thread
                self._changed.wait_for(lambda: not self._threads)
            yield
        finally:
            with self._changed:
                if self._alone == thread:
                    self._alone = None
                self._changed.notify_all()

    def has_this_thread(self) -> bool:
        """Whether this thread is inside a call, or is alone."""
        return threading.get_ident() in (*self._threads, self._alone)


class OpenModel(ABC):
    """An open model. Any number of threads may use it, a forked process too; pickled, it opens its file again.

    Attributes:
        specification: What it is.
    """

    specification: Specification
    _calls: Calls
    _closed = False
    _forked = False
    _arguments: Mapping[str, Any] = {}
    """The arguments that open the same file again; empty for a model that cannot be pickled."""

    def __new__(cls: type[AnyOpened], *arguments: object, **options: object) -> AnyOpened:
        """Set up here, before the backend's `__init__`, so that no backend can forget it."""
        model = super().__new__(cls)
        model._calls = Calls()
        _OPENED.add(model)
        return model

    def close(self) -> None:
        """Free the resources of the backend after all calls in progress have ended. Calling it again does nothing.

        Raises:
            InputError: This thread itself is inside a call, e.g. in a signal handler.
        """
        with self._alone():
            if not self._closed:
                self._closed = True
                if not self._is_left_behind():
                    self._free()

    def _free(self) -> None:
        """Free the resources of the backend. No call is in progress, and none will follow."""
        return

    def _after_fork(self) -> None:
        """Called first in a forked child: do not touch what works only in the parent."""
        return

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        """Mark a call in progress; `close` waits for it.

        Raises:
            InputError: As `_check_usable`.
        """
        with self._calls.one():
            self._check_usable()
            yield

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no call is in progress, and let new ones wait.

        Raises:
            InputError: This thread itself is inside a call, and would wait for ever.
        """
        if self._calls.has_this_thread():
            raise InputError(f"{self.specification.path} is running a call in this thread; wait for its result first")
        with self._calls.none():
            yield

    def _check_usable(self) -> None:
        """Raise InputError if the encoder was closed, or is on a GPU and this process was forked."""
        path = self.specification.path
        if self._closed:
            raise InputError(f"{path} was closed; open it again with load_encoder")
        if self._is_left_behind():
            raise InputError(
                f"{path} was opened on {self.specification.device} before this process was forked, and CUDA does not "
                "work after a fork; open it in each process, or start processes with multiprocessing's spawn"
            )

    def _is_left_behind(self) -> bool:
        return self._forked and self.specification.device != "cpu"

    def __reduce__(self) -> tuple[Callable[..., "OpenModel"], tuple[object, ...]]:
        """Pickle the arguments that open the same file again."""
        self._check_usable()
        if not self._arguments:
            raise InputError(
                f"{self.specification.path} on {self.specification.backend} cannot be pickled; open it in the other "
                "process by its path"
            )
        return _reopen, (type(self), self.specification.sha256, dict(self._arguments))

    def __enter__(self: AnyOpened) -> AnyOpened:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_OPENED: "WeakSet[OpenModel]" = WeakSet()


def _in_child() -> None:
    """In a forked child only the forking thread exists: reset the locks and counters of the others."""
    for model in list(_OPENED):
        model._calls, model._forked = Calls(), True
        model._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def read_same(path: Path, digest: str) -> bytes:
    """Read a file again and check that its SHA-256 has not changed.

    Raises:
        InputError: It cannot be read, or has changed.
    """
    content = read_once(path)
    if content.sha256 != digest:
        raise InputError(f"{path} has changed since it was opened; load it anew")
    return content.data


def _reopen(kind: type["OpenModel"], digest: str, arguments: Mapping[str, Any]) -> "OpenModel":
    """Called to unpickle a model."""
    read_same(arguments["path"], digest)
    return kind(**arguments)
