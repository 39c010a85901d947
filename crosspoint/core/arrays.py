"""NumPy's files, `.npy` and `.npz`, read without making room for what is not there and without running anything."""

import io
import math
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt

from crosspoint.core.reading import ADVICE, check_announced, some
from crosspoint.errors import InputError

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what NumPy writes; others cannot be inflated piece by piece


def read_npy(content: bytes) -> npt.NDArray[Any]:
    """The array in the bytes of a `.npy` file; it shares their memory and is read-only.

    Raises:
        InputError: It is not a `.npy` file, holds Python objects or records of a later version, or is cut off.
        ValueError: Its header cannot be parsed.
    """
    if not content.startswith(np.lib.format.MAGIC_PREFIX):
        raise InputError(f"is not a .npy array; {ADVICE}")
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise InputError(f"is a .npy array of version {version[0]}.{version[1]}; save it again as plain numbers")
    shape, fortran, dtype = HEADERS[version](file)
    if dtype.hasobject:
        raise InputError("holds Python objects, a pickle, which is never loaded; save plain numbers")
    if any(size < 0 for size in shape):
        raise InputError(f"holds an array of shape {some(shape)}; {ADVICE}")
    count, there = math.prod(shape), len(content) - file.tell()
    if count * dtype.itemsize > there:
        raise InputError(f"is cut off: its array of shape ({some(shape)}) has {there} bytes; {ADVICE}")
    if not count:
        return np.empty(shape, dtype)
    return np.frombuffer(content, dtype, count, file.tell()).reshape(shape, order="F" if fortran else "C")


class Npz:
    """The arrays in the bytes of an `.npz` file, each read when it is asked for.

    Args:
        content: The bytes.

    Attributes:
        names: Of the arrays.

    Raises:
        BadZipFile: It is not a zip archive.
    """

    def __init__(self, content: bytes) -> None:
        self._size = len(content)
        self._archive = zipfile.ZipFile(io.BytesIO(content))
        self._members = {member.filename.removesuffix(".npy"): member for member in self._archive.infolist()}
        self.names = list(self._members)

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """One array, read-only.

        Raises:
            InputError: There is no such array, it would become far larger than the file, or it is bad (`read_npy`).
        """
        if name not in self._members:
            raise InputError(f"has no array named {name}, only {some(self.names)}; {ADVICE}")
        member = self._members[name]
        if member.compress_type not in METHODS:
            raise InputError("is compressed in a way that NumPy does not write; save it again with numpy.savez")
        check_announced(member.file_size, self._size)
        return read_npy(self._archive.read(member))
