"""`crosspoint doctor`: what is installed, what each command can do with it, and what to install for the rest."""

from typing import Any

from crosspoint import __version__
from crosspoint.doctor.abilities import abilities, has_gpu
from crosspoint.doctor.anonymise import scrub
from crosspoint.doctor.machine import machine_facts
from crosspoint.doctor.probes import ask_all, version

PACKAGES = (
    *("onnxruntime", "onnxruntime-gpu", "onnx", "torchvision", "tensorboard", "numpy", "scipy", "scikit-learn", "h5py"),
    *("safetensors", "embreex", "matplotlib", "cuda-python", "cuda-bindings", "tensorrt", "tensorrt-rtx-cu12"),
    *("ray", "pyarrow"),
)


def doctor() -> dict[str, Any]:
    """Examine the machine and the packages, each package in a process of its own.

    Returns:
        JSON-serialisable: `machine`, `packages`, the answers of `torch`, `onnxruntime`, `tensorrt`, `tensorrt_rtx` and
            `cuda_python`, `commands` (what each can do) and `problems` (contradictions). It contains no host name, user
            name or path.
    """
    facts = {
        "crosspoint": __version__,
        "machine": machine_facts(),
        "packages": {name: version(name) for name in PACKAGES},
        **ask_all(),
    }
    commands = [ability.as_dict() for ability in abilities(facts)]
    result: dict[str, Any] = scrub({**facts, "commands": commands, "problems": problems(facts)})
    return result


def problems(facts: dict[str, Any]) -> list[str]:
    """Packages that are installed and cannot work, each with what to do."""
    found = []
    packages, torch, runtime = facts["packages"], facts["torch"], facts["onnxruntime"]
    if packages["onnxruntime"] and packages["onnxruntime-gpu"]:
        found.append(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: pip uninstall -y onnxruntime "
            "onnxruntime-gpu, and install one of them again"
        )
    found += [
        f"{name} is installed and does not work: {facts[name]['reason']}; install it again"
        for name in ("torch", "onnxruntime", "tensorrt", "tensorrt_rtx")
        if facts[name]["installed"] and not facts[name]["works"]
    ]
    if has_gpu(facts) and torch["works"] and not torch["devices"]:
        found.append(f"torch {torch['version']} (CUDA {torch['cuda_build']}) does not see the GPU: check the driver")
    listed = (runtime.get("providers") or {}).items() if has_gpu(facts) else ()
    found += [f"{name} is listed by onnxruntime and does not load: {trouble}" for name, trouble in listed if trouble]
    return found
