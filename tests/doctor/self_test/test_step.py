"""What steps need, of a machine that lacks it."""

import pytest
from toy_machine import GPU, facts_of

from crosspoint.doctor.self_test.step import needs_build_script
from crosspoint.doctor.self_test.steps import STEPS

PACKAGES = ("onnx", "torchvision", "embreex")


def machine(gpu, packages=("onnx",), **working):
    """Facts of a machine with these packages and no others."""
    found = [{**GPU, "name": gpu}] if gpu else []
    return facts_of(found, packages=dict.fromkeys(packages, "1.0"), **working)


@pytest.mark.parametrize("gpu", [None, "sm86"])
def test_a_machine_without_packages_is_an_answer_for_every_step(gpu):
    facts = machine(gpu, packages=())
    assert all(step.needs(facts) for step in STEPS)


def test_without_a_gpu_no_step_for_one_is_run():
    everything = {"torch": {"devices": []}, "onnxruntime": {"providers": {}}, "tensorrt": {}, "tensorrt_rtx": {}}
    facts = machine(None, PACKAGES, **everything, cuda_python={"devices": []})
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
