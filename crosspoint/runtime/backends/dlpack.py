"""Arrays of torch, CuPy and others where they lie, through DLPack (https://dmlc.github.io/dlpack/latest/c_api.html).

Only what exchanging pointers takes: the array's library keeps the memory, and the capsule keeps the array alive.
"""

import ctypes
from dataclasses import dataclass, field
from typing import Any

from crosspoint.core.errors import InputError

CPU, CUDA, CUDA_MANAGED = 1, 2, 13  # DLDeviceType
FLOAT = 2  # DLDataTypeCode
ALIGNMENT = 256  # bytes, of every address that TensorRT takes


class _Tensor(ctypes.Structure):
    """`DLTensor`, which is also how a `DLManagedTensor` begins."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


@dataclass(frozen=True)
class Borrowed:
    """Someone else's float32 array, C-contiguous.

    Attributes:
        address: Of its first value.
        shape: Of the array.
        capsule: Keeps the array alive.
    """

    address: int
    shape: tuple[int, ...]
    capsule: Any = field(repr=False)


def borrow(array: Any, name: str, *, device: str, kinds: tuple[int, ...], index: int, stream: int | None) -> Borrowed:
    """An array's memory, without a copy.

    Args:
        array: Has `__dlpack__` and `__dlpack_device__`.
        name: What to call it in messages.
        device: The same for the device it has to be on, e.g. `"cuda:0"`.
        kinds: Device types of DLPack that are that device.
        index: Its number.
        stream: CUDA stream that waits for what the array's library still has to do with it; None on the CPU.

    Raises:
        InputError: It has no DLPack, lies elsewhere, or is not C-contiguous float32.
    """
    if not hasattr(array, "__dlpack__") or not hasattr(array, "__dlpack_device__"):
        raise InputError(f"{name} is a {type(array).__name__}, without DLPack; give an array of torch or CuPy")
    kind, number = (int(value) for value in array.__dlpack_device__())
    if kind not in kinds or number != index:
        raise InputError(f"{name} is not on {device}, where the encoder is; move it there, or use embed()")
    try:
        capsule = array.__dlpack__(stream=stream)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:  # torch's for one that needs gradients
        raise InputError(f"{name} cannot be shared ({error}); give a plain, writable, dense array") from error
    tensor = _tensor(capsule)
    if (tensor.code, tensor.bits, tensor.lanes) != (FLOAT, 32, 1):
        raise InputError(f"{name} is not float32, which is all that a buffer of the encoder can be; convert it")
    shape = tuple(tensor.shape[: tensor.ndim])
    if tensor.strides and not _contiguous(shape, tuple(tensor.strides[: tensor.ndim])):
        raise InputError(f"{name} is not C-contiguous; give {name}.contiguous(), or CuPy's ascontiguousarray")
    return Borrowed((tensor.data or 0) + tensor.byte_offset, shape, capsule)


def require_aligned(array: Borrowed, name: str) -> None:
    """Raise InputError if TensorRT cannot use the address."""
    if array.address % ALIGNMENT:
        raise InputError(
            f"{name} does not start at a multiple of {ALIGNMENT} bytes, which TensorRT needs: it is a part of a larger "
            "array; give one of its own"
        )


def _tensor(capsule: Any) -> _Tensor:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return _Tensor.from_address(get(capsule, b"dltensor"))


def _contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    step = 1
    for size, stride in reversed(list(zip(shape, strides, strict=True))):
        if size > 1 and stride != step:
            return False
        step *= size
    return True
