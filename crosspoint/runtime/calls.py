"""Calls that go on side by side in several threads, and work that has to wait until there are none."""

import contextlib
import threading
from collections.abc import Iterator


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
