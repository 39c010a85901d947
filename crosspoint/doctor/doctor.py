"""`crosspoint doctor`: what is installed, what each command can do with it, and what to install for the rest."""

from crosspoint import __version__
from crosspoint.doctor.abilities import abilities, has_gpu
from crosspoint.doctor.anonymise import scrub
from crosspoint.doctor.facts import Broken, DoctorFacts, DoctorResult, OnnxRuntimeFacts, TorchFacts
from crosspoint.doctor.machine import machine_facts
from crosspoint.doctor.probes import ask_all, version

PACKAGES = (
    *("onnxruntime", "onnxruntime-gpu", "onnx", "torchvision", "tensorboard", "numpy", "scipy", "scikit-learn", "h5py"),
    *("safetensors", "embreex", "matplotlib", "pillow", "cuda-python", "cuda-bindings", "tensorrt"),
    *("tensorrt-rtx-cu12", "ray", "pyarrow", "triton"),
)


def doctor() -> DoctorResult:
    """Examine the machine and the packages, each package in a process of its own."""
    facts = DoctorFacts(__version__, machine_facts(), {name: version(name) for name in PACKAGES}, ask_all())
    return scrub(DoctorResult(facts, tuple(abilities(facts)), tuple(problems(facts))))


def problems(facts: DoctorFacts) -> list[str]:
    """Packages that are installed and cannot work, each with what to do."""
    found = []
    packages, torch, runtime = facts.packages, facts.answers.torch, facts.answers.onnxruntime
    if packages["onnxruntime"] and packages["onnxruntime-gpu"]:
        found.append(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip uninstall -y onnxruntime "
            "onnxruntime-gpu, and install one of them again"
        )
    found += [
        f"{name} is installed and does not work: {package.reason}; install it again"
        for name in ("torch", "onnxruntime", "tensorrt", "tensorrt_rtx")
        if isinstance(package := facts.answers.package(name), Broken) and package.installed
    ]
    if has_gpu(facts) and isinstance(torch, TorchFacts) and not torch.devices:
        found.append(f"torch {torch.version} (CUDA {torch.cuda_build}) does not see the GPU: check the driver")
    listed = runtime.providers.items() if has_gpu(facts) and isinstance(runtime, OnnxRuntimeFacts) else ()
    found += [f"{name} is listed by onnxruntime and does not load: {trouble}" for name, trouble in listed if trouble]
    return found
