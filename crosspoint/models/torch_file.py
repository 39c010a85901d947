"""Files of `torch.save`, read without running what is in them and without taking more memory than they have bytes."""

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
    """What `torch.save` wrote, on the CPU.

    The file is mapped, so that no tensor reaches beyond it whatever it announces; only what PyTorch counts as data is
    unpickled; members of the archive have to be stored as they are, since packed ones may become of any size.

    Args:
        path: The file.
        kind: What it should be, e.g. `"a checkpoint"`.
        advice: What to do about a bad one.

    Raises:
        InputError: It is missing, no regular file, damaged, too large, packed, holds code, or was written by PyTorch
            before 1.6.
    """
    readable(path)
    with reading(path, kind, advice=advice):
        return _load(path, kind, advice)


def parse_torch_file(content: Content, kind: str, *, advice: str) -> Any:
    """As `load_torch_file`, of a file that has been read: only files can be mapped, so a copy is."""
    with reading(content.path, kind, advice=advice), tempfile.NamedTemporaryFile(prefix="crosspoint-") as copied:
        copied.write(content.data)
        copied.flush()
        return _load(Path(copied.name), kind, advice)


def _load(path: Path, kind: str, advice: str) -> Any:
    if not zipfile.is_zipfile(path):
        raise InputError(f"is not {kind} of PyTorch 1.6 or later; {advice}")
    with zipfile.ZipFile(path) as archive:
        if any(member.file_size > member.compress_size for member in archive.infolist()):
            raise InputError(f"is a packed archive, which torch.save does not write; {advice}")
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return copy.deepcopy(state)  # away from the file, which may be replaced


def is_plain(value: object) -> bool:
    """Whether something is an ordinary tensor of real numbers with a place in memory for each."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_quantized
        and not value.is_complex()
        and value.untyped_storage().nbytes() >= value.numel() * value.element_size()
    )
