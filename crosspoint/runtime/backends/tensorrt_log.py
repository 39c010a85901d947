"""TensorRT's errors, kept.

TensorRT takes one logger a process and ignores every later one while something made with the first is alive, so that
there is one for each module, and those who want to know of errors listen to it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from crosspoint.core.errors import InputError

_LOCK = threading.Lock()


def logger(trt: Any) -> Any:
    """The logger of a TensorRT module: it prints nothing, and hands errors to those who listen."""
    with _LOCK:  # two threads at once must not make two
        return _logger(trt)


@cache
def _logger(trt: Any) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.listeners: tuple[tuple[int, list[str]], ...] = ()  # thread, what it heard

        def log(self, severity: Any, message: str) -> None:
            if severity not in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                return
            listeners, thread = self.listeners, threading.get_ident()
            own = [heard for listener, heard in listeners if listener == thread]
            for heard in own or [heard for _, heard in listeners]:  # TensorRT's own threads have no listener
                heard.append(" ".join(message.split()))

    return Logger()


@contextmanager
def errors_of(trt: Any) -> Iterator[list[str]]:
    """A list that the errors which TensorRT logs while the block lasts are added to, each on one line.

    They are those of this thread and of threads of TensorRT; another thread that listens has its own.
    """
    log = logger(trt)
    entry: tuple[int, list[str]] = (threading.get_ident(), [])
    with _LOCK:
        log.listeners = (*log.listeners, entry)
    try:
        yield entry[1]
    finally:
        with _LOCK:
            log.listeners = tuple(other for other in log.listeners if other is not entry)


def construct(trt: Any, make: Callable[..., Any]) -> Any:
    """What a constructor of TensorRT that takes a logger makes, e.g. `trt.Runtime`, if it is fit for use.

    Where CUDA does not start, `Builder` raises a bare TypeError, and `Runtime` logs an error and returns an object all
    the same, whose first use ends the process.

    Raises:
        InputError: It is not.
    """
    with errors_of(trt) as errors:
        try:
            made = make(logger(trt))
        except TypeError as error:
            made, reason = None, str(error)
        if made is None or errors:
            said = errors[0] if errors else reason
            raise InputError(
                f"{trt.__name__} {trt.__version__} does not start ({said}); run nvidia-smi to see whether the "
                "driver is one for this TensorRT, and memory free"
            )
    return made
