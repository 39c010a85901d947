import re
from dataclasses import replace
from pathlib import Path

import pytest
from toy_machine import GPU, facts_of

from crosspoint.doctor.abilities import abilities, has_gpu, pip
from crosspoint.doctor.doctor import problems
from crosspoint.doctor.facts import Broken

L4 = {"name": "NVIDIA L4", "compute_capability": "sm89", "memory_gib": 22.0, "supported": True}
PROVIDERS = {"CUDAExecutionProvider": None, "TensorrtExecutionProvider": None, "CPUExecutionProvider": None}


@pytest.fixture
def bare():
    """A machine with Python and the base dependencies."""
    return facts_of()


@pytest.fixture
def with_gpu():
    """A workstation on which everything works."""
    return workstation()


def workstation(packages=None, **changes):
    versions = {"onnx": "1.16", "torchvision": "0.21", "embreex": "2.17", "matplotlib": "3.10"}
    versions |= {"scikit-learn": "1.7", "scipy": "1.16", "h5py": "3.14", "pillow": "11.0", **(packages or {})}
    works = {
        "torch": {"devices": [L4]},
        "onnxruntime": {"providers": PROVIDERS},
        "tensorrt": {},
        "tensorrt_rtx": {"targets": ["CURRENT", "SM89"]},
        "cuda_python": {"devices": ["sm89"]},
    }
    working = {name: answer for name, answer in {**works, **changes}.items() if answer is not None}
    return facts_of([GPU], packages=versions, **working)


def by_command(facts):
    return {ability.command: ability for ability in abilities(facts)}


def find(facts, words):
    return next(ability for command, ability in by_command(facts).items() if words in command)


def test_a_bare_machine_is_told_what_to_install(bare):
    assert not has_gpu(bare)
    assert {command: a.can for command, a in by_command(bare).items() if a.can != "no"} == {"data list": "yes"}
    assert find(bare, "report").install == pip("plots", "report")
    assert find(bare, "train, finetune").install == pip("train")
    assert find(bare, "export --trt").install == pip("trt-rtx")
    assert find(bare, "quickstart").install == pip("train", "cpu")
    assert find(bare, "bundle on the CPU").install == pip("cpu")
    assert find(bare, "data make-shapes, render").install == pip("render")
    assert find(bare, "data verify, pack").install == pip("render")
    assert find(bare, "data verify, pack").how == "h5py is not installed; pillow is not installed"
    assert find(bare, "data objects").install == pip("objects")
    assert find(bare, "eval svm").install == pip("eval")
    assert find(bare, "eval svm").how == "scikit-learn is not installed; scipy is not installed; h5py is not installed"
    assert find(bare, "on CUDA").how == "there is no NVIDIA GPU"


def test_every_extra_that_is_named_exists(bare, with_gpu):
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()  # read by hand: Python 3.10 has no tomllib
    known = re.findall(r"^([a-z-]+) = \[", project.partition("[project.optional-dependencies]")[2], re.MULTILINE)
    without = replace(with_gpu, answers=bare.answers)
    for ability in (*abilities(bare), *abilities(without)):
        if ability.install.startswith("pip install"):
            extras = ability.install.partition("[")[2].partition("]")[0].split(",")
            assert set(extras) <= set(known)


def test_a_workstation_can_do_everything(with_gpu):
    assert {ability.can for ability in abilities(with_gpu)} == {"yes"}
    assert problems(with_gpu) == []
    assert "NVIDIA L4 (sm89); fp32, fp16, bf16" in find(with_gpu, "train, finetune").how


def test_training_on_a_gpu_names_the_compiler_of_its_kernels():
    assert "fused kernels by triton 3.8.0" in find(workstation({"triton": "3.8.0"}), "train, finetune").how
    assert "triton" not in find(workstation(), "train, finetune").how


def test_onnxruntime_without_cuda_on_a_gpu_is_replaced():
    ability = find(workstation(onnxruntime={"providers": {"CPUExecutionProvider": None}}), "on CUDA")
    assert ability.can == "no"
    assert ability.install == f"pip uninstall -y onnxruntime && {pip('gpu')}"


def test_a_cpu_that_cannot_run_bf16_is_said_to():
    said = {"providers": PROVIDERS, "lacks_bf16": "this CPU has no AVX512-BF16"}
    facts = workstation(onnxruntime=said)
    assert find(facts, "bundle on the CPU").how.endswith("; no bundles in bf16: this CPU has no AVX512-BF16")
    assert "bf16" not in find(facts, "on CUDA").how
    assert "bf16" not in find(workstation(), "bundle on the CPU").how


def test_a_provider_that_is_listed_and_does_not_load():
    providers = {**PROVIDERS, "CUDAExecutionProvider": "libcudnn.so.9 is missing"}
    facts = workstation(onnxruntime={"providers": providers})
    assert find(facts, "on CUDA").can == "no"
    assert "libcudnn.so.9 is missing" in find(facts, "on CUDA").how
    assert len(problems(facts)) == 1


def test_torch_without_code_for_the_gpu_or_blind_to_it():
    assert find(workstation(torch={"devices": [{**L4, "supported": False}]}), "train, finetune").can == "partly"
    blind = workstation(torch={"devices": []})
    assert "sees no GPU" in find(blind, "train, finetune").how
    assert any("does not see the GPU" in problem for problem in problems(blind))


def test_both_builds_of_onnxruntime_are_a_problem():
    facts = workstation({"onnxruntime": "1.20", "onnxruntime-gpu": "1.20"})
    assert any("overwrite each other" in problem for problem in problems(facts))


