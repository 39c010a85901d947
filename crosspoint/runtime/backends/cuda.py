"""The calls of the CUDA runtime that an engine needs, through cuda-python; errors become exceptions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from crosspoint.core.errors import InputError, MissingDependency, import_or_reason, install_command

MODULES = ("cuda.bindings.runtime", "cuda.cudart")  # cuda-python 12.3 and later; earlier versions
NO_DRIVER = "NVIDIA's driver is missing or older than this CUDA runtime"


def cuda_runtime() -> Any:
    """Import cuda-python's module of the CUDA runtime.

    Raises:
        MissingDependency: cuda-python is not installed, or is installed and does not load.
    """
    troubles = []
    for name in MODULES:
        module, trouble = import_or_reason(name)
        if module is not None:
            return module
        troubles.append(trouble)
    trouble = max(troubles, key=len)  # the reason of the module that is installed, if one is
    raise MissingDependency(f"running on CUDA needs the package cuda-python (it {trouble}): {install_command('gpu')}")


def call(function: Any, *arguments: Any) -> Any:
    """Call a function of the CUDA runtime, and return its result without the status.

    Raises:
        InputError: The call failed, e.g. because the GPU memory is full.
    """
    try:
        status, *results = function(*arguments)
    except RuntimeError as error:  # cuda-python before 12.3, without a driver
        raise InputError(f"{function.__name__} failed: {NO_DRIVER} ({error}); install the driver") from error
    if int(status) != 0:
        raise InputError(
            f"{function.__name__} failed with {status.name}; run nvidia-smi to see the GPU's state and free memory"
        )
    return results[0] if results else None


@contextmanager
def current_device(cuda: Any, index: int) -> Iterator[None]:
    """Make a device current in this thread; restore the previous device at the end of the block.

    Args:
        cuda: The CUDA runtime.
        index: Index of the device.

    Raises:
        InputError: The device does not exist or cannot be used.
    """
    before = int(call(cuda.cudaGetDevice))
    call(cuda.cudaSetDevice, index)
    try:
        yield
    finally:
        if before != index:  # otherwise this would initialise a device that nobody uses
            call(cuda.cudaSetDevice, before)


def device_count() -> int:
    """Number of CUDA devices that can be used.

    Raises:
        InputError: There is no driver, the driver is too old, or there is no device.
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
    """Compute capability of a device, e.g. `"sm86"`."""
    cuda = cuda_runtime()
    attributes = cuda.cudaDeviceAttr
    major = call(cuda.cudaDeviceGetAttribute, attributes.cudaDevAttrComputeCapabilityMajor, index)
    minor = call(cuda.cudaDeviceGetAttribute, attributes.cudaDevAttrComputeCapabilityMinor, index)
    return f"sm{major}{minor}"
