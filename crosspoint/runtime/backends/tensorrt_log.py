"""Collects the errors that TensorRT logs.

TensorRT uses one logger per process, and ignores later ones while an object made with the first exists. So there is
one logger per TensorRT module, and code that needs the errors registers a listener.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from crosspoint.core.errors import InputError

_LOCK = threading.Lock()


def logger(trt: Any) -> Any:
    """The logger of a TensorRT module. It prints nothing and passes errors to the listeners."""
    with _LOCK:  # two threads at once must not make two
        return _logger(trt)


@cache
def _logger(trt: Any) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.listeners: tuple[tuple[int, list[str]], ...] = ()  # thread, its errors

        def log(self, severity: Any, message: str) -> None:
            if severity not in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                return
            listeners, thread = self.listeners, threading.get_ident()
            own = [heard for listener, heard in listeners if listener == thread]
            for heard in own or [heard for _, heard in listeners]:  # threads of TensorRT have no listener of their own
                heard.append(" ".join(message.split()))

    return Logger()


@contextmanager
def errors_of(trt: Any) -> Iterator[list[str]]:
    """Yield a list that collects the errors TensorRT logs during the block, one line each.

    It gets the errors of this thread and of TensorRT's own threads, not those of other listening threads.
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
    """Call a constructor of TensorRT that takes a logger, e.g. `trt.Runtime`, and check the result.

    If CUDA does not start, `Builder` raises a bare TypeError, and `Runtime` logs an error and returns an object whose
    first use crashes the process.

    Raises:
        InputError: The object cannot be used.
    """
    with errors_of(trt) as errors:
        try:
            made = make(logger(trt))
        except TypeError as error:
            made, reason = None, str(error)
        if made is None or errors:
            said = errors[0] if errors else reason
            raise InputError(
                f"{trt.__name__} {trt.__version__} does not start ({said}); run nvidia-smi to check that the driver "
                "supports this TensorRT and that GPU memory is free"
            )
    return made
