"""The errors a user can cause. Each message is one line that says what is wrong and what to do next."""

import importlib
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


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional package, or say how to install it.

    Args:
        module: Importable name, e.g. `"onnxruntime"`.
        extra: The extra of this distribution that brings it, e.g. `"cpu"`.
        purpose: What needs it, as the subject of a sentence, e.g. `"running an ONNX model"`.

    Raises:
        MissingDependency: The package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependency(
            f"{purpose} needs the package {module} ({error}): pip install 'crosspoint3d[{extra}]'"
        ) from error
