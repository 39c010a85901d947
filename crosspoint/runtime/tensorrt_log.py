"""TensorRT's errors, kept.

TensorRT takes one logger a process and ignores every later one while something made with the first is alive, so that
there is one for each module, and those who want to know of errors listen to it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@cache
def logger(trt: Any) -> Any:
    """The logger of a TensorRT module: it prints nothing, and hands errors to all who listen."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.listeners: list[list[str]] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                for heard in self.listeners:
                    heard.append(" ".join(message.split()))

    return Logger()


@contextmanager
def errors_of(trt: Any) -> Iterator[list[str]]:
    """A list that the errors which TensorRT logs while the block lasts are added to, each on one line."""
    heard: list[str] = []
    listeners = logger(trt).listeners
    listeners.append(heard)
    try:
        yield heard
    finally:
        listeners[:] = [other for other in listeners if other is not heard]
