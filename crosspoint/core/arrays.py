"""Reads `.npy` and `.npz`, and writes `.npz`. No pickle is loaded; memory is allocated only for data in the file."""

import io
import math
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, check_announced, some

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the methods that NumPy writes


def write_npz(
    path: Path, arrays: Mapping[str, npt.NDArray[Any]], *, compressed: bool = False, comment: bytes = b""
) -> None:
    """Write what `numpy.savez` or `numpy.savez_compressed` writes, with a comment at the end of the archive.

    Some versions of those leave the file open if the disk is full, and print a second message.
    """
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        archive.comment = comment


def read_npy(content: bytes) -> npt.NDArray[Any]:
    """Read the array from the bytes of a `.npy` file. It shares their memory and is read-only.

    Raises:
        InputError: It is not a `.npy` file, holds Python objects, has an unknown version, or is cut off.
        ValueError: Its header cannot be parsed.
    """
    file = io.BytesIO(content)
    shape, fortran, dtype = _read_header(file, len(content))
    count = math.prod(shape)
    if not count:
        return np.empty(shape, dtype)
    return np.frombuffer(content, dtype, count, file.tell()).reshape(shape, order="F" if fortran else "C")


def _read_header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, Fortran order and dtype from the header; checks that `size` bytes can hold the array."""
    if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
        raise InputError(f"is not a .npy array; {ADVICE}")
    file.seek(0)
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise InputError(f"is a .npy array of version {version[0]}.{version[1]}; save it again as plain numbers")
    shape, fortran, dtype = HEADERS[version](file)
    if dtype.hasobject:
        raise InputError("holds Python objects (a pickle), which are never loaded; save plain numbers")
    if any(length < 0 for length in shape):
        raise InputError(f"holds an array of shape {some(shape)}; {ADVICE}")
    there = size - file.tell()
    if math.prod(shape) * max(dtype.itemsize, 1) > there:  # max: a dtype may have 0 bytes
        raise InputError(f"is cut off: its array of shape ({some(shape)}) has {there} bytes; {ADVICE}")
    return shape, fortran, dtype


class Npz:
    """The arrays in the bytes of an `.npz` file. Each array is read when it is asked for.

    Args:
        content: The bytes.

    Attributes:
        names: Names of the arrays.

    Raises:
        BadZipFile: It is not a zip archive.
    """

    def __init__(self, content: bytes) -> None:
        self._size = len(content)
        self._archive = zipfile.ZipFile(io.BytesIO(content))
        self._members = {member.filename.removesuffix(".npy"): member for member in self._archive.infolist()}
        self.names = list(self._members)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Read one array.

        Raises:
            InputError: No array has this name, it would be far larger than the file, or it is bad (see `read_npy`).
            ValueError: It is damaged. Damage can also raise errors of `zipfile` and `zlib`.
        """
        if name not in self._members:
            raise InputError(f"has no array named {name}, only {some(self.names)}; {ADVICE}")
        member = self._members[name]
        if member.compress_type not in METHODS:
            raise InputError("uses a compression that NumPy does not write; save it again with numpy.savez")
        check_announced(member.file_size, self._size)
        with self._archive.open(member) as file:
            _read_header(file, member.file_size)
        with self._archive.open(member) as file:
            array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
            _check_text(array)
        return array


def _check_text(array: npt.NDArray[np.str_]) -> None:
    """Refuse characters above U+10FFFF: NumPy accepts them, and Python fails on the resulting strings."""
    codes = np.frombuffer(array.tobytes(), array.dtype.byteorder.replace("=", "") + "u4")
    if codes.max() > sys.maxunicode:
        raise InputError(f"holds text with invalid characters; {ADVICE}")
