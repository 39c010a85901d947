"""The one place that decides whether an output may be written where the user says, before any work is done for it.

Nothing is replaced but what this package provably wrote. A file is that if its content says so; a folder, if its marker
does and it holds no other files than were written with it.
"""

import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeGuard

from crosspoint.core.errors import InputError
from crosspoint.core.reading import JSON_BYTES, read_json, reason_of
from crosspoint.core.workspaces import in_use, remove_partial_files, workspace

PICTURES = {  # first bytes by suffix
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".jpg": (b"\xff\xd8\xff",),
    ".jpeg": (b"\xff\xd8\xff",),
    ".webp": (b"RIFF",),
}
GENERATOR = '<meta name="generator" content="crosspoint">'  # in the head of our pages
PREDICTIONS = "name,label,probability,unknown"  # how a table of predictions begins
COMPARISON = "Per cent; the paper: "  # near the beginning of our tables in Markdown
HEAD = 4096  # bytes of a file in which these are looked for
HEADER_BYTES = 100 << 20  # most of a safetensors header, by its specification
WIDEST_POINT = 16  # columns of a .npy that holds a cloud: coordinates, normals, colours; embeddings have far more
ARRAYS = {"embeddings.npy", "names.npy", "model_sha256.npy"}  # in our .npz


def check_place(path: Path, option: str = "--out") -> None:
    """Refuse a name under which no file or folder can be put in place: a link, a pipe, a device, or no name at all.

    Raises:
        InputError: It is one of these, or cannot be looked at.
    """
    path = Path(path)
    if path.name in ("", ".."):
        raise InputError(f"{option} {path} is not a name for an output; give the name of a new one")
    _check_kind(path, option)


def _check_kind(path: Path, option: str) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # ValueError: a NUL byte
        raise _cannot_write(path, option, error) from error
    if stat.S_ISLNK(mode):
        raise InputError(f"{option} {path} is a symbolic link; give the place that it leads to, or another one")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{option} {path} is a pipe, a socket or a device; give the name of a file or a folder")


def check_file(
    path: Path, option: str = "--out", *, kind: str | None = None, inputs: Iterable[Path] = (), within: bool = False
) -> None:
    """Refuse a place for an output file that cannot be written, or where something lies that is not this package's.

    Args:
        path: The place.
        option: What it was given by.
        kind: Suffix of what is written; that of `path` if None.
        inputs: Files and folders that are read for it.
        within: Whether it may lie inside an input folder.

    Raises:
        InputError: It may not be written.
    """
    path = Path(path)
    check_place(path, option)
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; give the name of a file")
    _check_apart(path, option, inputs, within)
    kind = (kind or path.suffix).lower()
    if path.exists() and not _is_ours(path, kind):
        what = f"a {kind} file" if kind in PICTURES else f"a {kind} file that crosspoint wrote"
        raise InputError(f"{option} {path} exists and is not {what}; remove it, or give another name")
    _check_writable(path.parent, path, option)


def check_folder(
    path: Path, option: str = "--out", *, files: Iterable[str] = (), inputs: Iterable[Path] = (), within: bool = False
) -> None:
    """Refuse a folder in which files cannot be written; it may be there and hold others, which stay.

    Args:
        path: The folder.
        option: What it was given by.
        files: Names of what is written in it, each looked at as by `check_file`.
        inputs: Files and folders that are read for what is written.
        within: Whether it may lie inside an input folder.

    Raises:
        InputError: It may not be written to.
    """
    path = Path(path)
    _check_kind(path, option)
    if path.is_file():
        raise InputError(f"{option} {path} is a file; give a folder")
    if os.path.realpath(path) == os.path.realpath("/"):
        raise InputError(f"{option} {path} is the root of all files; give a folder of its own")
    _check_apart(path, option, inputs, within)
    _check_writable(path, path, option)
    for name in files:
        check_file(path / name, option)


def check_replaceable(
    path: Path, ours: Callable[[Path], None] | None = None, *, option: str = "--out", inputs: Iterable[Path] = ()
) -> None:
    """Refuse a place for a folder that is put there as a whole, where something else lies than an earlier one.

    Args:
        path: The folder; it may be missing or empty.
        ours: Raises InputError unless a folder holds nothing but an earlier output; None if none may be there.
        option: What it was given by.
        inputs: Files and folders that are read for it; it may lie inside them.

    Raises:
        InputError: The place may not be taken.
    """
    path = Path(path)
    check_place(path, option)
    if path.exists():
        if not path.is_dir():
            raise InputError(f"{option} {path} is a file; give a folder")
        if os.path.ismount(path):
            raise InputError(f"{option} {path} is a mount point, which cannot be replaced; give a folder inside it")
        if not os.access(path, os.W_OK | os.X_OK):
            raise InputError(f"{option} {path} cannot be replaced: it is not yours to write to; choose another place")
    _check_apart(path, option, inputs, within=True)
    _check_writable(path.parent, path, option)
    check_content(path, ours, option=option)


