"""Readers with one fault each, which the fuzzer has to see."""

import ctypes
import os
import sys
from pathlib import Path

import numpy as np

from crosspoint.core.errors import InputError
from fuzzer.cases import Files, Target


def _target(name: str, fault: object) -> Target:
    """A reader of text that has its fault where the text is another than it was."""

    def read(folder: Path) -> None:
        if (folder / "text.txt").read_bytes() != b"as it was" and callable(fault):
            fault()

    return Target(name, lambda: [{"text.txt": b"as it was"}], read, _attacks)


def _attacks() -> dict[str, Files]:
    return {"another": {"text.txt": b"something else"}, "the same": {"text.txt": b"as it was"}}


def _exception() -> None:
    raise ValueError("not ours")


def _message() -> None:
    raise InputError("two\nlines " * 500)


def _refused() -> None:
    raise InputError("one line")


def _memory() -> None:
    np.ones(300 << 20, np.uint8)


def _hang() -> None:
    os.read(os.pipe()[0], 1)


def _exit() -> None:
    sys.exit(0)


PLANTED = {
    name: _target(name, fault)
    for name, fault in {
        "exception": _exception,
        "message": _message,
        "refused": _refused,
        "memory": _memory,
        "hang": _hang,
        "crash": lambda: ctypes.string_at(0),
        "exit": _exit,
    }.items()
}
