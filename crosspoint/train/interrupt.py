"""Ending a run when it is asked to, after its step."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from crosspoint.errors import CrosspointError


class Stopped(CrosspointError):
    """The run was asked to stop, saved its state and can be resumed."""

    exit_code = 130


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that gets an entry when SIGINT or SIGTERM arrives; a second one interrupts at once."""
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
