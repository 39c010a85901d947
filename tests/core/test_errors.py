"""Optional packages: missing, or there and broken."""

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crosspoint.core import errors
from crosspoint.core.errors import MissingDependency, import_or_reason, install_command, install_source, require

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


@pytest.mark.parametrize(
    ("module", "package"), [("sklearn.svm", "scikit-learn"), ("PIL.Image", "pillow"), ("h5py", "h5py")]
)
def test_a_package_is_called_what_pip_calls_it(module: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependency, match=f"^reading it needs the package {package} "):
        require(module, "train", purpose="reading it")


def test_a_package_that_is_missing(package: Path) -> None:
    package.unlink()
    assert reason() == f"running it needs the package an_extra (it is not installed): {install_command('cpu')}"


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


class Recorded:
    """What pip has recorded of an installation (PEP 610)."""

    def __init__(self, record: str | None) -> None:
        self.record = record

    def read_text(self, name: str) -> str | None:
        return self.record if name == "direct_url.json" else None


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Lets the package lie outside a checkout, with this record of pip."""

    def install(record: str | None) -> None:
        monkeypatch.setattr(errors, "__file__", str(tmp_path / "site-packages/crosspoint/core/errors.py"))
        monkeypatch.setattr("importlib.metadata.distribution", lambda name: Recorded(record))

    return install


def test_a_checkout_is_installed_again_in_place() -> None:
    root = Path(__file__).parents[2]
    if Path(errors.__file__).parents[2] != root:
        pytest.skip("the package is installed, not run from the checkout")
    assert install_source() == ("-e ", root, ".")
    assert install_command("train", "cpu") == f"pip install -e {shlex.quote(f'{root}[train,cpu]')}"


@pytest.mark.parametrize("kind", ["checkout", "wheel"])
def test_extras_are_added_from_where_pip_installed_the_package(
    kind: str, installed: Callable[[str | None], None], tmp_path: Path
) -> None:
    source = tmp_path / "my files" / ("source" if kind == "checkout" else "crosspoint3d-0.1.0-py3-none-any.whl")
    source.parent.mkdir()
    source.mkdir() if kind == "checkout" else source.write_bytes(b"")
    installed(json.dumps({"url": source.as_uri()}))
    assert install_command("cpu") == f"pip install '{source}[cpu]'"


@pytest.mark.parametrize("record", [None, "no JSON", "[]", "{}", '{"url": "file:///no/such.whl"}'])
def test_a_source_that_is_gone_or_unknown_is_asked_for(
    record: str | None, installed: Callable[[str | None], None]
) -> None:
    installed(record)
    assert install_command("cpu") == "pip install --find-links FOLDER-OF-THE-WHEEL 'crosspoint3d[cpu]'"


def test_another_project_around_the_package_is_no_checkout(
    installed: Callable[[str | None], None], tmp_path: Path
) -> None:
    installed(None)
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages/pyproject.toml").write_text('[project]\nname = "an-app"\n')
    assert install_source()[1] is None
