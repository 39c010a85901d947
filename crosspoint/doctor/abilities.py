"""Which commands run on this machine, and the command that installs what is missing."""

import shlex
from collections.abc import Sequence

from crosspoint.core.errors import install_source, with_extras
from crosspoint.doctor.facts import Ability, Broken, CudaFacts, DoctorFacts, TensorRTFacts, TorchDevice, TorchFacts

YES, PARTLY, NO = "yes", "partly", "no"
ANY = "embed, eval, parity, bench"


def pip(*extras: str) -> str:
    """The command that adds extras to this installation, run in the folder of its checkout or wheel: it has no path."""
    options, _, name = install_source()
    return f"pip install {options}{shlex.quote(name + with_extras(extras))}"


def abilities(facts: DoctorFacts) -> list[Ability]:
    """What each command can do, in the order of the workflow.

    Args:
        facts: The machine and its packages.
    """
    training, exporting = _training(facts), _exporting(facts)
    return [
        Ability("quickstart", exporting.can, exporting.how, exporting.install),
        Ability("data list", YES, "no further package"),
        _with_packages(facts, "data verify, pack", ("h5py", "pillow"), extra="render"),
        _with_packages(facts, "data make-shapes, render, scan", ("embreex",), extra="render"),
        _with_packages(facts, "data objects, embed --objects", ("scikit-learn", "scipy"), extra="objects"),
        training,
        _distributed(facts),
        Ability("import", training.can if training.can == NO else YES, training.how, training.install),
        exporting,
        _building(facts),
        _pytorch(facts),
        _provider(facts, f"{ANY} an .onnx or a bundle on the CPU", "CPUExecutionProvider"),
        _provider(facts, f"{ANY} an .onnx or a bundle on CUDA", "CUDAExecutionProvider"),
        _provider(facts, f"{ANY} an .onnx through ONNX Runtime's TensorRT", "TensorrtExecutionProvider"),
        _engine(facts, "tensorrt", "trt"),
        _engine(facts, "tensorrt_rtx", "trt-rtx"),
        Ability("diagnose", exporting.can, exporting.how, exporting.install),
        _with_packages(
            facts,
            "eval svm, fewshot and robustness; fit; duplicates",
            ("scikit-learn", "scipy", "h5py"),
            extra="eval",
        ),
        _report(facts),
    ]


def has_gpu(facts: DoctorFacts) -> bool:
    """Whether the machine has an NVIDIA GPU with a driver, even if no installed package can use it."""
    machine = facts.machine
    return bool(machine.gpus.found or torch_devices(facts) or cuda_devices(facts)) or machine.jetpack is not None


def torch_devices(facts: DoctorFacts) -> tuple[TorchDevice, ...]:
    """The GPUs that PyTorch sees."""
    torch = facts.answers.torch
    return () if isinstance(torch, Broken) else torch.devices


def cuda_devices(facts: DoctorFacts) -> tuple[str, ...]:
    """Compute capabilities of the GPUs that cuda-python sees."""
    cuda = facts.answers.cuda_python
    return () if isinstance(cuda, Broken) else cuda.devices


def rtx_runs(facts: DoctorFacts) -> bool:
    """Whether TensorRT-RTX is installed and supports a GPU of this machine. It supports no data-centre GPU."""
    rtx = facts.answers.tensorrt_rtx
    known = [] if isinstance(rtx, Broken) else [name.lower() for name in rtx.targets or ()]
    return any(gpu in known for gpu in cuda_devices(facts))


def _inference_extra(facts: DoctorFacts) -> str:
    return "gpu" if has_gpu(facts) else "cpu"


def works(facts: DoctorFacts, name: str) -> bool:
    """Whether a package can be used."""
    return not isinstance(facts.answers.package(name), Broken)


def _why(facts: DoctorFacts, name: str) -> str:
    package = facts.answers.package(name)
    if isinstance(package, Broken) and package.installed:
        return f"{name} does not work: {package.reason}"
    return f"{name} is not installed"


def _with_packages(facts: DoctorFacts, command: str, names: Sequence[str], *, extra: str) -> Ability:
    """What runs where all of these packages are installed."""
    missing = [f"{name} is not installed" for name in names if not facts.packages[name]]
    if missing:
        return Ability(command, NO, "; ".join(missing), pip(extra))
    return Ability(command, YES, ", ".join(f"{name} {facts.packages[name]}" for name in names))


def _report(facts: DoctorFacts) -> Ability:
    if version := facts.packages["matplotlib"]:
        return Ability("report", YES, f"matplotlib {version}")
    return Ability("report", NO, "matplotlib is not installed", pip("plots", "report"))


def _training(facts: DoctorFacts) -> Ability:
    torch = facts.answers.torch
    if isinstance(torch, Broken):
        return Ability("train, finetune", NO, _why(facts, "torch"), pip("train"))
    if not facts.packages["torchvision"]:
        return Ability("train, finetune", NO, "torchvision is not installed", pip("train"))
    unsupported = [device.name for device in torch.devices if not device.supported]
    if unsupported:
        how = f"torch {torch.version} has no code for {unsupported[0]}; on the CPU it trains"
        return Ability("train, finetune", PARTLY, how, "a build of torch for this GPU: https://pytorch.org/get-started")
    if torch.devices:
        names = ", ".join(f"{device.name} ({device.compute_capability})" for device in torch.devices)
        how = f"on {names}; fp32, fp16{', bf16' if torch.bf16 else ''}"
        if version := facts.packages["triton"]:
            how += f"; fused kernels by triton {version}, compared with their formulas at first use"
        return Ability("train, finetune", YES, how)
    if has_gpu(facts):
        how = f"on the CPU only: torch {torch.version}, built for CUDA {torch.cuda_build}, sees no GPU"
        install = "a build of torch for this driver's CUDA: https://pytorch.org/get-started"
        return Ability("train, finetune", PARTLY, how, install)
    return Ability("train, finetune", YES, f"on the CPU, torch {torch.version}; there is no GPU")


