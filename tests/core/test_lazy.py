"""Names of a package that are imported when they are first used."""

import sys
from types import ModuleType

import pytest

from crosspoint.core import lazy as module
from crosspoint.core.errors import MissingDependency
from crosspoint.core.lazy import lazy


@pytest.fixture
def package(monkeypatch):
    """An empty package with one function of the standard library."""
    made = ModuleType("toy_package")
    monkeypatch.setitem(sys.modules, "toy_package", made)
    made.__getattr__ = lazy("toy_package", {"sqrt": "math", "cos": "math"}, torch=frozenset({"cos"}))
    return made


def test_a_name_comes_from_its_module(package):
    assert package.sqrt(49) == 7


def test_a_name_that_is_not_there_is_an_attribute_error(package):
    assert not hasattr(package, "no_such_name")
    with pytest.raises(AttributeError, match="module 'toy_package' has no attribute 'no_such_name'"):
        _ = package.no_such_name


def test_torch_is_asked_for_by_the_names_that_need_it_alone(package, monkeypatch):
    asked = []

    def missing(*given, purpose):
        asked.append((given, purpose))
        raise MissingDependency("torch is not installed")

    monkeypatch.setattr(module, "require", missing)
    assert package.sqrt(4) == 2
    with pytest.raises(MissingDependency):
        _ = package.cos
    assert asked == [(("torch", "train"), "toy_package.cos")]


def test_a_submodule_does_not_take_the_place_of_a_function_of_its_name(package):
    package.sqrt = ModuleType("toy_package.sqrt")
    package.other = ModuleType("toy_package.other")
    assert package.sqrt(9) == 3
    assert package.other.__name__ == "toy_package.other"
