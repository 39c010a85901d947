import json
import os
import subprocess
import sys

import pytest
from toy_machine import bare_machine

from crosspoint.doctor.doctor import doctor
from crosspoint.doctor.self_test import self_test as tested
from crosspoint.doctor.self_test.engines import BUILDERS
from crosspoint.doctor.self_test.self_test import StepResult, self_test
from crosspoint.doctor.self_test.step import PRECISIONS, Step
from crosspoint.doctor.self_test.steps import STEPS
from crosspoint.runtime.signing import VARIABLE

TOY = """
import os, signal
from crosspoint.doctor.self_test.step import NotAvailable, Step
from crosspoint.core.errors import CheckFailed

def passes(context):
    (context.folder / "made").write_text("made")
    print("noise on standard output")
    return f"worked in {context.folder}/deep"

def crashes(context):
    os.kill(os.getpid(), signal.SIGSEGV)

def fails(context):
    raise CheckFailed("/home/somebody/model.onnx is 0.5 off")

def unfit(context):
    raise NotAvailable("this GPU has no bf16")

def hangs(context):
    import threading
    threading.Event().wait()

def reads(context):
    return (context.folder / "made").read_text()

def free(facts):
    return None

STEPS = (
    Step("first", passes, free),
    Step("crash", crashes, free),
    Step("fail", fails, free),
    Step("unfit", unfit, free),
    Step("hang", hangs, free),
    Step("no gpu", reads, lambda facts: f"there is no {facts.machine.processor}"),
    Step("after the failed one", reads, free, ("fail",)),
    Step("last", reads, free, ("first",)),
)
"""
CHAIN = """
from pathlib import Path
from crosspoint.doctor.self_test.step import NotAvailable, Step
from crosspoint.core.errors import MissingDependency
from toy_steps import crashes, fails, free, passes

def unfit(context):
    raise NotAvailable("this GPU has no bf16")

def lacks(context):
    raise MissingDependency("cupy is not installed")

def leaves(context):
    (context.folder / "ran").write_text("ran")
    return "ran"

STEPS = (
    Step("passes", passes, free),
    Step("lacks a gpu", leaves, lambda facts: "there is no GPU"),
    Step("unfit", unfit, free),
    Step("lacks a package", lacks, free),
    Step("fails", fails, free),
    Step("crashes", crashes, free),
    *(Step(f"after: {name}", leaves, free, ("passes", name))
      for name in ("lacks a gpu", "unfit", "lacks a package", "fails", "crashes")),
    Step("after: after: unfit", leaves, free, ("after: unfit",)),
    Step("lacks both", leaves, lambda facts: "there is no GPU", ("fails",)),
    Step("nothing ran", lambda context: "found" if (context.folder / "ran").exists() else "nothing", free, ("passes",)),
)
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy_steps.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return "toy_steps"


def test_steps_that_fail_crash_or_hang_do_not_stop_the_others(toy):
    result = self_test(bare_machine(), toy, seconds=15)
    steps = {step.name: step for step in result.steps}
    assert [step.status for step in result.steps] == [
        *("passed", "failed", "failed", "not available", "failed", "not available", "not available", "passed")
    ]
    assert not result.passed
    assert result.counts == {"passed": 2, "failed": 3, "not available": 3}
    assert steps["crash"].reason.startswith("the process ended with -11")
    assert steps["hang"].reason.startswith("no result within 15 s")
    assert steps["unfit"].reason == "this GPU has no bf16"
    assert steps["no gpu"].reason == "there is no Intel"
    assert steps["after the failed one"].reason == "it needs what 'fail' makes"
    assert steps["last"].found == "made"  # what was made before the crash is still there
    assert "CheckFailed: …/model.onnx is 0.5 off" in steps["fail"].reason
    assert "/home" not in json.dumps(result.to_json())
    assert steps["first"].found.startswith("worked in …/")


@pytest.fixture
def chain(toy, tmp_path):
    (tmp_path / "chain_steps.py").write_text(CHAIN)
    return "chain_steps"


def test_a_step_does_not_run_unless_what_it_needs_has_passed(chain):
    steps = {step.name: step for step in self_test(bare_machine(), chain, seconds=60).steps}
    needed = ("lacks a gpu", "unfit", "lacks a package", "fails", "crashes", "after: unfit")
    for name in needed:
        after = steps[f"after: {name}"]
        assert (after.status, after.reason) == ("not available", f"it needs what '{name}' makes")
    assert (steps["lacks both"].status, steps["lacks both"].reason) == ("not available", "there is no GPU")
    assert (steps["nothing ran"].status, steps["nothing ran"].found) == ("passed", "nothing")
    assert steps["lacks a package"].status == "not available"


KEY = """
import os
from crosspoint.doctor.self_test.step import Step
from crosspoint.runtime.signing import VARIABLE

