"""Recognises the published formats of data sets and finds their files."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from crosspoint.core.errors import InputError
from crosspoint.core.reading import list_folder
from crosspoint.data.io.hdf5 import is_stored, open_h5

VARIANT = "_nobg"
EXPECTED = {
    "modelnet40": "ply_data_train*.h5 and ply_data_test*.h5",
    "scanobjectnn": "training_objectdataset.h5 and test_objectdataset.h5 (or train.h5 and test.h5)",
    "shapenetpart": "ply_data_train*.h5 and ply_data_test*.h5 with part labels",
    "shapenetrender": "the folders ShapeNet and ShapeNetRendering",
}
TAXONOMY_FILE = "taxonomy.json"
PICTURES = frozenset({".png", ".jpg", ".jpeg"})


def recognise(root: Path) -> str:
    """Find the one data set in `root`, which is its folder or the parent, and return its format.

    Returns:
        `"modelnet40"`, `"scanobjectnn"`, `"shapenetpart"` or `"shapenetrender"`.

    Raises:
        InputError: There is no data set, or more than one.
    """
    return _only(root, tuple(EXPECTED))[0]


def locate(root: Path, formats: Sequence[str]) -> tuple[str, Path]:
    """Find the one data set in `root` with one of `formats`; return its format and folder.

    Raises:
        InputError: There is no such data set, or more than one.
    """
    return _only(root, formats)


def _only(root: Path, formats: Sequence[str]) -> tuple[str, Path]:
    root = Path(root)
    found = [(kind, folder) for kind, folder in find_sets(root) if kind in formats]
    own = [(kind, folder) for kind, folder in found if folder == root]
    found = own or found
    if not found:
        wanted = "; or ".join(f"{kind}: {EXPECTED[kind]}" for kind in formats)
        raise InputError(f"{root}: no data set found; expected {wanted}; see `crosspoint data list`")
    if len(found) > 1:
        names = ", ".join(f"{folder} ({kind})" for kind, folder in found)
        raise InputError(f"{root}: holds several data sets; give the folder of one: {names}")
    return found[0]


def find_sets(root: Path) -> list[tuple[str, Path]]:
    """Format and folder of every data set in `root`, its subfolders, and their `main_split`.

    Raises:
        InputError: `root` is not a folder, or cannot be listed.
    """
    return [(kind, folder) for folder in _folders(Path(root)) for kind in _formats(folder)]


def _folders(root: Path) -> Iterator[Path]:
    """`root`, its subfolders, and their `main_split`, where ScanObjectNN usually lies; not its other variants."""
    yield root
    for folder in _subfolders(root):
        if is_variant(folder):
            continue
        yield folder
        if os.path.isdir(folder / "main_split"):
            yield folder / "main_split"


def is_variant(folder: Path) -> bool:
    """Whether a folder is a variant of ScanObjectNN that published numbers are not of: `main_split_nobg` and its like.

    It has the names and the counts of the published set, but objects without background. It is read when its own
    folder is given.
    """
    return folder.resolve().name.endswith(VARIANT)


def _subfolders(root: Path) -> list[Path]:
    return [root / name for name in list_folder(root) if os.path.isdir(root / name)]


def _formats(folder: Path) -> Iterator[str]:
    if _h5_files(folder, "ply_data_"):
        yield "shapenetpart" if _has_parts(folder) else "modelnet40"
    if scanobjectnn_file(folder, "train") or scanobjectnn_file(folder, "test"):
        yield "scanobjectnn"
    if os.path.isdir(folder / "ShapeNet") and os.path.isdir(folder / "ShapeNetRendering"):
        yield "shapenetrender"


def _has_parts(folder: Path) -> bool:
    """Whether a folder of `ply_data_*.h5` has part labels: by its taxonomy, its name, or the content of a file."""
    if os.path.exists(folder / TAXONOMY_FILE) or "part_seg" in folder.name:
        return True
    for path in _h5_files(folder, "ply_data_"):
        try:
            with open_h5(path) as file:
                return is_stored(file, "pid")
        except InputError:
            continue  # a damaged file; another one may show it
    return False


def _h5_files(folder: Path, prefix: str) -> list[Path]:
    """The files `<prefix>….h5` of a folder, sorted; empty if the folder cannot be listed."""
    try:
        names = list_folder(folder)
    except InputError:
        return []
    return [folder / name for name in names if name.startswith(prefix) and name.endswith(".h5")]


def numbered(folder: Path, split: str) -> list[Path]:
    """The files `ply_data_<split><number>.h5` of a folder, sorted by number."""
    prefix = f"ply_data_{split}"
    found = [path for path in _h5_files(folder, prefix) if path.stem[len(prefix) :].isdecimal()]
    return sorted(found, key=lambda path: int(path.stem[len(prefix) :]))


def scanobjectnn_file(folder: Path, split: str) -> Path | None:
    """ScanObjectNN's file of a split, `"train"` or `"test"`, with either of its names; None if it is missing."""
    published = {"train": "training_objectdataset.h5", "test": "test_objectdataset.h5"}[split]
    return next((folder / name for name in (published, f"{split}.h5") if os.path.isfile(folder / name)), None)


def split_files(kind: str, folder: Path, *, split: str) -> list[Path]:
    """The HDF5 files of a split, `"train"`, `"val"` or `"test"`; empty if the split is missing."""
    if kind != "scanobjectnn":
        return numbered(folder, split)
    file = scanobjectnn_file(folder, split) if split != "val" else None
    return [file] if file else []
