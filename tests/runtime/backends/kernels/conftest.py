"""The CPU operators, compiled once for all tests."""

import pytest
from compiled_operators import compiled, limited, on_level

from crosspoint.runtime.backends import kernels

__all__ = ["compiled", "limited", "on_level"]


@pytest.fixture
def library(compiled, monkeypatch):
    monkeypatch.setattr(kernels, "LIBRARY", compiled)
    return compiled
