import pytest

from crosspoint.runtime.backends.kernels.compile import compile_library, compiler


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """The library of the CPU operators, compiled from the source."""
    if compiler() is None:
        pytest.skip("no C compiler")
    library = compile_library(tmp_path_factory.mktemp("kernels"))
    assert not isinstance(library, str), library
    return library
