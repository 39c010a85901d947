"""Optional packages: missing, or there and broken."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crosspoint.core.errors import MissingDependency, import_or_reason, require

NUMPY_1 = """\
import sys
sys.stderr.write("A module that was compiled using NumPy 1.x cannot be run in\\nNumPy 2.4.6 as it may crash.\\n")
raise ImportError
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module's file, empty."""
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "an_extra.py"
    path.write_text("")
    yield path
    sys.modules.pop("an_extra", None)


def reason() -> str:
    with pytest.raises(MissingDependency) as caught:
        require("an_extra", "cpu", purpose="running it")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_package_that_is_missing(package: Path) -> None:
    package.unlink()
    assert reason() == ("running it needs the package an_extra (it is not installed): pip install 'crosspoint3d[cpu]'")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("raise ImportError('libonnx.so: no such file')", "ImportError: libonnx.so: no such file"),
        ("raise OSError('libnvinfer.so.10: cannot open')", "OSError: libnvinfer.so.10: cannot open"),
        ("import another_one", "ModuleNotFoundError: No module named 'another_one'"),
        ("raise AttributeError('_ARRAY_API not found')", "AttributeError: _ARRAY_API not found"),
        (NUMPY_1, "ImportError: A module that was compiled using NumPy 1.x cannot be run in NumPy 2.4.6"),
    ],
)
def test_a_broken_package_keeps_its_reason(content: str, said: str, package: Path) -> None:
    package.write_text(content)
    assert f"an_extra (it is installed and does not load: {said}" in reason()


def test_what_a_package_prints_is_not_swallowed(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package.write_text("import sys; sys.stderr.write('deprecated')")
    module, trouble = import_or_reason("an_extra")
    assert (module is not None, trouble) == (True, "")
    assert capsys.readouterr().err == "deprecated"


def test_a_part_of_a_package_that_is_missing(package: Path) -> None:
    package.unlink()
    assert import_or_reason("an_extra.part") == (None, "is not installed")
