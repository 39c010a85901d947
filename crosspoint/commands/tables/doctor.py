"""What `crosspoint doctor` prints."""

from typing import Any

from crosspoint.core.console import print_table


def print_doctor(result: dict[str, Any]) -> None:
    """What is here, then what each command can do, then what contradicts itself."""
    print_table(f"crosspoint {result['crosspoint']}", ("what", "found"), rows=_found(result))
    rows = [(entry["command"], entry["can"], entry["how"], entry["install"]) for entry in result["commands"]]
    print_table("What runs here", ("command", "runs", "how, or why not", "to install"), rows=rows)
    for problem in result["problems"]:
        print(f"problem: {problem}")


def _found(result: dict[str, Any]) -> list[tuple[str, str]]:
    machine = result["machine"]
    rows = [
        ("system", f"{machine['distribution']}, {machine['system']}, {machine['libc']}"),
        ("processor", f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB"),
        ("Python", machine["python"] + ("" if machine["virtual_environment"] else ", no virtual environment")),
    ]
    gpus = machine["gpus"]
    rows += [
        ("GPU", f"{gpu['name']}, {gpu['compute_capability']}, {gpu['memory']}, driver {gpu['driver']}")
        for gpu in gpus["found"]
    ]
    if not gpus["found"]:
        rows.append(("GPU", f"none: {gpus['reason']}"))
    if machine["jetpack"]:
        jetson = machine["jetpack"]
        rows.append(("JetPack", f"{jetson['jetpack']}, L4T {jetson['l4t']}, {jetson['model']}"))
    names = ("torch", "cuda_python", "tensorrt", "tensorrt_rtx", "onnxruntime")
    return [*rows, *((name.replace("_", "-"), _package(result[name])) for name in names)]


def _package(facts: dict[str, Any]) -> str:
    if not facts["works"]:
        return f"does not work: {facts['reason']}" if facts["installed"] else "not installed"
    parts = [facts["version"]]
    if "cuda_build" in facts:
        parts.append(f"CUDA {facts['cuda_build']}" if facts["cuda_build"] else "built for the CPU")
        parts.append(f"cuDNN {facts['cudnn']}, NCCL {facts['nccl']}" if facts["cuda_available"] else "no GPU in reach")
    if "providers" in facts:
        loads = [name.removesuffix("ExecutionProvider") for name, trouble in facts["providers"].items() if not trouble]
        parts.append(f"loads {', '.join(loads) or 'nothing'}")
    if facts.get("driver_supports"):
        parts.append(f"the driver supports CUDA {facts['driver_supports']}")
    if facts.get("reason"):
        parts.append(facts["reason"])
    return ", ".join(parts)


def print_self_test(result: dict[str, Any]) -> None:
    """One row for each step."""
    rows = [
        (step["name"], step["status"], f"{step['seconds']:.1f}", step["reason"] or step["found"])
        for step in result["steps"]
    ]
    counts = ", ".join(f"{count} {status}" for status, count in result["counts"].items())
    print_table(f"Self-test: {counts}", ("step", "status", "seconds", "found, or why"), rows=rows)
