"""Reads CIFAR-FS and sets like it: pictures whose classes are split into base, validation and novel classes."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crosspoint.core.console import track
from crosspoint.core.errors import InputError, require
from crosspoint.core.pictures import read_picture
from crosspoint.core.reading import list_folder, read_lines

PARTS = ("train", "val", "test")
LAYOUTS = "data/<class>/*.png with splits/bertinetto/{train,val,test}.txt, or {train,val,test}/<class>/*.png"
SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})


@dataclass(frozen=True)
class Pictures:
    """Pictures `(n, 3, S, S)` uint8 with labels `(n,)`; a label is an index into `class_names`."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]


def find_classes(root: Path) -> dict[str, dict[str, Path]]:
    """Find the folder of each class, by split and name.

    Args:
        root: The folder of the set, or its parent.

    Raises:
        InputError: The layout is unknown, a listed class has no folder, or a class is in two splits.
    """
    root = Path(root)
    for folder in (root, *_subfolders(root).values()):
        found = _listed(folder) or _nested(folder)
        if found:
            _check_disjoint(folder, found)
            return found
    raise InputError(f"{root}: no classes of pictures found; expected {LAYOUTS}; see `crosspoint data list`")


def _listed(folder: Path) -> dict[str, dict[str, Path]]:
    """Read the lists in `splits`, one class name per line."""
    for lists in (folder / "splits" / "bertinetto", folder / "splits"):
        if all(os.path.isfile(lists / f"{part}.txt") for part in PARTS):
            break
    else:
        return {}
    found = {}
    for part in PARTS:
        lines = read_lines(lists / f"{part}.txt", "a list of classes", advice="give one class name per line")
        found[part] = {name: folder / "data" / name for line in lines for name in line.split()}
        if outside := [name for name in found[part] if os.path.basename(name) != name or name == ".."]:
            raise InputError(f"{lists / part}.txt: {outside[0]} is not the name of a class; give one name per line")
        missing = [name for name, path in found[part].items() if not os.path.isdir(path)]
        if missing:
            raise InputError(
                f"{folder / 'data'}: the folder {missing[0]} of {part}.txt is missing; unpack the set again"
            )
    return found


def _nested(folder: Path) -> dict[str, dict[str, Path]]:
    if not all(os.path.isdir(folder / part) for part in PARTS):
        return {}
    parts = {part: _subfolders(folder / part) for part in PARTS}
    return parts if all(parts.values()) else {}


def _subfolders(folder: Path) -> dict[str, Path]:
    return {name: folder / name for name in list_folder(folder) if os.path.isdir(folder / name)}


def _check_disjoint(folder: Path, found: dict[str, dict[str, Path]]) -> None:
    for i, part in enumerate(PARTS):
        for other in PARTS[i + 1 :]:
            both = sorted(set(found[part]) & set(found[other]))
            if both:
                raise InputError(f"{folder}: the class {both[0]} is in both {part} and {other}; keep it in one")


def load_pictures(classes: dict[str, Path], size: int, *, description: str = "Reading pictures") -> Pictures:
    """Read all pictures of some classes as RGB, resized to `size` if they have another size.

    Raises:
        InputError: A class has no picture, or a file cannot be read.
    """
    require("PIL.Image", "render", purpose="reading pictures")
    from PIL import Image

    images, labels = [], []
    for label, folder in enumerate(track(list(classes.values()), description)):
        files = [folder / name for name in list_folder(folder) if Path(name).suffix.lower() in SUFFIXES]
        if not files:
            raise InputError(f"{folder}: holds no .png or .jpg pictures; unpack the set again")
        for path in files:
            picture = read_picture(path, "RGB")
            if picture.size != (size, size):
                picture = picture.resize((size, size), Image.Resampling.BILINEAR)
            images.append(np.asarray(picture).transpose(2, 0, 1))
            labels.append(label)
    return Pictures(np.ascontiguousarray(np.stack(images)), np.array(labels, np.int64), tuple(classes))
