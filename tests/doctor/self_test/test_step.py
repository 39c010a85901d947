"""What steps need, of a machine that lacks it."""

import pytest

from crosspoint.doctor.self_test.step import needs_build_script
from crosspoint.doctor.self_test.steps import STEPS

NOTHING = {"installed": False, "works": False, "reason": "no module"}
NAMES = ("torch", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda_python")
PACKAGES = dict.fromkeys(("onnx", "torchvision", "embreex"))


def machine(gpu, **working):
    """Facts of a machine with these packages and no others."""
    found = [{"name": gpu}] if gpu else []
    facts = {name: dict(NOTHING) for name in NAMES}
    facts |= {"machine": {"gpus": {"found": found}, "jetpack": None}, "packages": {**PACKAGES, "onnx": "1.0"}}
    return facts | {name: {"works": True, **facts_of} for name, facts_of in working.items()}


@pytest.mark.parametrize("gpu", [None, "sm86"])
def test_a_machine_without_packages_is_an_answer_for_every_step(gpu):
    facts = machine(gpu)
    facts["packages"] = dict(PACKAGES)
    assert all(step.needs(facts) for step in STEPS)


def test_without_a_gpu_no_step_for_one_is_run():
    everything = {"torch": {"devices": []}, "onnxruntime": {"providers": {}}, "tensorrt": {}, "tensorrt_rtx": {}}
    facts = machine(None, **everything, cuda_python={"devices": []})
    facts["packages"] = dict.fromkeys(PACKAGES, "1.0")
    words = ("CUDA", "NCCL", "DLPack", "execute", "GPU", "Jetson", "with tensorrt,")
    on_gpu = [step for step in STEPS if any(word in step.name for word in words)]
    assert len(on_gpu) > 50
    assert {step.needs(facts) for step in on_gpu} == {"there is no NVIDIA GPU"}


BUILDING = {"torch": {"devices": []}, "onnxruntime": {}}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (machine(None), "there is no NVIDIA GPU"),
        (machine("sm86", **BUILDING), "cuda_python is not installed"),
        (machine("sm86", **BUILDING, cuda_python={"devices": ["sm86"]}), "tensorrt is not installed, and"),
        (machine("sm86", **BUILDING, cuda_python={"devices": ["sm86"]}, tensorrt_rtx={"targets": ["SM86"]}), None),
        (
            machine("sm90", **BUILDING, cuda_python={"devices": ["sm90"]}, tensorrt_rtx={"targets": ["SM86"]}),
            "for this",
        ),
        (machine("sm90", **BUILDING, cuda_python={"devices": ["sm90"]}, tensorrt={}), None),
    ],
)
def test_a_bundle_s_script_needs_a_flavour_that_builds_for_the_gpu(facts, expected):
    found = needs_build_script(facts)
    assert found is None if expected is None else expected in found