STEPS = (Step("key", lambda context: os.environ.get(VARIABLE, "none"), lambda facts: None),)
"""


def test_a_key_for_bundles_from_elsewhere_does_not_stand_in_the_way(toy, tmp_path, monkeypatch):
    (tmp_path / "key_steps.py").write_text(KEY)
    monkeypatch.setenv(VARIABLE, "/nowhere/fleet.pub")
    (step,) = self_test(bare_machine(), "key_steps", seconds=60).steps
    assert step.found == "none"


def test_every_step_follows_the_ones_it_builds_on():
    names = [step.name for step in STEPS]
    assert len(set(names)) == len(names)
    for i, step in enumerate(STEPS):
        assert set(step.after) <= set(names[:i])


def test_it_covers_what_cannot_be_run_without_a_gpu():
    names = " ".join(step.name for step in STEPS)
    for words in (
        *(f"DGCNN with {module}, {precision}" for module in BUILDERS for precision in PRECISIONS),
        *(f"PointNet with {module}, {precision}" for module in BUILDERS for precision in ("fp32", "fp16", "int8")),
        *(
            f"part segmenter with {module}, {precision}"
            for module in BUILDERS
            for precision in ("fp32", "fp16", "int8")
        ),
        "range of points with tensorrt",
        "as on a Jetson",
        "CUDA graphs of DGCNN with tensorrt",
        "DLPack with torch",
        "DLPack with cupy",
        "embed with tensorrt where torch cannot be imported",
        "fine-tune a part segmenter on CUDA, bf16",
        "bench on the GPU",
        "CUDA, bf16",
        "CUDA, fp16",
        "NCCL",
        "ONNX on CUDA",
        "ONNX Runtime's TensorRT",
    ):
        assert words in names


@pytest.mark.slow
def test_all_of_it_on_this_machine(tmp_path):
    command = [sys.executable, "-m", "crosspoint", "doctor", "--self-test", "--json", str(tmp_path / "a.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    result = json.loads((tmp_path / "a.json").read_text())
    failed = [step for step in result["steps"] if step["status"] == "failed"]
    assert failed == []
    assert done.returncode == 0, done.stderr
    assert result["schema"] == "crosspoint.self-test/1"


QUICK = """
from crosspoint.doctor.self_test import steps

STEPS = tuple(step for step in steps.STEPS if step.name in {names!r})
"""
ON_A_CPU = (
    "make shapes",
    "train DGCNN on the CPU",
    "train PointNet on the CPU",
    "fine-tune a part segmenter on the CPU",
    "export fp32 to ONNX",
    "export PointNet to ONNX",
    "export a part segmenter to ONNX",
    "write a Triton repository",
    "diagnose ONNX on the CPU, fp32",
    "parity of PyTorch and ONNX",
    "embed where torch cannot be imported",
    "bench on the CPU",
)


def test_the_steps_on_the_cpu_pass_on_this_machine(tmp_path, monkeypatch):
    """All but `torchrun` and the lower precisions, which are among the slow tests."""
    (tmp_path / "quick_steps.py").write_text(QUICK.format(names=ON_A_CPU))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv(
        "OMP_NUM_THREADS", "1"
    )  # networks this small wait for each other's threads more than they compute
    result = self_test(doctor(), "quick_steps")
    assert [(step.name, step.status, step.reason) for step in result.steps] == [
        (name, "passed", "") for name in ON_A_CPU
    ]
    found = {step.name: step.found for step in result.steps}
    assert found["embed where torch cannot be imported"] == "205 embeddings of 2048 numbers"
    assert all(found.values())


def test_each_step_is_announced_and_the_results_keep_the_order(monkeypatch, capsys):
    names = ["first", "second", "third"]
    results = [
        StepResult("second", "not available", "there is no GPU", "", 0.04),
        StepResult("first", "passed", "", "found", 12.25),
        StepResult("third", "passed", "", "", 0.0),
    ]
    asked = []
    monkeypatch.setattr(tested, "_steps", lambda given: [Step(name, None, None) for name in names])
    monkeypatch.setattr(tested, "_run_all", lambda *given: asked.append(given) or iter(results))
    result = self_test(bare_machine(), "toy", seconds=7)
    ((facts, asked_for, given, folder, seconds),) = asked
    assert (facts, asked_for, given, seconds) == (bare_machine().facts, names, "toy", 7)
    assert not folder.exists()  # it is removed at the end
    assert capsys.readouterr().err.splitlines() == [
        "  not available second (0.0 s)",
        "  passed        first (12.2 s)",
        "  passed        third (0.0 s)",
    ]
    assert [step.name for step in result.steps] == names
    assert (result.passed, result.counts) == (True, {"passed": 2, "failed": 0, "not available": 1})


def test_when_it_is_interrupted_the_process_of_the_steps_is_ended(monkeypatch, tmp_path):
    said = []

    class Process:
        def __init__(self, command, **options):
            said.append("started")
            result = {"name": "a", "status": "passed", "reason": "", "found": "", "seconds": 0.0}
            self.stdout = iter([f"{tested.MARK}{json.dumps(result)}\n"])

        def kill(self):
            said.append("killed")

        def wait(self):
            said.append("waited")

    monkeypatch.setattr(tested.subprocess, "Popen", Process)
    steps = tested._run_some(["a", "b"], {}, "toy", tmp_path, 60)
    assert next(steps).name == "a"
    steps.close()  # as an interruption does
    assert said == ["started", "killed", "waited"]