def test_a_jetson_has_its_tensorrt_from_jetpack():
    facts = facts_of(jetpack={"model": "Orin", "l4t": "36.4", "jetpack": "6.1"})
    assert has_gpu(facts)
    assert "nvidia-jetpack" in find(facts, "export --trt").install


def test_tensorrt_rtx_on_a_gpu_that_it_has_no_code_for():
    facts = workstation(cuda_python={"devices": ["sm90"]})
    assert find(facts, "export --trt").can == "yes"
    assert find(facts, ".plan of tensorrt-rtx").how == "tensorrt_rtx 1 has no code for sm90"
    facts = workstation(cuda_python={"devices": ["sm90"]}, tensorrt=None)
    assert find(facts, "export --trt").can == "partly"
    assert find(facts, "export --trt").install == pip("trt")


def test_without_cuda_python_no_engine_runs():
    assert find(workstation(cuda_python=None), ".plan of tensorrt-rtx").install == pip("gpu")
    facts = workstation(cuda_python=None, tensorrt=None)
    assert find(facts, ".plan of tensorrt").install == pip("trt", "gpu")


@pytest.mark.parametrize(
    ("provider", "words", "needs"),
    [
        ("CUDAExecutionProvider", "bundle on CUDA", "CUDA, cuDNN"),
        ("TensorrtExecutionProvider", "ONNX Runtime's TensorRT", "CUDA, cuDNN, TensorRT"),
    ],
)
def test_a_provider_that_does_not_load_names_what_it_was_built_for(provider, words, needs):
    broken = find(workstation(onnxruntime={"providers": {**PROVIDERS, provider: "it is broken"}}), words)
    assert broken.can == "no"
    assert broken.how == f"{provider} is listed and does not load: it is broken"
    assert broken.install == f"the {needs} that onnxruntime-gpu 1 was built for"


def test_providers_that_load_and_those_that_are_not_there():
    facts = workstation()
    for words, provider in (
        ("bundle on the CPU", "CPU"),
        ("bundle on CUDA", "CUDA"),
        ("Runtime's TensorRT", "Tensorrt"),
    ):
        assert find(facts, words).how == f"onnxruntime 1, {provider}ExecutionProvider loads"
    without_cpu = workstation(onnxruntime={"providers": {"CUDAExecutionProvider": None}})
    assert find(without_cpu, "bundle on the CPU").how == "this onnxruntime 1 has no CPUExecutionProvider"
    assert find(without_cpu, "bundle on the CPU").install == ""
    assert find(facts_of(onnxruntime={"providers": PROVIDERS}), "bundle on the CPU").can == "yes"
    assert find(facts_of(onnxruntime={"providers": PROVIDERS}), "bundle on CUDA").how == "there is no NVIDIA GPU"
    assert find(workstation(onnxruntime=None), "bundle on the CPU").install == pip("gpu")


def test_what_a_workstation_does_with_its_packages(with_gpu):
    hows = {ability.command: ability.how for ability in abilities(with_gpu)}
    assert hows["train under torchrun"] == "1 GPU(s), NCCL 2.21"
    assert hows["export"] == "torch 1, onnx 1.16, ONNX Runtime for the gate"
    assert hows["export --trt"] == "tensorrt 1, tensorrt_rtx 1; the engine is executed and compared"
    assert hows["report"] == "matplotlib 3.10"
    assert hows["data make-shapes, render, scan"] == "embreex 2.17"
    assert find(with_gpu, ".plan of tensorrt-rtx").how == "tensorrt_rtx 1 on sm89"
    assert by_command(with_gpu)["import"].can == "yes"
    two = workstation(torch={"devices": [L4, {**L4, "name": "second", "supported": False}], "bf16": False})
    assert find(two, "train, finetune").how == "torch 1 has no code for second; on the CPU it trains"
    assert find(two, "train under torchrun").how == "2 GPU(s), NCCL 2.21"
    assert find(workstation(torch={"devices": [L4], "bf16": False}), "train, finetune").how.endswith("; fp32, fp16")


def test_without_a_gpu_training_is_on_the_cpu_and_engines_are_only_built():
    facts = facts_of(packages={"torchvision": "1", "onnx": "1"}, torch={}, onnxruntime={}, tensorrt_rtx={})
    assert find(facts, "train, finetune").how == "on the CPU, torch 1; there is no GPU"
    assert find(facts, "train under torchrun").how == "processes on the CPU, gloo"
    built = find(facts, "export --trt")
    assert (built.can, built.install) == ("partly", "")
    assert built.how == "tensorrt_rtx 1: builds engines for RTX GPUs; none here to run them"


@pytest.mark.parametrize(
    ("lacking", "extras", "how"),
    [
        ("onnx", ("train",), "onnx is not installed"),
        ("onnxruntime", ("gpu",), "onnxruntime is not installed"),
        ("torch", ("train",), "torch is not installed"),
    ],
)
def test_what_an_export_lacks_is_named_with_its_extra(lacking, extras, how):
    facts = workstation({"onnx": None}) if lacking == "onnx" else workstation(**{lacking: None})
    export = by_command(facts)["export"]
    assert (export.can, export.how, export.install) == ("no", how, pip(*extras))


def test_a_package_that_is_broken_says_why():
    facts = replace(facts_of(), answers=replace(facts_of().answers, torch=Broken(installed=True, reason="libc is old")))
    assert find(facts, "train, finetune").how == "torch does not work: libc is old"
    assert by_command(facts)["import"].can == "no"


def test_an_engine_needs_a_device_that_cuda_python_sees():
    facts = workstation(cuda_python={"devices": [], "reason": "no driver"})
    assert (find(facts, ".plan of tensorrt").how, find(facts, ".plan of tensorrt").can) == ("no driver", "no")
