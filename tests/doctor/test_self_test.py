import json
import os
import subprocess
import sys

import pytest

from crosspoint.doctor.engines import BUILDERS
from crosspoint.doctor.self_test import self_test
from crosspoint.doctor.step import PRECISIONS
from crosspoint.doctor.steps import STEPS

TOY = """
import os, signal
from crosspoint.doctor.step import NotAvailable, Step
from crosspoint.errors import CheckFailed

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
    Step("no gpu", reads, lambda facts: f"there is no {facts['what']}"),
    Step("after the failed one", reads, free, ("fail",)),
    Step("last", reads, free, ("first",)),
)
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy_steps.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return "toy_steps"


def test_steps_that_fail_crash_or_hang_do_not_stop_the_others(toy):
    result = self_test({"what": "GPU"}, toy, seconds=15)
    steps = {step["name"]: step for step in result["steps"]}
    assert [step["status"] for step in result["steps"]] == [
        *("passed", "failed", "failed", "not available", "failed", "not available", "not available", "passed")
    ]
    assert not result["passed"]
    assert result["counts"] == {"passed": 2, "failed": 3, "not available": 3}
    assert steps["crash"]["reason"].startswith("the process ended with -11")
    assert steps["hang"]["reason"].startswith("no result within 15 s")
    assert steps["unfit"]["reason"] == "this GPU has no bf16"
    assert steps["no gpu"]["reason"] == "there is no GPU"
    assert steps["after the failed one"]["reason"] == "it needs what 'fail' makes"
    assert steps["last"]["found"] == "made"  # what was made before the crash is still there
    assert "CheckFailed: …/model.onnx is 0.5 off" in steps["fail"]["reason"]
    assert "/home" not in json.dumps(result)
    assert steps["first"]["found"].startswith("worked in …/")


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
