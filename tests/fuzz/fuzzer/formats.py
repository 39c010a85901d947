"""Damage that keeps a file's outer structure: archives, safetensors, HDF5, Parquet, GLB, PyTorch and ONNX files."""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzzer.mutate import BYTES, INTEGERS, LONG, NUMBERS, TEXT, Mutator, json_lines, json_text, json_value, number


def mutate(name: str, content: bytes, rng: Random) -> bytes:
    """Damage to a file, of a kind that its name suggests in three cases of four."""
    own = KINDS.get(Path(name).suffix.lower())
    if not content:
        return rng.choice((b"\0", b"{}", b"x"))
    if own is not None and rng.randrange(4):
        try:
            return own(content, rng)
        except Exception:  # it was damaged before, and has no structure any more
            pass
    return rng.choice(BYTES)(content, rng)


def text(content: bytes, rng: Random) -> bytes:
    """Of a text file, or of one that begins with a header of text."""
    return rng.choice(TEXT)(content, rng)


# numpy

SHAPES = (
    *("()", "(0,)", "(3,)", "(1, 3)", "(-1, 3)", "(1000000000, 3)", "(9223372036854775807, 3)", "(0, 3)", "(1, 0, 3)"),
    *("(2147483648, 2147483648, 3)", "None", "'x'", "(1.5, 3)", f"({LONG}, 3)", "(" + "1, " * 70 + "3)"),
)
TYPES = (
    *("'<f4'", "'>f8'", "'|O'", "'<M8[s]'", "'<U1000000'", "'|V0'", "'|S0'", "'<U2147483647'", "[('x', '<f4')]"),
    *("'<c16'", "'|b1'", "'<f2'", "'x'", "None", "('<f4', (1000000000,))", "'<i8'", "'<f16'", "(" * 200),
)


def npy(content: bytes, rng: Random) -> bytes:
    """An array whose header says something else."""
    if not content.startswith(b"\x93NUMPY") or rng.randrange(3) == 0:
        return rng.choice((*BYTES, number))(content, rng)
    size = struct.unpack_from("<H", content, 8)[0]
    shape = content[: 10 + size].decode("latin-1").partition("'shape': ")[2].partition(", }")[0]
    fields = {
        "descr": rng.choice(TYPES) if rng.randrange(2) else "'<f4'",
        "fortran_order": rng.choice(("False", "True", "1")),
        "shape": rng.choice(SHAPES) if rng.randrange(2) else shape,
    }
    if rng.randrange(10) == 0:
        del fields[rng.choice(list(fields))]
    header = ("{" + ", ".join(f"'{name}': {value}" for name, value in fields.items()) + ", }\n").encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) % 65536) + header + content[10 + size :]


def archive(content: bytes, rng: Random) -> bytes:
    """A zip archive with another member, or none, or one that unpacks to far more than it has."""
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        members = {name: opened.read(name) for name in opened.namelist()}
    name = rng.choice(list(members))
    how = rng.randrange(12)
    if how == 0:
        del members[name]
    elif how == 1:
        members[
            rng.choice(("../x.npy", "/x", "x\ny.npy", "\udc80.npy".encode("utf-8", "replace").decode(), "points.npy"))
        ] = members.pop(name)
    elif how == 2 and rng.randrange(30) == 0:  # a second of work
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (30000000, 3), }\n"
        members[name] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(360_000_000)
    elif name.endswith(".npy"):
        members[name] = npy(members[name], rng)
    else:
        members[name] = rng.choice(TEXT)(members[name] or b"\0", rng)
    packed = io.BytesIO()
    large = sum(map(len, members.values())) > 10**8
    method = zipfile.ZIP_DEFLATED if large or rng.randrange(4) == 0 else zipfile.ZIP_STORED
    with zipfile.ZipFile(packed, "w", method, compresslevel=1) as opened:
        for member, value in members.items():
            opened.writestr(zipfile.ZipInfo(member), value, method)
    return packed.getvalue()


# safetensors


def safetensors(content: bytes, rng: Random) -> bytes:
    """A header that says something else."""
    size = struct.unpack_from("<Q", content)[0]
    header = json.loads(content[8 : 8 + size])
    how = rng.randrange(6)
    if how == 0:
        return struct.pack("<Q", rng.choice(INTEGERS) % 2**64) + content[8:]
    if how == 1:
        entry = header[rng.choice([name for name in header if name != "__metadata__"] or list(header))]
        entry["shape"] = rng.choice(([], [0], [2**62, 4], [10**6, 10**6], [-1], [1.5], "x", [1] * 70, [2**64]))
    elif how == 2:
        names = [name for name in header if name != "__metadata__"] or list(header)
        header[rng.choice(names)]["dtype"] = rng.choice(("F64", "I64", "BF16", "F8_E4M3", "BOOL", "U8", "X", None))
    elif how < 5 and "__metadata__" in header:
        values = header["__metadata__"]
        key = rng.choice(list(values))
        inner = (
            json_text(str(values[key]).encode(), rng).decode("utf-8", "replace")
            if rng.randrange(5)
            else rng.choice(NUMBERS)
        )
        values[key] = inner
    else:
        header = json_value(header, rng)
    changed = json.dumps(header).encode()
    return struct.pack("<Q", len(changed)) + changed + content[8 + size :]


