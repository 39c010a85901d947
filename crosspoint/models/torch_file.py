"""Reads files of `torch.save` without running code in them, and with bounded memory."""

import copy
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crosspoint.core.content import Content
from crosspoint.core.errors import InputError
from crosspoint.core.reading import readable, reading


def load_torch_file(path: Path, kind: str, *, advice: str) -> Any:
    """Read a file of `torch.save` on the CPU.

    The file is memory-mapped, so that no tensor can be larger than the file. Only the types that PyTorch treats as data
    are unpickled. Members of the archive must be stored uncompressed, because compressed ones may expand to any size.

    Args:
        path: The file.
        kind: What it should be, for messages, e.g. `"a checkpoint"`.
        advice: What to do about a bad file, for messages.

    Raises:
        InputError: It is missing, not a regular file, damaged, too large, or compressed; or it holds code, or was
            written by PyTorch before 1.6.
    """
    readable(path)
    with reading(path, kind, advice=advice):
        return _load(path, kind, advice)


def parse_torch_file(content: Content, kind: str, *, advice: str, before_1_6: bool = False) -> Any:
    """Like `load_torch_file`, for content that was already read; it is copied to a file, which can be mapped.

    Args:
        content: The file.
        kind: As for `load_torch_file`.
        advice: As for `load_torch_file`.
        before_1_6: Also read the format of PyTorch before 1.6, in which older checkpoints are published.
    """
    with reading(content.path, kind, advice=advice), tempfile.NamedTemporaryFile(prefix="crosspoint-") as copied:
        copied.write(content.data)
        copied.flush()
        path = Path(copied.name)
        if before_1_6 and not zipfile.is_zipfile(path):
            return _load_old(path, advice)
        return _load(path, kind, advice)


def _load_old(path: Path, advice: str) -> Any:
    """Read the old format, which cannot be mapped: memory is only reserved for what a file announces, until it is read.

    Only the types that PyTorch treats as data are unpickled.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    tensors = [value for value in state.values() if isinstance(value, Tensor)] if isinstance(state, dict) else []
    held = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in tensors}
    if sum(held.values()) > path.stat().st_size:
        raise InputError(f"announces tensors of {sum(held.values())} bytes, more than the file holds; {advice}")
    return state


def _load(path: Path, kind: str, advice: str) -> Any:
    if not zipfile.is_zipfile(path):
        raise InputError(f"is not {kind} of PyTorch 1.6 or later; {advice}")
    with zipfile.ZipFile(path) as archive:
        if any(member.file_size > member.compress_size for member in archive.infolist()):
            raise InputError(f"is a compressed archive, which torch.save does not write; {advice}")
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return copy.deepcopy(state)  # a copy, because the file may be replaced


def is_plain(value: object) -> bool:
    """Whether a value is an ordinary tensor of real numbers that are all stored."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_quantized
        and not value.is_complex()
        and value.untyped_storage().nbytes() >= value.numel() * value.element_size()
    )
