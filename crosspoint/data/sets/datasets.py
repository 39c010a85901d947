"""Reads the data sets of the paper's protocols in their published file formats."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.data.frames import Up, to_y_up
from crosspoint.data.io.hdf5 import SplitArrays, read_files
from crosspoint.data.sets.layout import locate, recognise, split_files
from crosspoint.data.sets.renders import PairedRenders
from crosspoint.data.sets.taxonomy import Taxonomy, read_class_names, read_taxonomy

__all__ = [
    "ClassificationSet",
    "Clouds",
    "PairedRenders",
    "PartClouds",
    "PartSet",
    "Taxonomy",
    "load_classification",
    "load_parts",
    "recognise",
]


@dataclass(frozen=True)
class Clouds:
    """Labelled clouds: points (n, N, 3) float32, not normalised, and labels (n,) int64."""

    points: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassificationSet:
    """A classification set. `name` is its format, `class_names` is by label, `test` is None if it is missing."""

    name: str
    class_names: tuple[str, ...]
    train: Clouds
    test: Clouds | None


@dataclass(frozen=True)
class PartClouds:
    """Clouds with labelled points: points (n, N, 3) float32, labels (n,) and parts (n, N) int64."""

    points: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    parts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class PartSet:
    """A part-segmentation set; `val` is None if it is missing."""

    name: str
    taxonomy: Taxonomy
    train: PartClouds
    val: PartClouds | None
    test: PartClouds


def load_classification(root: Path, points: int | None = 1024, *, up: Up = "y") -> ClassificationSet:
    """Read a set in ModelNet40's or ScanObjectNN's format.

    Args:
        root: The folder of the files, or its parent if that holds no other such set.
        points: Take the *first* points of each cloud, as the published protocols do; None: all.
        up: The axis that points up in the files: y in the published ones. Clouds are turned to y-up.

    Raises:
        InputError: There is no such set, its training split is missing, a file is damaged, a label has no name, or
            clouds have fewer than `points` points.
    """
    kind, folder = locate(root, ("modelnet40", "scanobjectnn"))
    names = read_class_names(kind, folder)
    splits = {}
    for split in ("train", "test"):
        files = split_files(kind, folder, split=split)
        splits[split] = read_files(files, points, classes=len(names)) if files else None
    train, test = splits["train"], splits["test"]
    if train is None:
        raise InputError(f"{folder}: has no training files; see `crosspoint data list` for the expected names")
    return ClassificationSet(
        kind,
        names,
        Clouds(to_y_up(train.points, up), train.labels),
        Clouds(to_y_up(test.points, up), test.labels) if test else None,
    )


def load_parts(root: Path, points: int | None = 2048, *, up: Up = "y") -> PartSet:
    """Read a set in ShapeNetPart's format. Its taxonomy is read from `taxonomy.json`, else it is ShapeNetPart's.

    Args:
        root: The folder of the files, or its parent if that holds no other such set.
        points: Take the first points of each cloud; None: all.
        up: As for `load_classification`.

    Raises:
        InputError: There is no such set, its training or test split is missing, a file or the taxonomy is damaged, a
            label is out of range, or clouds have fewer than `points` points.
    """
    kind, folder = locate(root, ("shapenetpart",))
    taxonomy = read_taxonomy(folder)
    splits: dict[str, PartClouds | None] = {}
    for split in ("train", "val", "test"):
        files = split_files(kind, folder, split=split)
        splits[split] = (
            _parts(read_files(files, points, classes=len(taxonomy.categories), parts=len(taxonomy.parts)), up)
            if files
            else None
        )
    train, test = splits["train"], splits["test"]
    if train is None or test is None:
        raise InputError(f"{folder}: ply_data_train*.h5 or ply_data_test*.h5 is missing; see `crosspoint data list`")
    return PartSet(kind, taxonomy, train, splits["val"], test)


def _parts(content: SplitArrays, up: Up) -> PartClouds:
    assert content.parts is not None  # they were asked for
    return PartClouds(to_y_up(content.points, up), content.labels, content.parts)
