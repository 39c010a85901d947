"""The self-test's verdicts on exported networks, given results that are right, or wrong in one way."""

import subprocess
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from calls import bound
from toy_machine import facts_of

from crosspoint.core.errors import CheckFailed, InputError, Unsupported
from crosspoint.doctor.self_test import networks
from crosspoint.doctor.self_test.step import Context, NotAvailable
from crosspoint.parity.task import PartTask
from crosspoint.runtime.options import RunOn, Sampling

NAN = float("nan")


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, facts_of())


def diagnosis(passed):
    ran = SimpleNamespace(backend="onnxruntime", device="cpu", precision="fp32")
    return SimpleNamespace(passed=passed, advice="They part at edge2.", candidate=ran)


def test_a_diagnosis_that_found_a_difference_fails(context, monkeypatch):
    asked = []
    monkeypatch.setattr(
        import_module("crosspoint.parity.layers.diagnose"),
        "diagnose",
        lambda *a, **b: asked.append((a, b)) or diagnosis(False),
    )
    with pytest.raises(CheckFailed, match=r"^They part at edge2\.$"):
        networks.diagnosed(context, "run", candidate="bundle", device="cuda", backend="tensorrt")
    assert asked == [
        (
            (context.folder / "run", context.folder / "bundle"),
            {"sampling": Sampling(128), "run_on": RunOn("cuda", "tensorrt")},
        )
    ]


def test_a_diagnosis_that_found_none_says_what_ran(context, monkeypatch):
    monkeypatch.setattr(
        import_module("crosspoint.parity.layers.diagnose"), "diagnose", lambda *_, **__: diagnosis(True)
    )
    assert networks.diagnosed(context, "run", candidate="bundle") == "onnxruntime on cpu, fp32: They part at edge2."


@pytest.mark.parametrize(
    ("error", "expected"),
    [(Unsupported("no kernel for e.onnx"), NotAvailable), (InputError("no kernel for e.onnx"), InputError)],
)
def test_only_a_lack_of_kernels_is_no_failure(error, expected, context, monkeypatch):
    def diagnose(*_, **__):
        raise error

    monkeypatch.setattr(import_module("crosspoint.parity.layers.diagnose"), "diagnose", diagnose)
    with pytest.raises(expected, match="no kernel for e"):
        networks.diagnosed(context, "run", candidate="bundle")


def test_a_parity_that_failed_fails(context, monkeypatch):
    gate = SimpleNamespace(passed=False, rule="relative L2", measured=0.5, limit=1e-4)
    monkeypatch.setattr(
        import_module("crosspoint.parity.parity"), "parity", lambda *_, **__: SimpleNamespace(gate=gate)
    )
    with pytest.raises(CheckFailed, match=r"relative L2: 0\.5 \(limit 0\.0001\)"):
        networks.compared(context, "run", candidate="bundle")
    gate.passed, gate.measured = True, 1e-6
    assert networks.compared(context, "run", candidate="bundle") == "relative L2: 1.0e-06 (limit 0.0001)"


@pytest.fixture
def embedding(context, monkeypatch):
    """What `crosspoint embed` leaves and how it ends, in a process that is not started."""
    left = SimpleNamespace(returncode=0, stderr="no\n", values=np.arange(6.0).reshape(2, 3), command=[])

    def run(command, **options):
        left.command = command
        np.savez(context.folder / "bundle.npz", embeddings=left.values)
        return left

    monkeypatch.setattr(subprocess, "run", run)
    return left


def test_embeddings_that_differ_pass(context, embedding):
    assert (
        networks.embed_without_torch(context, "bundle", "--device", "cuda")
        == "2 embeddings of 3 numbers, --device cuda"
    )
    assert "sys.modules['torch'] = None" in embedding.command[2]
    assert embedding.command[-2:] == ["--device", "cuda"]


@pytest.mark.parametrize(
    "values", [np.ones((2, 3)), np.zeros((2, 3)), np.array([[1, NAN, 2]]), np.array([[1, np.inf]])]
)
def test_embeddings_that_are_all_the_same_or_no_numbers_fail(values, context, embedding):
    embedding.values = values
    with pytest.raises(CheckFailed, match="not finite, or all the same"):
        networks.embed_without_torch(context, "bundle")


def test_an_embedding_that_ended_badly_fails(context, embedding):
    embedding.returncode = 2
    with pytest.raises(CheckFailed, match="crosspoint embed ended with 2: no"):
        networks.embed_without_torch(context, "bundle")


@pytest.mark.parametrize("rate", [0.0, -1.0, NAN])
def test_a_throughput_that_is_none_fails(rate, context, monkeypatch):
    good = {"model": "run", "backend": "pytorch", "p50_ms": 1.0, "clouds_per_second": 5.0}
    rows = [SimpleNamespace(**good), SimpleNamespace(**{**good, "clouds_per_second": rate})]
    monkeypatch.setattr("crosspoint.runtime.bench.bench.bench", lambda *_, **__: SimpleNamespace(rows=rows, not_run=[]))
    with pytest.raises(CheckFailed, match="a throughput is not positive"):
        networks.measured(context, "cpu", models=["run"])
    rows.pop()
    assert networks.measured(context, "cpu", models=["run"]) == "run with pytorch 1.00 ms"


