"""The steps of the self-test, and their requirements."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from crosspoint.doctor.abilities import has_gpu, rtx_runs, torch_devices, works
from crosspoint.doctor.facts import Broken, DoctorFacts

Run = Callable[["Context"], str]
Needs = Callable[[DoctorFacts], str | None]

POINTS, K, BATCH = 128, 8, (1, 2, 4)
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
NO_GPU = "there is no NVIDIA GPU"


class NotAvailable(Exception):
    """A step cannot be run on this machine; that is not a failure."""


@dataclass(frozen=True)
class Context:
    """The working folder of the steps, and the facts about the machine."""

    folder: Path
    facts: DoctorFacts


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: Name; later steps refer to it in `after`.
        run: Function that runs the step and returns what was found; it raises if the step failed.
        needs: Function that returns why the step cannot be run here, or None.
        after: Names of the steps whose results it uses.
    """

    name: str
    run: Run
    needs: Needs
    after: tuple[str, ...] = ()


def needs_packages(*names: str) -> Needs:
    """Requirement: these packages are installed and work."""

    def missing(facts: DoctorFacts) -> str | None:
        for name in names:
            if not (works(facts, name) if hasattr(facts.answers, name) else facts.packages[name]):
                return f"{name} is not installed or does not work"
        return None

    return missing


def needs_gpu(*names: str) -> Needs:
    """Requirement: these packages, and a GPU that torch can use."""

    def missing(facts: DoctorFacts) -> str | None:
        if not has_gpu(facts):
            return NO_GPU
        return needs_packages(*names)(facts) or (None if torch_devices(facts) else "torch does not see the GPU")

    return missing


def needs_provider(name: str) -> Needs:
    """Requirement: a provider of ONNX Runtime."""

    def missing(facts: DoctorFacts) -> str | None:
        if not has_gpu(facts):
            return NO_GPU
        runtime = facts.answers.onnxruntime
        if isinstance(runtime, Broken):
            return needs_packages("onnxruntime")(facts)
        return None if name in runtime.providers else f"this onnxruntime has no {name}"

    return missing


def needs_engine(facts: DoctorFacts) -> str | None:
    """Requirement: a GPU, and cuda-python to run an engine on it."""
    if not has_gpu(facts):
        return NO_GPU
    return needs_packages("cuda_python")(facts)


def needs_building(facts: DoctorFacts, module: str) -> str | None:
    """Requirement: all packages of the export and a TensorRT variant; TensorRT itself builds only on a GPU."""
    if module == "tensorrt" and not has_gpu(facts):
        return NO_GPU
    return needs_packages("torch", "onnx", "onnxruntime", module)(facts)


def needs_build_script(facts: DoctorFacts) -> str | None:
    """Requirement of a bundle's build script: a GPU, and a TensorRT variant that builds for it."""
    if not has_gpu(facts):
        return NO_GPU
    lacking = needs_packages("torch", "onnx", "onnxruntime", "cuda_python")(facts)
    if lacking is not None or works(facts, "tensorrt"):
        return lacking
    return None if rtx_runs(facts) else "tensorrt is not installed, and there is no tensorrt-rtx for this GPU"
