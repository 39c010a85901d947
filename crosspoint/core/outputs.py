"""Decides whether an output may be written, before any work is done. No other module decides that.

A file is replaced only if its content shows that this package wrote it. A folder is replaced only if it has this
package's marker and holds no other files.
"""

import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeGuard

from crosspoint.core.errors import InputError
from crosspoint.core.reading import JSON_BYTES, read_json, reason_of
from crosspoint.core.workspaces import in_use, remove_partial_files, workspace

TABLES = (  # first lines of `.csv` files
    b"group,name,level,distance,surface",
    b"rank,name,distance,covers",
    b"name,label,probability,unknown",
)
LABELLED = b"\ncomment crosspoint segment "  # near the beginning of a `.ply` file with labels
PICTURES = {  # first bytes by suffix
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".jpg": (b"\xff\xd8\xff",),
    ".jpeg": (b"\xff\xd8\xff",),
    ".webp": (b"RIFF",),
}
GENERATOR = '<meta name="generator" content="crosspoint">'  # in the head of HTML reports
COMPARISON = "Per cent; the paper: "  # near the beginning of Markdown tables
HEAD = 4096  # bytes at the start of a file that are searched for these
HEADER_BYTES = 100 << 20  # largest header of a safetensors file, by its specification
WIDEST_POINT = 16  # most columns of a .npy of points: coordinates, normals, colours; embeddings have far more
ARRAYS = {"embeddings.npy", "names.npy", "model_sha256.npy"}  # in an .npz of embeddings


def check_place(path: Path, option: str = "--out") -> None:
    """Refuse a path where no file or folder can be created: a link, a pipe, a device, or an empty name.

    Raises:
        InputError: It is one of these, or its status cannot be read.
    """
    path = Path(path)
    if path.name in ("", ".."):
        raise InputError(f"{option} {path} is not a file or folder name; give a new name")
    _check_kind(path, option)


def _check_kind(path: Path, option: str) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # ValueError: a NUL byte
        raise _cannot_write(path, option, error) from error
    if stat.S_ISLNK(mode):
        raise InputError(f"{option} {path} is a symbolic link; give the path that it points to, or another path")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise InputError(f"{option} {path} is a pipe, a socket or a device; give the name of a file or a folder")


def check_file(
    path: Path,
    option: str = "--out",
    *,
    kind: str | None = None,
    inputs: Iterable[Path] = (),
    within: bool = False,
    suffixes: tuple[str, ...] = (),
) -> None:
    """Refuse an output file that cannot be written, or that would replace a file of another origin.

    Args:
        path: The output file.
        option: The option that gave it, for messages.
        kind: Suffix that decides the format; None: that of `path`.
        inputs: Files and folders that the command reads.
        within: Whether the output may lie inside an input folder.
        suffixes: Suffixes that its name may have; empty: any.

    Raises:
        InputError: It may not be written.
    """
    path = Path(path)
    check_place(path, option)
    if suffixes and path.suffix.lower() not in suffixes:
        raise InputError(f"{option} {path} has an unknown suffix; give a name that ends in {', '.join(suffixes)}")
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
    """Refuse a folder in which files cannot be written. It may exist and hold other files, which are kept.

    Args:
        path: The output folder.
        option: The option that gave it, for messages.
        files: Names of the files that will be written, each checked as by `check_file`.
        inputs: Files and folders that the command reads.
        within: Whether the output may lie inside an input folder.

    Raises:
        InputError: It may not be written.
    """
    path = Path(path)
    _check_kind(path, option)
    if path.is_file():
        raise InputError(f"{option} {path} is a file; give a folder")
    if os.path.realpath(path) == os.path.realpath("/"):
        raise InputError(f"{option} {path} is the root of the file system; give a folder of its own")
    _check_apart(path, option, inputs, within)
    _check_writable(path, path, option)
    for name in files:
        check_file(path / name, option)