# HDF5


def hdf5(content: bytes, rng: Random) -> bytes:
    """A file whose datasets are others, elsewhere, huge or no datasets."""
    import h5py

    if rng.randrange(3) == 0:
        return rng.choice(BYTES)(content, rng)
    memory = io.BytesIO(content)
    with h5py.File(memory, "r+") as file:
        _replace(file, rng.choice(list(file)), rng)
    return memory.getvalue()


def _replace(file: Any, name: str, rng: Random) -> None:
    import h5py

    shape, kind = file[name].shape, file[name].dtype
    values = file[name][()]
    del file[name]
    huge = (rng.choice((10**6, 10**9)), *shape[1:])
    how: Callable[[], Any] = rng.choice(
        (
            lambda: None,
            lambda: file.create_group(name),
            lambda: file.create_dataset(name, huge, kind, chunks=True),
            lambda: file.create_dataset(name, huge, kind, chunks=True, compression="gzip", fillvalue=1),
            lambda: file.create_dataset(name, huge, kind),
            lambda: file.create_dataset(name, shape, kind, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)]),
            lambda: file.create_dataset(name, shape, kind, external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)]),
            lambda: file.__setitem__(name, h5py.ExternalLink("/dev/zero", "/data")),
            lambda: file.__setitem__(name, h5py.ExternalLink("elsewhere.h5", "/data")),
            lambda: file.__setitem__(name, h5py.SoftLink(f"/{name}")),
            lambda: file.__setitem__(name, h5py.Empty("f4")),
            lambda: file.__setitem__(name, np.array([b"x"] * 3)),
            lambda: file.create_dataset(name, (3,), h5py.string_dtype()),
            lambda: file.create_dataset(name, shape[:1], h5py.vlen_dtype(np.float32)),
            lambda: file.create_dataset(name, shape, h5py.ref_dtype),
            lambda: file.__setitem__(name, values.astype([("x", kind)])),
            lambda: file.__setitem__(name, values.astype("c8")),
            lambda: file.__setitem__(name, values.astype(rng.choice(("f2", "f8", "i1", "u8", "i8", "b1")))),
            lambda: file.__setitem__(name, -values.astype("i8") - 1),
            lambda: file.__setitem__(name, values.astype("f8") * float("nan")),
            lambda: file.__setitem__(name, np.full(shape, 2**63, "u8")),
            lambda: file.__setitem__(name, values.reshape(-1)),
            lambda: file.__setitem__(name, values[:0]),
            lambda: file.__setitem__(name, values[:-1]),
            lambda: file.__setitem__(name, values[..., None]),
            lambda: file.__setitem__(name, values.flat[0]),
            lambda: _virtual(file, name, huge, kind),
        )
    )
    how()


def _virtual(file: Any, name: str, shape: tuple[int, ...], kind: Any) -> None:
    import h5py

    layout = h5py.VirtualLayout(shape, kind)
    layout[:1] = h5py.VirtualSource("/etc/passwd", "data", (1, *shape[1:]))
    file.create_virtual_dataset(name, layout)


# Parquet


def parquet(content: bytes, rng: Random) -> bytes:
    """A table whose columns or description are others, or a footer of another length."""
    import pyarrow
    from pyarrow import parquet as files

    if rng.randrange(3) == 0:
        length = struct.pack("<I", rng.choice(INTEGERS) % 2**32)
        return rng.choice((content[:-8] + length + b"PAR1", *(change(content, rng) for change in BYTES)))
    table = files.read_table(io.BytesIO(content))
    key = next(iter(table.schema.metadata or {b"x": b""}))
    about = (table.schema.metadata or {}).get(key, b"{}")
    name = rng.choice(table.column_names)
    at, count = table.column_names.index(name), len(table)
    columns: tuple[Callable[[], Any], ...] = (
        lambda: pyarrow.array(range(count)),
        lambda: pyarrow.array([None] * count, pyarrow.string()),
        lambda: pyarrow.array(["x\x1b[31m\ny"] * count),
        lambda: pyarrow.array([[1.0] * i for i in range(count)]),
        lambda: pyarrow.array([[float("nan")] * 4] * count),
        lambda: pyarrow.array([[{"a": 1}]] * count),
        lambda: pyarrow.array([b"\xff\xfe"] * count),
        lambda: pyarrow.array(["x"] * count).dictionary_encode(),
        lambda: pyarrow.FixedSizeListArray.from_arrays(pyarrow.array([], pyarrow.float32()), 0),
    )
    how = rng.randrange(5)
    if how == 0:
        table = table.remove_column(at)
    elif how == 1 and count:
        table = table.set_column(at, name, rng.choice(columns[:-1])())
    elif how == 2:
        table = table.replace_schema_metadata({b"other": b"x"} if rng.randrange(3) else None)
    elif how == 3:
        table = table.slice(0, 0)
    else:
        table = table.replace_schema_metadata({key: json_text(about, rng)})
    written = io.BytesIO()
    files.write_table(table, written, compression=rng.choice(("none", "gzip")))
    return written.getvalue()


