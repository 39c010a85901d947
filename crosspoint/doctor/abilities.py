"""Which commands run on this machine, and the command that installs what is missing."""

import shlex
from dataclasses import asdict, dataclass
from typing import Any

from crosspoint.core.errors import install_source, with_extras

Facts = dict[str, Any]
YES, PARTLY, NO = "yes", "partly", "no"
ANY = "embed, eval, parity, bench"


@dataclass(frozen=True)
class Ability:
    """One task of a command, and whether it runs on this machine.

    Attributes:
        command: The command and the kind of model, e.g. `"export --trt"`.
        can: `"yes"`, `"partly"` or `"no"`.
        how: The packages and devices that run it, or why it does not run.
        install: The command that installs what is missing; empty if nothing is missing or nothing can be installed.
    """

    command: str
    can: str
    how: str
    install: str = ""

    def as_dict(self) -> dict[str, str]:
        """The fields by name, for JSON."""
        return asdict(self)


def pip(*extras: str) -> str:
    """The command that adds extras to this installation, run in the folder of its checkout or wheel: it has no path."""
    options, _, name = install_source()
    return f"pip install {options}{shlex.quote(name + with_extras(extras))}"


def abilities(facts: Facts) -> list[Ability]:
    """What each command can do, in the order of the workflow.

    Args:
        facts: What `doctor` found: the machine, the versions of packages, and the answer of each package.
    """
    training, exporting = _training(facts), _exporting(facts)
    return [
        Ability("quickstart", exporting.can, exporting.how, exporting.install),
        Ability("data", YES, "shapes, verification, packing; numpy"),
        _rendering(facts),
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
        _report(facts),
    ]


def has_gpu(facts: Facts) -> bool:
    """Whether the machine has an NVIDIA GPU with a driver, even if no installed package can use it."""
    found = facts["machine"]["gpus"]["found"] or facts["torch"].get("devices") or facts["cuda_python"].get("devices")
    return bool(found) or facts["machine"]["jetpack"] is not None


def rtx_runs(facts: Facts) -> bool:
    """Whether TensorRT-RTX is installed and supports a GPU of this machine. It supports no data-centre GPU."""
    known = [name.lower() for name in facts["tensorrt_rtx"].get("targets") or ()]
    return any(gpu in known for gpu in facts["cuda_python"].get("devices") or ())


def _inference_extra(facts: Facts) -> str:
    return "gpu" if has_gpu(facts) else "cpu"


def _why(facts: Facts, name: str) -> str:
    return (
        f"{name} is not installed" if not facts[name]["installed"] else f"{name} does not work: {facts[name]['reason']}"
    )


def _rendering(facts: Facts) -> Ability:
    if facts["packages"]["embreex"]:
        return Ability("data render", YES, f"embreex {facts['packages']['embreex']}")
    return Ability("data render", NO, "embreex is not installed", pip("render"))


def _report(facts: Facts) -> Ability:
    if facts["packages"]["matplotlib"]:
        return Ability("report", YES, f"matplotlib {facts['packages']['matplotlib']}")
    return Ability("report", NO, "matplotlib is not installed", pip("plots", "report"))


def _training(facts: Facts) -> Ability:
    torch = facts["torch"]
    if not torch["works"]:
        return Ability("train, finetune", NO, _why(facts, "torch"), pip("train"))
    if not facts["packages"]["torchvision"]:
        return Ability("train, finetune", NO, "torchvision is not installed", pip("train"))
    unsupported = [device["name"] for device in torch["devices"] if not device["supported"]]
    if unsupported:
        how = f"torch {torch['version']} has no code for {unsupported[0]}; on the CPU it trains"
        return Ability("train, finetune", PARTLY, how, "a build of torch for this GPU: https://pytorch.org/get-started")
    if torch["devices"]:
        names = ", ".join(f"{device['name']} ({device['compute_capability']})" for device in torch["devices"])
        how = f"on {names}; fp32, fp16{', bf16' if torch['bf16'] else ''}"
        return Ability("train, finetune", YES, how)
    if has_gpu(facts):
        how = f"on the CPU only: torch {torch['version']}, built for CUDA {torch['cuda_build']}, sees no GPU"
        install = "a build of torch for this driver's CUDA: https://pytorch.org/get-started"
        return Ability("train, finetune", PARTLY, how, install)
    return Ability("train, finetune", YES, f"on the CPU, torch {torch['version']}; there is no GPU")


