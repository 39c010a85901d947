"""The CPU operators, compiled once for all tests of this folder."""

import pytest

from crosspoint.runtime.backends import kernels
from crosspoint.runtime.backends.kernels.compile import compile_library, compiler


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    if compiler() is None:
        pytest.skip("no C compiler")
    library = compile_library(tmp_path_factory.mktemp("kernels"))
    assert not isinstance(library, str), library
    return library


@pytest.fixture
def library(compiled, monkeypatch):
    monkeypatch.setattr(kernels, "LIBRARY", compiled)
    return compiled
