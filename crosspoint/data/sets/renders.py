"""Reads ShapeNetRender: point clouds paired with renderings, as single files."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.core.pictures import read_picture
from crosspoint.core.reading import list_folder, read_json
from crosspoint.data.frames import Up
from crosspoint.data.io.clouds import read_clouds
from crosspoint.data.points import Points, near_origin
from crosspoint.data.sets.layout import PICTURES, locate

SETTINGS_FILE = "render.json"  # of `crosspoint data render`


def up_of_set(kind: str, root: Path) -> Up | None:
    """The axis that points up in the clouds of a data set.

    All published sets are y-up, and what `crosspoint data render` stores is; None where an earlier version of it
    turned nothing and does not say how the meshes lay.
    """
    file = root / SETTINGS_FILE
    if kind == "shapenetrender" and file.is_file():
        settings = read_json(file, "the settings of renderings")
        return "y" if isinstance(settings, dict) and settings.get("stored_up") == "y" else None
    return "y"


class PairedRenders:
    """Objects that have both a point cloud and renderings.

    The folder holds `ShapeNet/<category>/<name>.ply`, whose vertices are the points, and
    `ShapeNetRendering/<category>/<name>/rendering/` with any number of pictures. Objects that have only one of the two
    are left out; `crosspoint data verify` lists them.

    Args:
        root: Folder with `ShapeNet` and `ShapeNetRendering`, or its parent.

    Attributes:
        keys: `category/name` of each object, sorted.

    Raises:
        InputError: There is no such folder, or it holds no object.
    """

    def __init__(self, root: Path) -> None:
        self.root = locate(root, ["shapenetrender"])[1]
        self.keys = sorted(cloud_keys(self.root) & rendering_keys(self.root))
        if not self.keys:
            raise InputError(f"{root}: no object has both a cloud and renderings; see `crosspoint data verify {root}`")
        self._images: dict[int, list[Path]] = {}

    def __len__(self) -> int:
        return len(self.keys)

    def cloud(self, i: int) -> Path:
        """The point-cloud file of object i."""
        return self.root / "ShapeNet" / f"{self.keys[i]}.ply"

    def points(self, i: int) -> Points:
        """The points of object i, as stored: (N, 3); those too far from the origin for float32 are moved there.

        Raises:
            InputError: The file is bad.
        """
        return near_origin(read_clouds(self.cloud(i))[0])

    def images(self, i: int) -> list[Path]:
        """The pictures of object i, sorted by name.

        Raises:
            InputError: The folder cannot be listed.
        """
        if i not in self._images:
            folder = self.root / "ShapeNetRendering" / self.keys[i] / "rendering"
            self._images[i] = [folder / name for name in list_folder(folder) if Path(name).suffix.lower() in PICTURES]
        return self._images[i]

    def views(self, i: int) -> int:
        """Number of pictures of object i."""
        return len(self.images(i))

    def files(self) -> Iterator[Path]:
        """All files that are read, in order."""
        for i in range(len(self)):
            yield self.cloud(i)
            yield from self.images(i)

    def image(self, i: int, view: int) -> npt.NDArray[np.uint8]:
        """A picture of object i: (H, W, 4) RGBA; opaque if the file has no alpha.

        Raises:
            InputError: The file is bad.
            IndexError: There is no such picture.
        """
        return read_image(self.images(i)[view])


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read a picture as (H, W, 4) RGBA.

    Raises:
        InputError: The file is missing, damaged, or neither PNG nor JPEG.
    """
    return np.asarray(read_picture(path, "RGBA"))


def cloud_keys(root: Path) -> set[str]:
    """`category/name` of every cloud in `root`."""
    folder = root / "ShapeNet"
    return {
        f"{category}/{name[:-4]}"
        for category in _folders(folder)
        for name in list_folder(folder / category)
        if name.lower().endswith(".ply")
    }


def rendering_keys(root: Path) -> set[str]:
    """`category/name` of every folder of renderings in `root`, also of empty ones."""
    folder = root / "ShapeNetRendering"
    return {
        f"{category}/{name}"
        for category in _folders(folder)
        for name in _folders(folder / category)
        if os.path.isdir(folder / category / name / "rendering")
    }


def _folders(folder: Path) -> list[str]:
    return [name for name in list_folder(folder) if os.path.isdir(folder / name)]
