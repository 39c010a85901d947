"""The errors that a user can cause. Each message is one line: what is wrong, and what to do."""

import contextlib
import importlib
import io
import json
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from crosspoint.core.printable import printable

DISTRIBUTION = "crosspoint3d"
DISTRIBUTIONS = {"PIL": "pillow", "sklearn": "scikit-learn"}  # what pip installs, by module, where the names differ


class CrosspointError(Exception):
    """Base of every error that a command reports as one line, without a traceback.

    Names and messages of libraries in the line are escaped, see `printable`.

    Attributes:
        exit_code: The command ends with it.
    """

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))


class InputError(CrosspointError):
    """An input cannot be used: a file, a folder, an option, a shape."""


class Unsupported(InputError):
    """A model is intact, but its backend lacks a kernel for it on this device, e.g. bf16 products on a CPU."""


class CheckFailed(CrosspointError):
    """A check ran and failed: parity, verification, the gate of an export. Exit code 1."""

    exit_code = 1


class MissingDependency(CrosspointError):
    """An optional package is missing or does not load; the message has the command that installs it."""


def require(module: str, extra: str, *, purpose: str) -> ModuleType:
    """Import an optional package, or raise an error that says how to install it.

    Args:
        module: Importable name, e.g. `"onnxruntime"`.
        extra: The extra of this package that installs it, e.g. `"cpu"`.
        purpose: What needs it, as the subject of a sentence, e.g. `"running an ONNX model"`.

    Raises:
        MissingDependency: The package is not installed, or is installed and does not load.
    """
    found, trouble = import_or_reason(module)
    if found is None:
        name = module.partition(".")[0]
        package = DISTRIBUTIONS.get(name, name)
        raise MissingDependency(f"{purpose} needs the package {package} (it {trouble}): {install_command(extra)}")
    return found


def install_command(*extras: str) -> str:
    """The command that adds extras to this installation, e.g. `pip install '/home/me/crosspoint[train,cpu]'`.

    The package is on no index, so the command names the checkout or the wheel that this installation is from.
    """
    options, folder, name = install_source()
    source = name if folder is None else str(folder / name)
    return f"pip install {options}{shlex.quote(source + with_extras(extras))}"


def with_extras(extras: Iterable[str]) -> str:
    """Extras as pip takes them behind a name: `"[train,cpu]"`."""
    return f"[{','.join(extras)}]"


def install_source() -> tuple[str, Path | None, str]:
    """What pip can install this package from.

    Returns:
        Options of `pip install`, the folder, and the name in it: `"."` for a checkout, the file name of a wheel. If the
        checkout or wheel is gone, or pip did not record it, the folder is None and the name is that of the package.
    """
    import importlib.metadata
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    package = Path(__file__).parents[2]
    with contextlib.suppress(OSError, ValueError):
        if f'name = "{DISTRIBUTION}"' in (package / "pyproject.toml").read_text(encoding="utf-8"):
            return "-e ", package, "."
    with contextlib.suppress(importlib.metadata.PackageNotFoundError, ValueError, KeyError, TypeError):
        record = importlib.metadata.distribution(DISTRIBUTION).read_text("direct_url.json")  # PEP 610
        path = Path(url2pathname(urlsplit(json.loads(record or "")["url"]).path))
        if path.is_dir():
            return "", path, "."
        if path.is_file():
            return "", path.parent, path.name
    return "--find-links FOLDER-OF-THE-WHEEL ", None, DISTRIBUTION


def import_or_reason(module: str) -> tuple[ModuleType | None, str]:
    """Import an optional package.

    Returns:
        The module and `""`; or None and the reason, e.g. `"is not installed"`. If the package is installed and does not
        load, the reason holds its own message, raised or printed. A package compiled for NumPy 1, for example, prints
        its message when NumPy 2 is installed.
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
