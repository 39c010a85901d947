"""Being asked to end: at once, as by Ctrl-C, or after the step of a training run that is under way."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from crosspoint.core.errors import CrosspointError

ENDING = (signal.SIGTERM, signal.SIGHUP)  # of docker stop and SLURM, and of a terminal that is closed
AGAIN = 0.05  # seconds until a request that got lost is repeated


class Terminated(BaseException):
    """A signal asked this process to end; like Ctrl-C's exception, it undoes what was begun on its way out.

    Attributes:
        number: Of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"asked to end by {signal.Signals(number).name}")
        self.number = number


class Stopped(CrosspointError):
    """The run was asked to stop, saved its state and can be resumed.

    Args:
        message: What was done.
        number: Of the signal that asked for it.
    """

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


def end_on_signals() -> None:
    """Let SIGTERM and SIGHUP raise Terminated in the main thread, once: a second one must not disturb the cleaning up.

    A signal that is ignored already, as under `nohup`, stays ignored. A forked process ends at once: what has to be
    cleaned up is its parent's.
    """
    owner = os.getpid()
    heard = [number for number in ENDING if signal.getsignal(number) is signal.SIG_DFL]

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:
            os._exit(128 + number)
        ignore_signals()
        raise Terminated(number)

    def install() -> None:
        for number in heard:
            signal.signal(number, handle)

    def repeat(lost: "sys.UnraisableHookArgs") -> None:
        """An exception in a destructor or a callback is dropped by Python; ask again, for it must not be lost."""
        if isinstance(lost.exc_value, Terminated):
            install()
            threading.Timer(AGAIN, os.kill, (owner, lost.exc_value.number)).start()
        else:
            sys.__unraisablehook__(lost)

    install()
    sys.unraisablehook = repeat


def ignore_signals() -> None:
    """Let nothing but Ctrl-C and SIGKILL end this process any more."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def stop_signals(impatient: bool = True) -> Iterator[list[int]]:
    """A list that gets the numbers of SIGINT, SIGTERM and SIGHUP as they arrive, instead of an exception.

    Outside the main thread, which alone hears of signals, it stays empty.

    Args:
        impatient: Whether a second SIGINT interrupts at once. A second SIGTERM does not: `timeout` sends it twice.
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if received and impatient and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    heard = [number for number in (signal.SIGINT, *ENDING) if signal.getsignal(number) is not signal.SIG_IGN]
    old = {number: signal.signal(number, handle) for number in heard}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def interruption(number: int) -> BaseException:
    """The exception that a signal would have raised, had it not been kept by `stop_signals`."""
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated(number)
