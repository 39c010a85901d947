"""TF32 is off on a GPU, however ONNX Runtime is told; what NVIDIA's libraries then do needs a GPU to be seen."""

import ctypes
from pathlib import Path
from types import SimpleNamespace

import pytest
import small_models as small

from crosspoint.core.errors import InputError
from crosspoint.runtime.backends import onnx as backend
from crosspoint.runtime.backends.onnx import PROVIDERS, OnnxEncoder


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list:
    """An ONNX Runtime with every provider, which opens nothing: environment in C, and providers, of each attempt."""
    opened, getenv = [], ctypes.CDLL(None).getenv
    getenv.restype, getenv.argtypes = ctypes.c_char_p, (ctypes.c_char_p,)

    def session(model: object, options: object, providers: list) -> None:
        opened.append((getenv(b"NVIDIA_TF32_OVERRIDE"), dict(providers)))
        raise RuntimeError("no GPU")

    runtime = SimpleNamespace(
        __version__="0",
        InferenceSession=session,
        SessionOptions=lambda: SimpleNamespace(add_session_config_entry=lambda *_: None),
        get_available_providers=lambda: list(PROVIDERS.values()),
        preload_dlls=lambda: None,
        set_default_logger_severity=lambda level: None,
    )
    monkeypatch.setattr(backend, "require", lambda *_, **__: runtime)
    return opened


@pytest.mark.parametrize("user", [None, "1"])
def test_the_tensorrt_provider_is_told_by_the_environment_before_it_opens(
    user: str | None, sessions: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", user or "")
    if user is None:
        monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
    with pytest.raises(InputError):
        OnnxEncoder(small.write_onnx(tmp_path / "m.onnx"), "cuda", backend="onnxruntime-tensorrt")
    ((environment, providers),) = sessions
    assert environment == b"0"
    assert "use_tf32" not in providers["TensorrtExecutionProvider"]
    assert providers["CUDAExecutionProvider"]["use_tf32"] == "0"  # which takes what TensorRT leaves


def test_the_cuda_provider_is_told_by_its_option_alone(
    sessions: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    with pytest.raises(InputError):
        OnnxEncoder(small.write_onnx(tmp_path / "m.onnx"), "cuda", backend="onnxruntime")
    assert sessions == [(None, {"CUDAExecutionProvider": {"device_id": "0", "use_tf32": "0"}})]
