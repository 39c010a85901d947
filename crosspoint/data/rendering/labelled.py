"""Writes scans as a classification data set in ModelNet40's format: labels are categories, the splits share no mesh."""

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import require
from crosspoint.core.files import atomic_folder
from crosspoint.core.outputs import check_known
from crosspoint.data.points import normalise
from crosspoint.data.rendering.tasks import Task

FOLDER = "modelnet40_ply_hdf5_2048"
FILES = re.compile(r"ply_data_(train|test)\d+\.h5|shape_names\.txt")
HELD_OUT = 0.2  # share of each category's meshes in the test split
CLOUDS = 2048  # clouds per file, as in the published data set


def write_labelled(
    out: Path, tasks: Sequence[Task], *, views: Callable[[Task], Sequence[Task]], seed: int
) -> tuple[int, int]:
    """Write `ply_data_{train,test}0.h5` and so on, and `shape_names.txt`.

    Args:
        out: Folder of the scans.
        tasks: Meshes whose scans exist.
        views: Function from a mesh to its scans.
        seed: Random seed of the split.

    Returns:
        Number of clouds in the training and in the test split.
    """
    categories = sorted({task.category for task in tasks})
    test = {task for category in categories for task in _held_out(tasks, category, seed)}
    splits = {
        "train": [view for task in tasks if task not in test for view in views(task)],
        "test": [view for task in tasks if task in test for view in views(task)],
    }
    if tasks:
        with atomic_folder(out / FOLDER, check_labelled) as folder:
            for split, members in splits.items():
                for number, first in enumerate(range(0, len(members), CLOUDS)):
                    _write_h5(folder / f"ply_data_{split}{number}.h5", out, members[first : first + CLOUDS], categories)
            names = [re.sub(r"\s", "_", name).encode("utf-8", "backslashreplace") + b"\n" for name in categories]
            (folder / "shape_names.txt").write_bytes(b"".join(names))
    return len(splits["train"]), len(splits["test"])


def check_labelled(folder: Path) -> None:
    """Raise InputError if a folder holds other files than such a data set."""
    check_known(folder, FILES.fullmatch)


def _held_out(tasks: Sequence[Task], category: str, seed: int) -> list[Task]:
    """The meshes of a category that form the test split."""
    own = [task for task in tasks if task.category == category]
    digest = hashlib.sha256(os.fsencode(category)).digest()
    order = np.random.default_rng([seed, *np.frombuffer(digest, "<u4").tolist()]).permutation(len(own))
    return [own[i] for i in order[: round(HELD_OUT * len(own))]]


def _write_h5(file: Path, out: Path, members: Sequence[Task], categories: Sequence[str]) -> None:
    """Write `data` (n, N, 3), normalised, and `label` (n, 1); without time stamps, so that the bytes repeat."""
    h5py = require("h5py", "render", purpose="writing HDF5 files")
    arrays = {
        "data": np.stack([normalise(_read(task.cloud(out))) for task in members]),
        "label": np.array([[categories.index(task.category)] for task in members], np.int64),
    }
    with h5py.File(file, "w") as h5:
        for name, array in arrays.items():
            h5.create_dataset(name, data=array, track_times=False)


def _read(path: Path) -> npt.NDArray[np.float64]:
    from plyfile import PlyData

    rows = PlyData.read(str(path))["vertex"]
    return np.stack([np.asarray(rows[axis], np.float64) for axis in "xyz"], axis=-1)  # (N, 3)
