"""The little of the CUDA runtime that running an engine takes, through cuda-python, with errors as exceptions."""

import importlib
from typing import Any

from crosspoint.errors import InputError, MissingDependency

MODULES = ("cuda.bindings.runtime", "cuda.cudart")  # cuda-python from 12.3 on, and before


def cuda_runtime() -> Any:
    """cuda-python's module of the CUDA runtime.

    Raises:
        MissingDependency: cuda-python is not installed.
    """
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise MissingDependency("running on CUDA needs the package cuda-python: pip install 'crosspoint3d[gpu]'")


def call(function: Any, *arguments: Any) -> Any:
    """Call a function of the CUDA runtime; returns its result without the status.

    Raises:
        InputError: It failed, e.g. because the GPU's memory is full.
    """
    status, *results = function(*arguments)
    if int(status) != 0:
        raise InputError(
            f"{function.__name__} failed with {status.name}; run nvidia-smi to see the GPU's state and free memory"
        )
    return results[0] if results else None


def device_count() -> int:
    """CUDA devices that can be used.

    Raises:
        InputError: There is no driver, an old one, or no device; the message says which.
        MissingDependency: cuda-python is not installed.
    """
    status, count = cuda_runtime().cudaGetDeviceCount()
    if int(status) == 0 and count:
        return int(count)
    reason = status.name if int(status) else "no device"
    trouble = {
        "cudaErrorInsufficientDriver": "NVIDIA's driver is missing or older than this CUDA runtime",
        "cudaErrorNoDevice": "there is no NVIDIA GPU, or none is visible to this process",
    }
    raise InputError(
        f"{trouble.get(reason, 'CUDA cannot be used')} ({reason}); install the driver, or use --device cpu"
    )


def compute_capability(index: int) -> str:
    """Of a device, e.g. `"sm86"`."""
    cuda = cuda_runtime()
    attributes = cuda.cudaDeviceAttr
    major = call(cuda.cudaDeviceGetAttribute, attributes.cudaDevAttrComputeCapabilityMajor, index)
    minor = call(cuda.cudaDeviceGetAttribute, attributes.cudaDevAttrComputeCapabilityMinor, index)
    return f"sm{major}{minor}"