def check_content(path: Path, ours: Callable[[Path], None] | None, *, option: str = "--out") -> None:
    """The part of `check_replaceable` that can change during the work: what lies in the folder."""
    if path.exists():
        remove_partial_files(path)
        if in_use(path):
            if ours is None:
                raise InputError(f"{option} {path} exists and is not empty; delete it or choose another place")
            ours(path)


def check_known(folder: Path, known: Callable[[str], object]) -> None:
    """Refuse to replace a folder in which lies a file that was not written with it.

    Args:
        folder: Where it lies.
        known: Whether a path, relative to `folder`, is of a file that was.

    Raises:
        InputError: There is another file, or a link.
    """
    for place, folders, files in os.walk(folder):
        for name in sorted([*files, *folders]):
            path = Path(place, name)
            if path.is_symlink() or (name in files and not known(path.relative_to(folder).as_posix())):
                raise InputError(
                    f"{folder} would be replaced, and {path} was not written with it; move that, or choose another "
                    "place"
                )


def _check_apart(path: Path, option: str, inputs: Iterable[Path], within: bool) -> None:
    """Refuse an output that is an input or, unless `within`, lies inside one."""
    place = Path(os.path.realpath(path))
    for given in inputs:
        source = Path(os.path.realpath(given))
        if place == source:
            raise InputError(f"{option} {path} is also the input; give another place")
        if not within and source in place.parents:
            raise InputError(
                f"{option} {path} lies inside the input {given}, and would be read with it the next time; "
                "give a place outside"
            )


def _check_writable(folder: Path, path: Path, option: str) -> None:
    """Make and remove a workspace in `folder`, or in the folder above it that exists, and tidy up there."""
    existing = next(place for place in (folder, *folder.parents, Path()) if place.exists())
    remove_partial_files(existing)
    try:
        with workspace(existing):
            pass
    except OSError as error:
        raise _cannot_write(path, option, error) from error


def _cannot_write(path: Path, option: str, error: Exception) -> InputError:
    return InputError(f"cannot write {path} ({reason_of(error)}); choose another place for {option}")


def _is_ours(path: Path, kind: str) -> bool:
    """Whether a file is one that this package writes with the suffix `kind`, or empty, as those of `mktemp` are."""
    try:
        return path.stat().st_size == 0 or _says_so(path, kind)
    except Exception:  # whatever a library makes of a file that is something else
        return False


def _says_so(path: Path, kind: str) -> bool:
    if kind in PICTURES:
        return _head(path, 16).startswith(PICTURES[kind])
    if kind == ".json":
        return is_schema(read_json(path, "a result"))
    if kind == ".npz":
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist()) >= ARRAYS
    if kind == ".npy":
        return _is_matrix(path)
    if kind == ".parquet":
        return b"crosspoint" in _parquet_footer(path)
    if kind == ".safetensors":
        return "crosspoint" in _safetensors_metadata(path)
    text = {".html": GENERATOR, ".md": COMPARISON, ".csv": PREDICTIONS}.get(kind)
    return text is not None and text.encode() in _head(path, HEAD)


def is_schema(value: object, kind: str | None = None) -> TypeGuard[dict[str, Any]]:
    """Whether the value of a JSON file says that it is of a schema of this package, `crosspoint.<kind>/<version>`."""
    start = "crosspoint." if kind is None else f"crosspoint.{kind}/"
    return isinstance(value, dict) and str(value.get("schema")).startswith(start)


def _head(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _is_matrix(path: Path) -> bool:
    """Whether a .npy holds embeddings `(n, D)` rather than a cloud `(N, 3)`, or another array."""
    import numpy as np

    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return bool(array.ndim == 2 and array.dtype == np.float32 and array.shape[1] > WIDEST_POINT)


def _parquet_footer(path: Path) -> bytes:
    with path.open("rb") as file:
        end = file.seek(-8, os.SEEK_END)
        length, magic = int.from_bytes(file.read(4), "little"), file.read(4)
        if magic != b"PAR1" or not 0 < length <= min(end, JSON_BYTES):
            return b""
        file.seek(end - length)
        return file.read(length)


def _safetensors_metadata(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length)) if length <= min(HEADER_BYTES, path.stat().st_size) else {}
    metadata: dict[str, str] = header.get("__metadata__", {})
    return metadata