def check_replaceable(
    path: Path, ours: Callable[[Path], None] | None = None, *, option: str = "--out", inputs: Iterable[Path] = ()
) -> None:
    """Refuse an output folder that is replaced as a whole, if anything but an earlier result is there.

    Args:
        path: The output folder; it may be missing or empty.
        ours: Raises InputError if a folder holds anything but an earlier result; None: it must be missing or empty.
        option: The option that gave it, for messages.
        inputs: Files and folders that the command reads; the output may lie inside them.

    Raises:
        InputError: It may not be replaced.
    """
    path = Path(path)
    check_place(path, option)
    if path.exists():
        if not path.is_dir():
            raise InputError(f"{option} {path} is a file; give a folder")
        if os.path.ismount(path):
            raise InputError(f"{option} {path} is a mount point, which cannot be replaced; give a folder inside it")
        if not os.access(path, os.W_OK | os.X_OK):
            raise InputError(f"{option} {path} cannot be replaced: you have no write permission; choose another place")
    _check_apart(path, option, inputs, within=True)
    _check_writable(path.parent, path, option)
    check_content(path, ours, option=option)


def check_content(path: Path, ours: Callable[[Path], None] | None, *, option: str = "--out") -> None:
    """The check of `check_replaceable` that is repeated after the work: the content of the folder may have changed."""
    if path.exists():
        remove_partial_files(path)
        if in_use(path):
            if ours is None:
                raise InputError(f"{option} {path} exists and is not empty; delete it or choose another place")
            ours(path)


def check_known(folder: Path, known: Callable[[str], object]) -> None:
    """Refuse to replace a folder that holds a file of another origin.

    Args:
        folder: The folder.
        known: Whether the package wrote the file with this path, relative to `folder`.

    Raises:
        InputError: There is a file that the package did not write, or a link.
    """
    for place, folders, files in os.walk(folder):
        for name in sorted([*files, *folders]):
            path = Path(place, name)
            if path.is_symlink() or (name in files and not known(path.relative_to(folder).as_posix())):
                raise InputError(
                    f"{folder} would be replaced, but {path} was not written with it; move that file, or choose "
                    "another place"
                )


def _check_apart(path: Path, option: str, inputs: Iterable[Path], within: bool) -> None:
    """Refuse an output that is also an input or, unless `within`, lies inside one."""
    place = Path(os.path.realpath(path))
    for given in inputs:
        source = Path(os.path.realpath(given))
        if place == source:
            raise InputError(f"{option} {path} is also an input; give another place")
        if not within and source in place.parents:
            raise InputError(
                f"{option} {path} lies inside the input {given}, and the next run would read it as input; "
                "give a place outside"
            )


def _check_writable(folder: Path, path: Path, option: str) -> None:
    """Create and remove a workspace in `folder` or its nearest existing parent; remove those of killed processes."""
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
    """Whether this package wrote a file with the suffix `kind`. An empty file counts, as `mktemp` makes."""
    try:
        return path.stat().st_size == 0 or _says_so(path, kind)
    except Exception:  # whatever a library makes of a file that is something else
        return False


def _says_so(path: Path, kind: str) -> bool:
    if kind in PICTURES:
        return _head(path, 16).startswith(PICTURES[kind])
    if kind == ".json":
        return is_schema(read_json(path, "a result"))
    if kind == ".csv":
        return _head(path, HEAD).startswith(TABLES)
    if kind == ".ply":
        return LABELLED in _head(path, HEAD)
    if kind == ".npz":
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist()) >= ARRAYS
    if kind == ".npy":
        return _is_matrix(path)
    if kind == ".parquet":
        return b"crosspoint" in _parquet_footer(path)
    if kind == ".safetensors":
        return "crosspoint" in _safetensors_metadata(path)
    text = {".html": GENERATOR, ".md": COMPARISON}.get(kind)
    return text is not None and text.encode() in _head(path, HEAD)


def is_schema(value: object, kind: str | None = None) -> TypeGuard[dict[str, object]]:
    """Whether a JSON value names a schema of this package, `crosspoint.<kind>/<version>`."""
    start = "crosspoint." if kind is None else f"crosspoint.{kind}/"
    return isinstance(value, dict) and str(value.get("schema")).startswith(start)


def _head(path: Path, count: int) -> bytes:
    with path.open("rb") as file:
        return file.read(count)


def _is_matrix(path: Path) -> bool:
    """Whether a .npy holds embeddings `(n, D)`, not a cloud `(N, 3)` or another array."""
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
