"""cuda-python as it is found: missing, broken, without a driver."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from host_cuda import HostCuda, Status

from crosspoint.core.errors import InputError, MissingDependency
from crosspoint.runtime.backends import cuda


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`cuda/bindings/runtime.py` of another cuda-python, empty, which is found before an installed one."""
    installed = take_modules()
    (tmp_path / "cuda" / "bindings").mkdir(parents=True)
    for folder in ("cuda", "cuda/bindings"):
        (tmp_path / folder / "__init__.py").write_text("")
    (tmp_path / "cuda" / "bindings" / "runtime.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "cuda"
    take_modules()
    sys.modules.update(installed)


def take_modules() -> dict[str, ModuleType]:
    """Forget all modules of cuda-python."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "cuda"}


def test_a_cuda_python_that_is_missing(package: Path) -> None:
    (package / "bindings" / "runtime.py").unlink()
    with pytest.raises(MissingDependency, match=r"cuda-python \(it is not installed\): pip install .*\[gpu\]"):
        cuda.cuda_runtime()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("raise ImportError('libcudart.so.12: cannot open shared object file')", "ImportError: libcudart.so.12"),
        ("raise RuntimeError('Failed to dlopen libcuda.so.1')", "RuntimeError: Failed to dlopen"),
        ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
    ],
)
def test_a_broken_cuda_python_is_not_called_missing(content: str, reason: str, package: Path) -> None:
    (package / "bindings" / "runtime.py").write_text(content)
    with pytest.raises(MissingDependency, match=rf"cuda-python \(it is installed and does not load: {reason}"):
        cuda.cuda_runtime()


def test_the_older_name_is_found(package: Path) -> None:
    (package / "bindings" / "runtime.py").unlink()
    (package / "cudart.py").write_text("older = True")
    assert cuda.cuda_runtime().older


def test_what_cuda_python_raises_without_a_driver_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_a_driver() -> None:
        raise RuntimeError("Failed to dlopen libcuda.so.1")  # as 12.2.1 does

    monkeypatch.setattr(cuda, "cuda_runtime", lambda: SimpleNamespace(cudaGetDeviceCount=without_a_driver))
    with pytest.raises(
        InputError, match=r"driver is missing .*\(Failed to dlopen libcuda\.so\.1\); install the driver"
    ):
        cuda.device_count()
    with pytest.raises(InputError, match=r"without_a_driver failed: NVIDIA's driver is missing .*\(Failed to dlopen"):
        cuda.call(without_a_driver)


def test_the_caller_s_device_comes_back_also_after_an_error() -> None:
    host = HostCuda(devices=3)
    host.cudaSetDevice(2)

    def fails() -> None:
        with cuda.current_device(host, 1):
            assert host.device == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert host.device == 2


def test_a_device_that_is_current_is_left_alone() -> None:
    host = HostCuda(devices=2)
    with cuda.current_device(host, 0):
        pass
    assert [name for name, _ in host.calls] == ["cudaGetDevice", "cudaSetDevice"]


def test_a_device_that_cannot_be_used() -> None:
    with (
        pytest.raises(InputError, match="cudaSetDevice failed with cudaErrorInvalidDevice"),
        cuda.current_device(HostCuda(), 1),
    ):
        pass


def test_the_stand_in_s_errors_have_cuda_s_numbers() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    for status in Status:
        assert int(getattr(runtime.cudaError_t, status.name)) == status
