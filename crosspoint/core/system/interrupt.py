"""How a process ends on a signal: at once, as with Ctrl-C, or after the current training step."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from crosspoint.core.errors import CrosspointError

ENDING = (signal.SIGTERM, signal.SIGHUP)  # SIGTERM: docker stop, SLURM; SIGHUP: a terminal that is closed
AGAIN = 0.05  # seconds until a lost signal is repeated


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived. Like KeyboardInterrupt, it runs the cleanup code on its way out.

    Attributes:
        number: Number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"asked to end by {signal.Signals(number).name}")
        self.number = number


class Stopped(CrosspointError):
    """The run was stopped by a signal; it saved its state and can be resumed.

    Args:
        message: What was done.
        number: Number of the signal.
    """

    def __init__(self, message: str, number: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


def end_on_signals() -> None:
    """Let the first SIGTERM or SIGHUP raise Terminated in the main thread; later ones must not disturb the cleanup.

    A signal that is already ignored, as under `nohup`, stays ignored. A forked child ends at once, without cleanup: its
    parent cleans up.
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
        """Python drops an exception raised in a destructor or a callback; repeat the signal, so that it is not lost."""
        if isinstance(lost.exc_value, Terminated):
            install()
            threading.Timer(AGAIN, os.kill, (owner, lost.exc_value.number)).start()
        else:
            sys.__unraisablehook__(lost)

    install()
    sys.unraisablehook = repeat


def ignore_signals() -> None:
    """From now on, only Ctrl-C and SIGKILL end this process."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def stop_signals(impatient: bool = True) -> Iterator[list[int]]:
    """Yield a list that receives the numbers of SIGINT, SIGTERM and SIGHUP, which then raise no exception.

    Outside the main thread the list stays empty: Python handles signals in the main thread only.

    Args:
        impatient: Whether a second SIGINT interrupts at once. A second SIGTERM never does: `timeout` sends it twice.
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
    """The exception of a signal that `stop_signals` has collected."""
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated(number)
