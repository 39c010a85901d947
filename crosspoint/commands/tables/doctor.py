"""What `crosspoint doctor` prints."""

from crosspoint.core.console import print_table, say
from crosspoint.core.errors import install_source
from crosspoint.doctor.facts import Broken, CudaFacts, DoctorResult, OnnxRuntimeFacts, Package, TorchFacts
from crosspoint.doctor.self_test.self_test import SelfTestResult


def print_doctor(result: DoctorResult) -> None:
    """Print what was found, then what each command can do, then the problems of the installation."""
    print_table(f"crosspoint {result.facts.crosspoint}", ("what", "found"), rows=_found(result))
    rows = [(ability.command, ability.can, ability.how, ability.install) for ability in result.commands]
    print_table("What runs here", ("command", "runs", "how, or why not", "to install"), rows=rows)
    if any("pip install" in ability.install for ability in result.commands):
        _, folder, _ = install_source()
        say("FOLDER-OF-THE-WHEEL: the folder of the crosspoint3d wheel" if folder is None else f"run pip in {folder}")
    for problem in result.problems:
        print(f"problem: {problem}")


def _found(result: DoctorResult) -> list[tuple[str, str]]:
    machine, answers = result.facts.machine, result.facts.answers
    rows = [
        ("system", f"{machine.distribution}, {machine.system}, {machine.libc}"),
        ("processor", f"{machine.processor}, {machine.cores} cores, {machine.memory_gib} GiB"),
        ("Python", machine.python + ("" if machine.virtual_environment else ", no virtual environment")),
    ]
    rows += [
        ("GPU", f"{gpu.name}, {gpu.compute_capability}, {gpu.memory}, driver {gpu.driver}")
        for gpu in machine.gpus.found
    ]
    if not machine.gpus.found:
        rows.append(("GPU", f"none: {machine.gpus.reason}"))
    if jetson := machine.jetpack:
        rows.append(("JetPack", f"{jetson.jetpack}, L4T {jetson.l4t}, {jetson.model}"))
    names = ("torch", "cuda_python", "tensorrt", "tensorrt_rtx", "onnxruntime")
    return [*rows, *((name.replace("_", "-"), _package(answers.package(name))) for name in names)]


def _package(package: Package) -> str:
    if isinstance(package, Broken):
        return f"does not work: {package.reason}" if package.installed else "not installed"
    parts = [package.version]
    if isinstance(package, TorchFacts):
        parts.append(f"CUDA {package.cuda_build}" if package.cuda_build else "built for the CPU")
        parts.append(f"cuDNN {package.cudnn}, NCCL {package.nccl}" if package.cuda_available else "no GPU in reach")
    if isinstance(package, OnnxRuntimeFacts):
        loads = [name.removesuffix("ExecutionProvider") for name, trouble in package.providers.items() if not trouble]
        parts.append(f"loads {', '.join(loads) or 'nothing'}")
    if isinstance(package, CudaFacts):
        parts += [f"the driver supports CUDA {package.driver_supports}"] if package.driver_supports else []
        parts += [package.reason] if package.reason else []
    return ", ".join(parts)


def print_self_test(result: SelfTestResult) -> None:
    """Print one row for each step of the self-test."""
    rows = [(step.name, step.status, f"{step.seconds:.1f}", step.reason or step.found) for step in result.steps]
    counts = ", ".join(f"{count} {status}" for status, count in result.counts.items())
    print_table(f"Self-test: {counts}", ("step", "status", "seconds", "found, or why"), rows=rows)
