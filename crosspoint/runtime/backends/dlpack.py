"""Uses arrays of torch, CuPy and other libraries without a copy, through DLPack.

DLPack is described at https://dmlc.github.io/dlpack/latest/c_api.html. Only pointers
are exchanged. The memory belongs to the array's library, and a capsule keeps the array alive.
"""

import ctypes
from dataclasses import dataclass, field
from typing import Any

from crosspoint.core.errors import InputError

CPU, CUDA, CUDA_MANAGED = 1, 2, 13  # DLDeviceType
FLOAT = 2  # DLDataTypeCode
ALIGNMENT = 256  # bytes; TensorRT requires it of every address


class _Tensor(ctypes.Structure):
    """`DLTensor`, with which a `DLManagedTensor` also begins."""

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
    """A float32 array of another library, C-contiguous.

    Attributes:
        address: Address of its first value.
        shape: Its shape.
        capsule: Keeps the array alive.
    """

    address: int
    shape: tuple[int, ...]
    capsule: Any = field(repr=False)


def borrow(array: Any, name: str, *, device: str, kinds: tuple[int, ...], index: int, stream: int | None) -> Borrowed:
    """Get the memory of an array without a copy.

    Args:
        array: An array with `__dlpack__` and `__dlpack_device__`.
        name: Name of the array in messages.
        device: Name of the required device in messages, e.g. `"cuda:0"`.
        kinds: DLPack's device types of that device.
        index: Index of that device.
        stream: CUDA stream that must wait for pending work on the array; None on the CPU.

    Raises:
        InputError: It has no DLPack, is on another device, or is not C-contiguous float32.
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
        raise InputError(f"{name} is not float32; convert it to float32")
    shape = tuple(tensor.shape[: tensor.ndim])
    if tensor.strides and not _contiguous(shape, tuple(tensor.strides[: tensor.ndim])):
        raise InputError(f"{name} is not C-contiguous; give {name}.contiguous(), or CuPy's ascontiguousarray")
    return Borrowed((tensor.data or 0) + tensor.byte_offset, shape, capsule)


def require_aligned(array: Borrowed, name: str) -> None:
    """Raise InputError if the address does not have the alignment that TensorRT requires."""
    if array.address % ALIGNMENT:
        raise InputError(
            f"{name} does not start at a multiple of {ALIGNMENT} bytes, as TensorRT requires; it is part of a larger "
            "array; give a copy of it"
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
