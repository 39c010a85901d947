"""The little of the CUDA runtime that running an engine takes, through cuda-python, with errors as exceptions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from crosspoint.core.errors import InputError, MissingDependency, import_or_reason, install_command

MODULES = ("cuda.bindings.runtime", "cuda.cudart")  # cuda-python from 12.3 on, and before
NO_DRIVER = "NVIDIA's driver is missing or older than this CUDA runtime"


def cuda_runtime() -> Any:
    """cuda-python's module of the CUDA runtime.

    Raises:
        MissingDependency: cuda-python is not installed, or it is and does not load; the message says which.
    """
    troubles = []
    for name in MODULES:
        module, trouble = import_or_reason(name)
        if module is not None:
            return module
        troubles.append(trouble)
    trouble = max(troubles, key=len)  # of the two that is there, if one is
    raise MissingDependency(f"running on CUDA needs the package cuda-python (it {trouble}): {install_command('gpu')}")


def call(function: Any, *arguments: Any) -> Any:
    """Call a function of the CUDA runtime; returns its result without the status.

    Raises:
        InputError: It failed, e.g. because the GPU's memory is full.
    """
    try:
        status, *results = function(*arguments)
    except RuntimeError as error:  # of cuda-python before 12.3, where there is no driver
        raise InputError(f"{function.__name__} failed: {NO_DRIVER} ({error}); install the driver") from error
    if int(status) != 0:
        raise InputError(
            f"{function.__name__} failed with {status.name}; run nvidia-smi to see the GPU's state and free memory"
        )
    return results[0] if results else None


@contextmanager
def current_device(cuda: Any, index: int) -> Iterator[None]:
    """Make a device the thread's current one while the block lasts; then it is again what the caller had chosen.

    Args:
        cuda: The CUDA runtime.
        index: The device's.

    Raises:
        InputError: There is no such device, or it cannot be used.
    """
    before = int(call(cuda.cudaGetDevice))
    call(cuda.cudaSetDevice, index)
    try:
        yield
    finally:
        if before != index:  # else it would wake a device that nobody uses
            call(cuda.cudaSetDevice, before)


def device_count() -> int:
    """CUDA devices that can be used.

    Raises:
        InputError: There is no driver, an old one, or no device; the message says which.
        MissingDependency: cuda-python is not installed.
    """
    try:
        status, count = cuda_runtime().cudaGetDeviceCount()
    except RuntimeError as error:  # of cuda-python before 12.3
        raise InputError(f"{NO_DRIVER} ({error}); install the driver, or use --device cpu") from error
    if int(status) == 0 and count:
        return int(count)
    reason = status.name if int(status) else "no device"
    trouble = {
        "cudaErrorInsufficientDriver": NO_DRIVER,
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