def test_models_that_could_not_be_measured_are_named(context, monkeypatch):
    lacking = [SimpleNamespace(model="a/bundle", backend="tensorrt", reason="there is no GPU")]
    monkeypatch.setattr(
        "crosspoint.runtime.bench.bench.bench", lambda *_, **__: SimpleNamespace(rows=[], not_run=lacking)
    )
    assert networks.measured(context, "cpu", models=["run"]) == "bundle with tensorrt not: there is no GPU"


@pytest.mark.parametrize("written", [["model.onnx"], []])
def test_a_triton_repository_without_its_configuration_fails(written, context, monkeypatch):
    (context.folder / "triton" / "1").mkdir(parents=True)
    for name in written:
        (context.folder / "triton" / "1" / name).touch()
    monkeypatch.setattr(networks, "export", lambda *_, **__: {})
    with pytest.raises(CheckFailed, match=r"and no config\.pbtxt"):
        networks.export_for_triton(context, "run", out="bundle")
    (context.folder / "triton" / "config.pbtxt").touch()
    assert networks.export_for_triton(context, "run", out="bundle").startswith("config.pbtxt")


def given_to(monkeypatch, module, function, result):
    """What a function of the package is called with; it gives a result without work."""
    found = import_module(module)
    return replace_by(monkeypatch, found, function, result)


def replace_by(monkeypatch, module, function, result):
    calls = []
    original = getattr(module, function)

    def called(*arguments, **options):
        calls.append(bound(original, arguments, options))
        return result

    monkeypatch.setattr(module, function, called)
    return calls


def test_parity_is_measured_on_forty_of_the_shapes(context, monkeypatch):
    gate = SimpleNamespace(passed=True, rule="a rule", measured=0.0, limit=1.0)
    calls = given_to(monkeypatch, "crosspoint.parity.parity", "parity", SimpleNamespace(gate=gate))
    networks.compared(context, "run", candidate="bundle", device="cuda", backend="tensorrt")
    (call,) = calls
    assert (call["reference"], call["candidate"]) == (context.folder / "run", context.folder / "bundle")
    assert call["data"] == context.folder / "shapes" / "modelnet40_ply_hdf5_2048"
    assert (call["clouds"], call["sampling"], call["run_on"]) == (40, Sampling(128), RunOn("cuda", "tensorrt"))


GATE = SimpleNamespace(candidate="encoder.onnx", relative_l2_max=2.5e-7, overlap_min=0.9995)


def test_an_export_is_small_and_says_what_the_gate_measured(context, monkeypatch):
    parity = SimpleNamespace(gate=GATE)
    calls = given_to(monkeypatch, "crosspoint.export.bundle", "export", SimpleNamespace(parity=parity))
    said = networks.export_onnx(context, "run", out="bundle", precision="fp16")
    assert said == "encoder.onnx: relative L2 2.5e-07, worst overlap 0.9995"
    (call,) = calls
    assert (call["model"], call["out"]) == (context.folder / "run", context.folder / "bundle")
    assert (call["precision"], call["points"], call["batch"], call["trt"]) == ("fp16", 128, (1, 2, 4), False)


def test_a_segmenter_is_exported_with_forty_labelled_clouds(context, monkeypatch):
    task = PartTask("instance mIoU", "clouds", 1, 64, 0.75, 0.5, -0.25, None, 0.02, 0.95, 0.9)
    gate = SimpleNamespace(candidate="encoder.onnx", relative_l2_max=1e-6, overlap_min=None)
    parity = SimpleNamespace(gate=gate, task=SimpleNamespace(task=task))
    calls = given_to(monkeypatch, "crosspoint.export.bundle", "export", SimpleNamespace(parity=parity))
    said = networks.export_segmenter(context, "run", out="bundle")
    assert said.startswith("encoder.onnx: relative L2 1.0e-06, no neighbour graphs; instance mIoU 0.750 and 0.500, ")
    verification = calls[0]["verification"]
    assert verification.data == context.folder / "shapes" / "shapenet_part_seg_hdf5_data"
    assert verification.clouds == 40


def test_only_models_that_are_there_are_measured(context, monkeypatch):
    (context.folder / "run").mkdir()
    calls = given_to(monkeypatch, "crosspoint.runtime.bench.bench", "bench", SimpleNamespace(rows=[], not_run=[]))
    networks.measured(context, "cuda:0", models=["run", "bundle"])
    (call,) = calls
    assert (call["batch"], call["points"], call["devices"], call["seconds"]) == (2, 128, ["cuda:0"], 0.2)
    assert next(iter(call.values())) == [context.folder / "run"]