# GLB


def glb(content: bytes, rng: Random) -> bytes:
    """A scene that is described in another way; its chunks have their right lengths."""
    if rng.randrange(4) == 0 or len(content) < 20:
        return rng.choice((*BYTES, number))(content, rng)
    size = struct.unpack_from("<I", content, 12)[0]
    scene = json.loads(content[20 : 20 + size])
    if rng.randrange(6) == 0 and isinstance(scene, dict):
        scene["nodes"] = scene.get("nodes", [{}]) * rng.choice((2, 20_000))
        scene["scenes"] = [{"nodes": list(range(len(scene["nodes"])))}]
    elif rng.randrange(6) == 0 and isinstance(scene, dict):
        scene["buffers"] = [
            {
                "byteLength": rng.choice(INTEGERS),
                "uri": rng.choice(("/etc/passwd", "data:,x", "file:///dev/zero", "http://localhost:1/x")),
            }
        ]
    else:
        scene = json_value(scene, rng)
    text_ = json.dumps(scene).encode()
    text_ += b" " * (-len(text_) % 4)
    rest = content[20 + size :]
    return b"glTF" + struct.pack("<IIII", 2, 20 + len(text_) + len(rest), len(text_), 0x4E4F534A) + text_ + rest


# PyTorch


def pytorch(content: bytes, rng: Random) -> bytes:
    """A file of `torch.save` that holds other values, or whose archive is damaged."""
    import torch

    if rng.randrange(2):
        return archive(content, rng)
    state = torch.load(io.BytesIO(content), weights_only=True)
    written = io.BytesIO()
    torch.save(_state(state, rng), written)
    return written.getvalue()


def _state(value: Any, rng: Random) -> Any:
    import torch

    if isinstance(value, dict) and value and rng.randrange(10):
        key = rng.choice(list(value))
        if rng.randrange(6) == 0:
            return {name: kept for name, kept in value.items() if name != key}
        return {**value, key: _state(value[key], rng)}
    if isinstance(value, torch.Tensor):
        tensors: tuple[Callable[[], Any], ...] = (
            lambda: torch.zeros(1).expand(10**9),
            lambda: torch.zeros(1).expand(10**9, *value.shape[1:]),
            lambda: torch.zeros(1, 1).expand(value.shape[0] if value.ndim else 1, 10**9),
            lambda: value.to(torch.complex64),
            lambda: value.to(torch.bool),
            lambda: value.to_sparse() if value.ndim else value,
            lambda: value[..., None],
            lambda: value.reshape(-1),
            lambda: value.flatten()[:0],
            lambda: torch.full_like(value, float("nan")) if value.is_floating_point() else -value,
            lambda: torch.zeros(()),
        )
        return rng.choice(tensors)()
    return json_value(value, rng) if not isinstance(value, (dict, list)) else rng.choice((None, [], {}, 3, "x", {1: 2}))


# Pictures


def picture(content: bytes, rng: Random) -> bytes:
    """A PNG whose header, with a right checksum, says something else; or bytes of another picture format."""
    import zlib

    from PIL import Image

    if rng.randrange(2) == 0 or not content.startswith(b"\x89PNG"):
        other = io.BytesIO()
        kinds = ("GIF", "BMP", "TIFF", "JPEG", "PPM", "TGA", "ICO", "EPS", "WEBP")
        if rng.randrange(3):
            return rng.choice(BYTES)(content, rng)
        Image.new("RGB", (8, 8)).save(other, rng.choice(kinds))
        return other.getvalue()
    header = bytearray(content[12:29])
    at = rng.choice((4, 8, 12, 13, 14, 15, 16))
    if at < 12:
        struct.pack_into(">I", header, at, rng.choice(INTEGERS) % 2**32)
    else:
        header[at] = rng.randrange(256)
    return content[:12] + bytes(header) + struct.pack(">I", zlib.crc32(header)) + content[33:]


def onnx(content: bytes, rng: Random) -> bytes:
    """See `fuzzer.graphs`; onnx is imported where it is needed."""
    from fuzzer.graphs import graph

    return graph(content, rng)


KINDS: dict[str, Mutator] = {
    ".npy": npy,
    ".npz": archive,
    ".safetensors": safetensors,
    ".h5": hdf5,
    ".parquet": parquet,
    ".glb": glb,
    ".pt": pytorch,
    ".pth": pytorch,
    ".png": picture,
    ".onnx": onnx,
    ".json": json_text,
    ".jsonl": json_lines,
    **dict.fromkeys((".ply", ".pcd", ".asc", ".txt", ".xyz", ".pts", ".csv", ".off", ".obj", ".stl"), text),
}
