import os
from types import SimpleNamespace

import onnx
import pytest

from crosspoint.doctor import probes
from crosspoint.doctor.probes import IDENTITY, PROBES, ask_all


def put(folder, name, code):
    """A package that takes the place of the real one in processes that are started."""
    (folder / f"{name}.py").write_text(code)


@pytest.fixture
def first_on_path(tmp_path, monkeypatch):
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.getcwd(), os.environ.get("PYTHONPATH", "")]))
    return folder


def test_the_model_that_providers_are_tried_with_is_an_identity():
    model = onnx.load_from_string(IDENTITY)
    onnx.checker.check_model(model, full_check=True)
    assert [(node.op_type, list(node.input), list(node.output)) for node in model.graph.node] == [
        ("Identity", ["x"], ["y"])
    ]


def test_what_is_here_answers():
    facts = ask_all()
    assert set(vars(facts)) == set(PROBES)
    assert facts.torch.works
    assert facts.onnxruntime.providers["CPUExecutionProvider"] is None
    for answer in vars(facts).values():
        assert answer.works or answer.reason


def test_packages_that_are_missing_broken_or_crash_are_answers(first_on_path):
    put(first_on_path, "torch", "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    put(first_on_path, "tensorrt", "raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    put(first_on_path, "tensorrt_rtx", "raise ModuleNotFoundError(\"No module named 'numpy_x'\", name='numpy_x')")
    put(first_on_path, "onnxruntime", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    facts = ask_all()
    assert (facts.torch.installed, facts.torch.works) == (False, False)
    for name in ("tensorrt", "tensorrt_rtx", "onnxruntime"):
        assert (facts.package(name).installed, facts.package(name).works) == (True, False)
    assert "libnvinfer.so.10" in facts.tensorrt.reason
    assert "ended with -11 while being imported" in facts.onnxruntime.reason


def test_a_package_that_hangs_is_an_answer(monkeypatch):
    monkeypatch.setattr(probes, "SECONDS", 0.001)
    assert ask_all().torch.reason == "did not answer within 0.001 s"


def test_a_listed_provider_that_does_not_load_is_told_from_one_that_does(first_on_path):
    put(
        first_on_path,
        "onnxruntime",
        """
__version__ = "1.20.0"
def get_available_providers():
    return ["CUDAExecutionProvider", "CPUExecutionProvider", "AzureExecutionProvider"]
def preload_dlls():
    print("Failed to load libcublas.so")
def set_default_logger_severity(level):
    pass
class SessionOptions:
    pass
class InferenceSession:  # as the real one does: it falls back without an error
    def __init__(self, model, options, providers):
        pass
    def get_providers(self):
        return ["CPUExecutionProvider"]
""",
    )
    providers = ask_all().onnxruntime.providers
    assert providers == {
        "CUDAExecutionProvider": "not loaded; the session has CPUExecutionProvider",
        "CPUExecutionProvider": None,
    }


@pytest.mark.parametrize(
    ("built_for", "capability", "expected"),
    [
        (["sm_80", "sm_86", "sm_90"], (8, 9), True),  # code for 8.0 runs on 8.9
        (["sm_80", "sm_90"], (7, 5), False),
        (["sm_90"], (8, 6), False),
        (["sm_100", "sm_120"], (12, 1), True),
        (["sm_90a"], (9, 0), True),
        (["sm_80", "compute_80"], (9, 0), True),  # compiled when it is first used
        (["sm_90", "compute_90"], (8, 6), False),
    ],
)
def test_builds_of_torch_and_gpus(monkeypatch, built_for, capability, expected):
    torch = pytest.importorskip("torch")
    major, minor = capability
    properties = SimpleNamespace(name="a GPU", major=major, minor=minor, total_memory=8 << 30)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built_for)
    (device,) = probes.torch_facts().devices
    assert device.supported is expected
