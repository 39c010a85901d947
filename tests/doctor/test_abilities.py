import copy
import re
from pathlib import Path

import pytest

from crosspoint.doctor.abilities import abilities, has_gpu, pip
from crosspoint.doctor.doctor import PACKAGES, problems

MISSING = {"installed": False, "works": False, "reason": "No module"}
GPU = {"name": "NVIDIA L4", "compute_capability": "sm89", "memory_gib": 22.0, "supported": True}


@pytest.fixture
def bare():
    """A machine with Python and the base dependencies."""
    return {
        "machine": {"gpus": {"found": [], "reason": "nvidia-smi is not there"}, "jetpack": None},
        "packages": dict.fromkeys(PACKAGES),
        **{name: dict(MISSING) for name in ("torch", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda_python")},
    }


@pytest.fixture
def with_gpu(bare):
    """A workstation on which everything works."""
    facts = copy.deepcopy(bare)
    works = {"installed": True, "works": True, "version": "1", "reason": None}
    facts["machine"]["gpus"]["found"] = [{"name": "NVIDIA L4", "compute_capability": "sm89"}]
    facts["packages"] |= {"onnx": "1.16", "torchvision": "0.21", "embreex": "2.17", "matplotlib": "3.10"}
    facts["torch"] = {**works, "devices": [dict(GPU)], "cuda_build": "12.4", "bf16": True, "nccl": "2.21"}
    providers = {"CUDAExecutionProvider": None, "TensorrtExecutionProvider": None, "CPUExecutionProvider": None}
    facts["onnxruntime"] = {**works, "providers": providers}
    facts |= {"tensorrt": dict(works), "tensorrt_rtx": {**works, "targets": ["CURRENT", "SM89"]}}
    facts["cuda_python"] = {**works, "devices": ["sm89"]}
    return facts


def by_command(facts):
    return {ability.command: ability for ability in abilities(facts)}


def find(facts, words):
    return next(ability for command, ability in by_command(facts).items() if words in command)


def test_a_bare_machine_is_told_what_to_install(bare):
    assert not has_gpu(bare)
    assert {command: a.can for command, a in by_command(bare).items() if a.can != "no"} == {"data": "yes"}
    assert find(bare, "report").install == pip("plots", "report")
    assert find(bare, "train, finetune").install == pip("train")
    assert find(bare, "export --trt").install == pip("trt-rtx")
    assert find(bare, "quickstart").install == pip("train", "cpu")
    assert find(bare, "bundle on the CPU").install == pip("cpu")
    assert find(bare, "data render").install == pip("render")
    assert find(bare, "on CUDA").how == "there is no NVIDIA GPU"


def test_every_extra_that_is_named_exists(bare, with_gpu):
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()  # read by hand: Python 3.10 has no tomllib
    known = re.findall(r"^([a-z-]+) = \[", project.partition("[project.optional-dependencies]")[2], re.MULTILINE)
    with_gpu |= {name: dict(MISSING) for name in ("torch", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda_python")}
    for ability in (*abilities(bare), *abilities(with_gpu)):
        if ability.install.startswith("pip install"):
            extras = ability.install.partition("[")[2].partition("]")[0].split(",")
            assert set(extras) <= set(known)


def test_a_workstation_can_do_everything(with_gpu):
    assert {ability.can for ability in abilities(with_gpu)} == {"yes"}
    assert problems(with_gpu) == []
    assert "NVIDIA L4 (sm89); fp32, fp16, bf16" in find(with_gpu, "train, finetune").how


def test_onnxruntime_without_cuda_on_a_gpu_is_replaced(with_gpu):
    with_gpu["onnxruntime"]["providers"] = {"CPUExecutionProvider": None}
    ability = find(with_gpu, "on CUDA")
    assert ability.can == "no"
    assert ability.install == f"pip uninstall -y onnxruntime && {pip('gpu')}"


def test_a_provider_that_is_listed_and_does_not_load(with_gpu):
    with_gpu["onnxruntime"]["providers"]["CUDAExecutionProvider"] = "libcudnn.so.9 is missing"
    assert find(with_gpu, "on CUDA").can == "no"
    assert "libcudnn.so.9 is missing" in find(with_gpu, "on CUDA").how
    assert len(problems(with_gpu)) == 1


def test_torch_without_code_for_the_gpu_or_blind_to_it(with_gpu):
    with_gpu["torch"]["devices"][0]["supported"] = False
    assert find(with_gpu, "train, finetune").can == "partly"
    with_gpu["torch"]["devices"] = []
    assert "sees no GPU" in find(with_gpu, "train, finetune").how
    assert any("does not see the GPU" in problem for problem in problems(with_gpu))


def test_both_builds_of_onnxruntime_are_a_problem(with_gpu):
    with_gpu["packages"] |= {"onnxruntime": "1.20", "onnxruntime-gpu": "1.20"}
    assert any("overwrite each other" in problem for problem in problems(with_gpu))


def test_a_jetson_has_its_tensorrt_from_jetpack(bare):
    bare["machine"]["jetpack"] = {"model": "Orin", "l4t": "36.4", "jetpack": "6.1"}
    assert has_gpu(bare)
    assert "nvidia-jetpack" in find(bare, "export --trt").install


def test_tensorrt_rtx_on_a_gpu_that_it_has_no_code_for(with_gpu):
    with_gpu["cuda_python"]["devices"] = ["sm90"]
    assert find(with_gpu, "export --trt").can == "yes"
    assert find(with_gpu, ".plan of tensorrt-rtx").how == "tensorrt_rtx 1 has no code for sm90"
    with_gpu["tensorrt"] = dict(MISSING)
    assert find(with_gpu, "export --trt").can == "partly"
    assert find(with_gpu, "export --trt").install == pip("trt")


def test_without_cuda_python_no_engine_runs(with_gpu):
    with_gpu["cuda_python"] = dict(MISSING)
    assert find(with_gpu, ".plan of tensorrt-rtx").install == pip("gpu")
    with_gpu["tensorrt"] = dict(MISSING)
    assert find(with_gpu, ".plan of tensorrt").install == pip("trt", "gpu")
