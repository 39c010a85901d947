"""What each step of the self-test hands on to the functions that do its work."""

from functools import partial

import pytest
from calls import bound

from crosspoint.doctor.self_test.engines import BUILDERS
from crosspoint.doctor.self_test.step import PRECISIONS
from crosspoint.doctor.self_test.steps import STEPS

NETWORKS = {
    "DGCNN": ("run", "bundle-fp32"),
    "PointNet": ("run-pointnet", "bundle-pointnet"),
    "a part segmenter": ("run-parts", "bundle-parts"),
}


def named(words):
    return next(step for step in STEPS if step.name == words)


def handed_on(words):
    """What the function of a step is called with, by name."""
    run = named(words).run
    assert isinstance(run, partial)
    found = bound(run.func, ("a context", *run.args), run.keywords)
    return {name: value for name, value in found.items() if name != "context" and value not in ({}, ())}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_each_precision_is_exported_and_diagnosed_in_its_own_bundle(precision):
    export, here, there = (
        words.format(precision) for words in ("export {} to ONNX", "diagnose ONNX on the CPU, {}", "ONNX on CUDA, {}")
    )
    assert handed_on(export) == {"run": "run", "out": f"bundle-{precision}", "precision": precision}
    pair = {"reference": "run", "candidate": f"bundle-{precision}"}
    assert handed_on(here) == {**pair, "device": "cpu", "backend": None}
    assert handed_on(there) == {**pair, "device": "cuda", "backend": "onnxruntime"}
    assert named(here).after == named(there).after == (export,)


@pytest.mark.parametrize("network", NETWORKS)
def test_each_network_is_compared_with_its_own_run(network):
    run, bundle = NETWORKS[network]
    on_cuda = handed_on(f"{network} in PyTorch on CUDA against the CPU")
    assert on_cuda == {"reference": run, "candidate": run, "device": "cuda", "backend": None}
    pair = {"reference": run, "candidate": bundle, "device": "cuda"}
    through = handed_on(f"ONNX of {network} through ONNX Runtime's TensorRT")
    assert through == {**pair, "backend": "onnxruntime-tensorrt"}
    if network != "DGCNN":
        assert handed_on(f"ONNX of {network} on CUDA") == {**pair, "backend": "onnxruntime"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train DGCNN on the CPU", {"name": "run", "device": "cpu"}),
        ("fine-tune a part segmenter on the CPU", {"name": "run-parts", "device": "cpu"}),
        ("train under torchrun, two processes, gloo", {"processes": 2, "device": "cpu"}),
        ("export PointNet to ONNX", {"run": "run-pointnet", "out": "bundle-pointnet", "precision": "fp32"}),
        ("export a part segmenter to ONNX", {"run": "run-parts", "out": "bundle-parts"}),
        ("write a Triton repository", {"run": "run-pointnet", "out": "bundle-triton"}),
        (
            "parity of PyTorch and ONNX",
            {"reference": "run", "candidate": "bundle-fp32", "device": "cpu", "backend": None},
        ),
        ("embed where torch cannot be imported", {"model": "bundle-fp32"}),
        ("bench on the CPU", {"device": "cpu", "models": ("run", "bundle-fp32", "bundle-parts")}),
        ("build an engine by the bundle's script, as on a Jetson", {"run": "run"}),
        ("training step on CUDA, fp16", {"precision": "fp16"}),
        ("train on CUDA, bf16", {"precision": "bf16"}),
        ("fine-tune a part segmenter on CUDA, fp32", {"precision": "fp32"}),
    ],
)
def test_what_a_step_hands_on(words, expected):
    assert handed_on(words) == expected


@pytest.mark.parametrize("module", BUILDERS)
@pytest.mark.parametrize("network", NETWORKS)
def test_an_engine_is_executed_as_it_was_built(network, module):
    run = NETWORKS[network][0]
    for precision in ("fp32", "fp16", "int8"):
        words = f"of {network} with {module}, {precision}"
        build, execute = f"build an engine {words}", f"execute the engine {words}"
        expected = {"network": network, "run": run, "module": module, "precision": precision}
        assert handed_on(build) == handed_on(execute) == expected
        assert named(execute).after == (build,)
    assert handed_on(f"CUDA graphs of {network} with {module}") == {"network": network, "module": module}