def _distributed(facts: DoctorFacts) -> Ability:
    torch = facts.answers.torch
    if isinstance(torch, Broken):
        return Ability("train under torchrun", NO, _why(facts, "torch"), pip("train"))
    if torch.devices:
        return Ability("train under torchrun", YES, f"{len(torch.devices)} GPU(s), NCCL {torch.nccl}")
    return Ability("train under torchrun", YES, "processes on the CPU, gloo")


def _exporting(facts: DoctorFacts) -> Ability:
    torch = facts.answers.torch
    missing = [name for name in ("torch", "onnxruntime") if not works(facts, name)]
    missing += [] if facts.packages["onnx"] else ["onnx"]
    if not missing and isinstance(torch, TorchFacts):
        how = f"torch {torch.version}, onnx {facts.packages['onnx']}, ONNX Runtime for the gate"
        return Ability("export", YES, how)
    extras = [] if missing == ["onnxruntime"] else ["train"]
    extras += [_inference_extra(facts)] if "onnxruntime" in missing else []
    return Ability("export", NO, "; ".join(_missing(facts, name) for name in missing), pip(*extras))


def _missing(facts: DoctorFacts, name: str) -> str:
    return f"{name} is not installed" if name == "onnx" else _why(facts, name)


def _building(facts: DoctorFacts) -> Ability:
    gpu = has_gpu(facts)
    names = {"tensorrt": gpu, "tensorrt_rtx": True}
    found = {name: facts.answers.package(name) for name, can in names.items() if can}
    ready = [f"{name} {package.version}" for name, package in found.items() if isinstance(package, TensorRTFacts)]
    if gpu and (works(facts, "tensorrt") or rtx_runs(facts)):
        return Ability("export --trt", YES, f"{', '.join(ready)}; the engine is executed and compared")
    if ready:
        how = f"{', '.join(ready)}: builds engines for RTX GPUs; none here to run them"
        return Ability("export --trt", PARTLY, how, pip("trt") if gpu else "")
    if facts.machine.jetpack is not None:
        install = "sudo apt install nvidia-jetpack, and a venv with --system-site-packages"
        return Ability("export --trt", NO, "JetPack's TensorRT is not visible to this Python", install)
    return Ability("export --trt", NO, _why(facts, "tensorrt_rtx"), pip("trt" if gpu else "trt-rtx"))


def _pytorch(facts: DoctorFacts) -> Ability:
    name = f"{ANY} a run or .safetensors"
    torch = facts.answers.torch
    if isinstance(torch, Broken):
        return Ability(name, NO, _why(facts, "torch"), pip("train"))
    return Ability(name, YES, "on the CPU" + (" and on CUDA" if torch.devices else ""))


def _provider(facts: DoctorFacts, command: str, provider: str) -> Ability:
    runtime, gpu = facts.answers.onnxruntime, provider != "CPUExecutionProvider"
    if gpu and not has_gpu(facts):
        return Ability(command, NO, "there is no NVIDIA GPU")
    if isinstance(runtime, Broken):
        return Ability(command, NO, _why(facts, "onnxruntime"), pip(_inference_extra(facts)))
    if provider not in runtime.providers:
        install = f"pip uninstall -y onnxruntime && {pip('gpu')}"
        return Ability(command, NO, f"this onnxruntime {runtime.version} has no {provider}", install if gpu else "")
    trouble = runtime.providers[provider]
    if trouble is None:
        bf16 = f"; no bundles in bf16: {runtime.lacks_bf16}" if runtime.lacks_bf16 and not gpu else ""
        return Ability(command, YES, f"onnxruntime {runtime.version}, {provider} loads{bf16}")
    needs = "CUDA, cuDNN" + (", TensorRT" if provider.startswith("Tensorrt") else "")
    install = f"the {needs} that onnxruntime-gpu {runtime.version} was built for"
    return Ability(command, NO, f"{provider} is listed and does not load: {trouble}", install)


def _engine(facts: DoctorFacts, module: str, extra: str) -> Ability:
    command = f"{ANY} a .plan of {module.replace('_', '-')}"
    if not has_gpu(facts):
        return Ability(command, NO, "there is no NVIDIA GPU")
    built, cuda = facts.answers.package(module), facts.answers.cuda_python
    missing = [name for name in (module, "cuda_python") if not works(facts, name)]
    if not isinstance(built, TensorRTFacts) or not isinstance(cuda, CudaFacts):
        extras = [extra] * (module in missing) + ["gpu"] * ("cuda_python" in missing)
        return Ability(command, NO, "; ".join(_why(facts, name) for name in missing), pip(*extras))
    if not cuda.devices:
        return Ability(command, NO, str(cuda.reason), "NVIDIA's driver for this GPU")
    which = f"{module} {built.version}", ", ".join(cuda.devices)
    if module == "tensorrt_rtx" and not rtx_runs(facts):
        return Ability(command, NO, f"{which[0]} has no code for {which[1]}", pip("trt"))
    return Ability(command, YES, " on ".join(which))
