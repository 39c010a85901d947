"""Lazy imports: a package's names are imported when they are first used (PEP 562)."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from crosspoint.core.errors import require


class Package(ModuleType):
    """A package whose functions are not replaced by submodules of the same name.

    When Python first imports a submodule, it sets it as an attribute of its package. If a public function has that
    name, the function is kept.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in self.__dict__.get("_functions", ())):
            super().__setattr__(name, value)


def lazy(package: str, functions: Mapping[str, str], *, torch: frozenset[str] = frozenset()) -> Callable[[str], Any]:
    """Make a package's `__getattr__`.

    Args:
        package: Its `__name__`.
        functions: For each public name, the module that defines it.
        torch: The names that need PyTorch.

    Returns:
        A function that imports the name. It raises AttributeError for other names, MissingDependency without PyTorch.
    """
    module = sys.modules[package]
    module.__dict__["_functions"] = functions
    module.__class__ = Package

    def get(name: str) -> Any:
        if name not in functions:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if name in torch:
            require("torch", "train", purpose=f"{package}.{name}")
        return getattr(import_module(functions[name]), name)

    return get
