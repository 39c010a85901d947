"""What `crosspoint doctor --json` writes: names and order of the entries."""

import json

from toy_machine import GPU, facts_of

from crosspoint.core.results import from_json, to_json
from crosspoint.doctor.abilities import abilities
from crosspoint.doctor.facts import DoctorFacts, DoctorResult

DEVICE = {"name": "NVIDIA L4", "compute_capability": "sm89", "memory_gib": 22.0, "supported": True}


def test_entries_are_in_the_order_in_which_they_are_looked_for():
    facts = facts_of([GPU], torch={"devices": [DEVICE]}, onnxruntime={}, cuda_python={"devices": ["sm89"]})
    written = DoctorResult(facts, tuple(abilities(facts)), ("one",)).to_json()
    assert list(written) == [
        *("schema", "crosspoint", "machine", "packages"),
        *("torch", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda_python", "commands", "problems"),
    ]
    assert list(written["machine"]) == [
        *("system", "distribution", "libc", "python", "virtual_environment", "processor", "cores", "memory_gib"),
        *("gpus", "jetpack"),
    ]
    assert list(written["torch"]) == [
        *("installed", "works", "version", "cuda_build", "cuda_available", "cudnn", "nccl", "bf16", "devices")
    ]
    assert list(written["onnxruntime"]) == ["installed", "works", "version", "listed", "providers", "lacks_bf16"]
    assert written["tensorrt"] == {"installed": False, "works": False, "reason": "No module"}
    assert list(written["cuda_python"]) == [
        *("installed", "works", "version", "devices", "reason", "driver_supports", "runtime")
    ]
    assert list(written["commands"][0]) == ["command", "can", "how", "install"]


def test_without_a_gpu_there_is_no_version_of_the_runtime():
    cuda = {"devices": [], "reason": "no driver", "driver_supports": None, "runtime": None}
    written = to_json(facts_of(cuda_python=cuda))["cuda_python"]
    assert written == {
        "installed": True,
        "works": True,
        "version": "1",
        "devices": [],
        "reason": "no driver",
        "driver_supports": None,
    }


def test_the_steps_of_the_self_test_read_the_facts_as_they_were():
    facts = facts_of([GPU], torch={"devices": [DEVICE]}, tensorrt_rtx={"targets": ["SM89"]})
    assert from_json(DoctorFacts, json.loads(json.dumps(to_json(facts)))) == facts
