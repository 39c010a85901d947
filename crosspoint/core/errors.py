"""The errors a user can cause. Each message is one line that says what is wrong and what to do next."""

import contextlib
import importlib
import io
import sys
from types import ModuleType

from crosspoint.core.printable import printable


class CrosspointError(Exception):
    """Base of every error that is reported as one line without a traceback; the command exits with `exit_code`.

    The line is `printable`, whatever names and messages of libraries stand in it.
    """

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class InputError(CrosspointError):
    """What the user gave cannot be used: a file, a folder, an option, a shape."""


class CheckFailed(CrosspointError):
    """A check that was asked for ran and failed: parity, verification, a gate."""

    exit_code = 1


class MissingDependency(CrosspointError):
    """A package that only some commands need is not installed."""


def require(module: str, extra: str, *, purpose: str) -> ModuleType:
    """Import an optional package, or say how to install it.

    Args:
        module: Importable name, e.g. `"onnxruntime"`.
        extra: The extra of this distribution that brings it, e.g. `"cpu"`.
        purpose: What needs it, as the subject of a sentence, e.g. `"running an ONNX model"`.

    Raises:
        MissingDependency: The package is not installed, or it is and does not load; the message says which.
    """
    found, trouble = import_or_reason(module)
    if found is None:
        raise MissingDependency(
            f"{purpose} needs the package {module} (it {trouble}): pip install 'crosspoint3d[{extra}]'"
        )
    return found


def import_or_reason(module: str) -> tuple[ModuleType | None, str]:
    """An optional package's module, or why there is none, e.g. `"is not installed"`.

    A package that is there and does not load is not missing: its own reason is kept, also where it is printed instead
    of raised, as by a package that was compiled for NumPy 1 beside NumPy 2.
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            found = importlib.import_module(module)
    except Exception as error:  # a broken installation raises anything
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            return None, "is not installed"
        reason = " ".join((str(error) or printed.getvalue() or "no reason given").split())
        return None, f"is installed and does not load: {type(error).__name__}: {reason[:200]}"
    sys.stderr.write(printed.getvalue())
    return found, ""
