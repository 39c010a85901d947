"""Inputs that many readers have to refuse."""

import io
import zipfile
from collections.abc import Callable
from functools import cache

from fuzzer.cases import Files
from fuzzer.made import to_bytes
from fuzzer.mutate import LONG

DEEP = b"[" * 200_000
NO_JSON: dict[str, bytes | str] = {
    "deep": DEEP,
    "a list": b"[]",
    "null": b"null",
    "no UTF-8": b"\xff\xfe{}",
    "a long number": LONG.encode(),
    "a pipe": "pipe",
    "a device": "link /dev/zero",
    "a link to nothing": "link nowhere",
    "a folder": "folder",
    "a sparse file": "sparse",
}


def instead(files: Callable[[], Files], name: str, others: dict[str, bytes | str]) -> Callable[[], dict[str, Files]]:
    """Attacks: one of the files is another one."""
    return lambda: {label: {**files(), name: content} for label, content in others.items()}


@cache
def torch_bomb() -> bytes:
    """An archive of `torch.save` with a compressed storage of 400 MB in 400 kB."""
    import torch

    whole = to_bytes(lambda f: torch.save({"conv1.0.weight": torch.zeros(100_000_000)}, f))
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    return packed.getvalue()