def _distributed(facts: Facts) -> Ability:
    torch = facts["torch"]
    if not torch["works"]:
        return Ability("train under torchrun", NO, _why(facts, "torch"), pip("train"))
    if torch["devices"]:
        return Ability("train under torchrun", YES, f"{len(torch['devices'])} GPU(s), NCCL {torch['nccl']}")
    return Ability("train under torchrun", YES, "processes on the CPU, gloo")


def _exporting(facts: Facts) -> Ability:
    missing = [name for name in ("torch", "onnxruntime") if not facts[name]["works"]]
    missing += [] if facts["packages"]["onnx"] else ["onnx"]
    if not missing:
        how = f"torch {facts['torch']['version']}, onnx {facts['packages']['onnx']}, ONNX Runtime for the gate"
        return Ability("export", YES, how)
    extras = [] if missing == ["onnxruntime"] else ["train"]
    extras += [_inference_extra(facts)] if "onnxruntime" in missing else []
    return Ability("export", NO, "; ".join(_missing(facts, name) for name in missing), pip(*extras))


def _missing(facts: Facts, name: str) -> str:
    return _why(facts, name) if name in facts else f"{name} is not installed"


def _building(facts: Facts) -> Ability:
    gpu = has_gpu(facts)
    names = {"tensorrt": gpu, "tensorrt_rtx": True}
    ready = [f"{name} {facts[name]['version']}" for name, can in names.items() if can and facts[name]["works"]]
    if gpu and (facts["tensorrt"]["works"] or rtx_runs(facts)):
        return Ability("export --trt", YES, f"{', '.join(ready)}; the engine is executed and compared")
    if ready:
        how = f"{', '.join(ready)}: builds engines for RTX GPUs; none here to run them"
        return Ability("export --trt", PARTLY, how, pip("trt") if gpu else "")
    if facts["machine"]["jetpack"] is not None:
        install = "sudo apt install nvidia-jetpack, and a venv with --system-site-packages"
        return Ability("export --trt", NO, "JetPack's TensorRT is not visible to this Python", install)
    return Ability("export --trt", NO, _why(facts, "tensorrt_rtx"), pip("trt" if gpu else "trt-rtx"))


def _pytorch(facts: Facts) -> Ability:
    name = f"{ANY} a run or .safetensors"
    if not facts["torch"]["works"]:
        return Ability(name, NO, _why(facts, "torch"), pip("train"))
    return Ability(name, YES, "on the CPU" + (" and on CUDA" if facts["torch"]["devices"] else ""))


def _provider(facts: Facts, command: str, provider: str) -> Ability:
    runtime, gpu = facts["onnxruntime"], provider != "CPUExecutionProvider"
    if gpu and not has_gpu(facts):
        return Ability(command, NO, "there is no NVIDIA GPU")
    if not runtime["works"]:
        return Ability(command, NO, _why(facts, "onnxruntime"), pip(_inference_extra(facts)))
    if provider not in runtime["providers"]:
        install = f"pip uninstall -y onnxruntime && {pip('gpu')}"
        return Ability(command, NO, f"this onnxruntime {runtime['version']} has no {provider}", install if gpu else "")
    trouble = runtime["providers"][provider]
    if trouble is None:
        return Ability(command, YES, f"onnxruntime {runtime['version']}, {provider} loads")
    needs = "CUDA, cuDNN" + (", TensorRT" if provider.startswith("Tensorrt") else "")
    install = f"the {needs} that onnxruntime-gpu {runtime['version']} was built for"
    return Ability(command, NO, f"{provider} is listed and does not load: {trouble}", install)


def _engine(facts: Facts, module: str, extra: str) -> Ability:
    command = f"{ANY} a .plan of {module.replace('_', '-')}"
    if not has_gpu(facts):
        return Ability(command, NO, "there is no NVIDIA GPU")
    missing = [name for name in (module, "cuda_python") if not facts[name]["works"]]
    if missing:
        extras = [extra] * (module in missing) + ["gpu"] * ("cuda_python" in missing)
        return Ability(command, NO, "; ".join(_why(facts, name) for name in missing), pip(*extras))
    if not facts["cuda_python"]["devices"]:
        return Ability(command, NO, str(facts["cuda_python"]["reason"]), "NVIDIA's driver for this GPU")
    which = f"{module} {facts[module]['version']}", ", ".join(facts["cuda_python"]["devices"])
    if module == "tensorrt_rtx" and not rtx_runs(facts):
        return Ability(command, NO, f"{which[0]} has no code for {which[1]}", pip("trt"))
    return Ability(command, YES, " on ".join(which))
