import json
import os
import sys
from types import SimpleNamespace

import onnx
import pytest

from crosspoint.core.errors import MissingDependency
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


@pytest.mark.parametrize(
    ("number", "version"),
    [(12040, "12.4"), (11080, "11.8"), (13000, "13.0"), (12010, "12.1"), (12100, "12.10"), (0, None)],
)
def test_versions_of_cuda_from_their_numbers(number, version):
    assert probes._cuda_version(number) == version


def ended(monkeypatch, *, stdout="", stderr="", code=1):
    """Let the next package be asked in a process that says this."""
    asked = []

    def run(command, **options):
        asked.append((command, options))
        return SimpleNamespace(stdout=stdout, stderr=stderr, returncode=code)

    monkeypatch.setattr(probes.subprocess, "run", run)
    return asked


def test_of_what_a_crashed_package_said_the_last_300_characters_are_kept(monkeypatch):
    asked = ended(monkeypatch, stderr="first\n" + "x" * 500 + "\n  the  cause", code=-6)
    answer = probes._ask("torch")
    assert answer["reason"] == "ended with -6 while being imported: " + "x" * 290 + " the cause"
    assert (answer["installed"], answer["works"]) == (True, False)
    ((command, options),) = asked
    assert command[-1] == "from crosspoint.doctor.probes import answer; answer('torch')"
    assert options["timeout"] == 60


def test_the_last_answer_of_a_package_counts_whatever_else_it_prints(monkeypatch):
    ended(monkeypatch, stdout=f'hello\n{probes.MARK}{{"a": 1}}\n{probes.MARK}{{"a": 2}}\nbye\n')
    assert probes._ask("torch") == {"a": 2}


def answers(monkeypatch, capsys, error):
    def raises():
        raise error

    monkeypatch.setitem(probes.PROBES, "torch", raises)
    probes.answer("torch")
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(probes.MARK)
    found = json.loads(line.removeprefix(probes.MARK))
    return found["installed"], found["reason"]


@pytest.mark.parametrize(
    ("error", "installed", "reason"),
    [
        (ModuleNotFoundError("No module named 'torch'", name="torch"), False, "No module named 'torch'"),
        (ModuleNotFoundError("No module named 'torch._C'", name="torch._C"), False, "No module named 'torch._C'"),
        (ModuleNotFoundError("No module named 'sympy'", name="sympy"), True, "No module named 'sympy'"),
        (MissingDependency("cuda-python is not installed"), False, "cuda-python is not installed"),
        (OSError("libc.so:\n  not  found"), True, "OSError: libc.so: not found"),
        (ValueError("y" * 400), True, "ValueError: " + "y" * 288),
    ],
)
def test_a_package_that_is_missing_is_told_from_one_that_is_broken(error, installed, reason, monkeypatch, capsys):
    assert answers(monkeypatch, capsys, error) == (installed, reason)


def test_the_devices_that_torch_sees_are_described(monkeypatch):
    """Two GPUs of which torch has code for the second alone."""
    properties = [
        SimpleNamespace(name="first", major=6, minor=1, total_memory=int(3.96 * 2**30)),
        SimpleNamespace(name="second", major=9, minor=0, total_memory=80 * 2**30),
    ]
    cuda = SimpleNamespace(
        device_count=lambda: 2,
        get_device_properties=properties.__getitem__,
        get_arch_list=lambda: ["sm_80", "sm_90"],
        is_available=lambda: True,
        is_bf16_supported=lambda: True,
        nccl=SimpleNamespace(version=lambda: (2, 21, 5)),
    )
    backends = SimpleNamespace(cudnn=SimpleNamespace(version=lambda: 90100))
    torch = SimpleNamespace(__version__="2.9", version=SimpleNamespace(cuda="12.8"), cuda=cuda, backends=backends)
    monkeypatch.setitem(sys.modules, "torch", torch)
    facts = probes.torch_facts()
    assert (facts.version, facts.cuda_build, facts.cuda_available) == ("2.9", "12.8", True)
    assert (facts.cudnn, facts.nccl, facts.bf16) == (90100, "2.21.5", True)
    assert [(one.name, one.compute_capability, one.memory_gib, one.supported) for one in facts.devices] == [
        ("first", "sm61", 4.0, False),
        ("second", "sm90", 80.0, True),
    ]
    cuda.is_available, cuda.device_count = (lambda: False), (lambda: 0)
    facts = probes.torch_facts()
    assert (facts.cudnn, facts.nccl, facts.bf16, facts.devices) == (None, None, None, ())


def test_the_reason_why_a_provider_does_not_load_is_one_line():
    class Session:
        def __init__(self, model, options, providers):
            assert model == IDENTITY
            assert options.log_severity_level == 4
            raise RuntimeError(f"{providers[0]}:\n  " + "z" * 400)

    runtime = SimpleNamespace(SessionOptions=SimpleNamespace, InferenceSession=Session)
    said = probes._provider_trouble(runtime, "CUDAExecutionProvider")
    assert said == "CUDAExecutionProvider: " + "z" * 277


@pytest.mark.parametrize("module", ["tensorrt", "tensorrt_rtx"])
def test_what_a_builder_says_of_itself(module, monkeypatch):
    made = SimpleNamespace(
        __version__="10.3", OnnxParser=1, ComputeCapability=SimpleNamespace(__members__={"SM89": 1, "SM120": 2})
    )
    monkeypatch.setitem(sys.modules, module, made)
    facts = PROBES[module]()
    assert (facts.version, facts.onnx_parser, facts.targets) == ("10.3", True, ("SM120", "SM89"))
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(__version__="8"))
    facts = PROBES[module]()
    assert (facts.version, facts.onnx_parser, facts.targets) == ("8", False, None)
