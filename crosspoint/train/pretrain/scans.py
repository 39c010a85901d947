"""Scans of the objects of a training set: what a depth camera or a LiDAR saw of them, by `crosspoint data scan`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crosspoint.core.errors import InputError
from crosspoint.train.pretrain.pairs import PairSource, open_source
from crosspoint.train.pretrain.recipes import Recipe


@dataclass(frozen=True)
class TrainingSet:
    """What a run learns from.

    Attributes:
        pairs: Pairs of clouds and renderings, in ShapeNetRender's layout or packed.
        scans: Scans of the same objects, as `crosspoint data scan` writes them, or packed: the single views of a recipe
            with `single_view`. None: views are cut from the clouds.
    """

    pairs: Path
    scans: Path | None = None

    def open(self, recipe: Recipe) -> "tuple[PairSource, ScannedSides | None]":
        """Open both.

        Raises:
            InputError: A folder holds no set, an object has no scan, or the recipe has no use for scans.
        """
        source = open_source(self.pairs)
        if self.scans is None:
            return source, None
        if not recipe.single_view:
            raise InputError("the recipe has no use for --scans; add --set single_view=true, or leave --scans out")
        if recipe.elastic:
            raise InputError("elastic distortion moves a cloud and not its scans; add --set elastic=false")
        return source, ScannedSides(open_source(self.scans), source.keys, folder=self.scans)


class ScannedSides:
    """Scans by object: `c/chair_00`, `c/chair_01` and so on of the scans' set are of `c/chair`.

    Args:
        source: The set of scans.
        keys: The objects.
        folder: Where the set is, for messages.

    Raises:
        InputError: An object has no scan.
    """

    def __init__(self, source: PairSource, keys: Sequence[str], *, folder: Path) -> None:
        self.source = source
        numbers: dict[str, list[int]] = {}
        for number, key in enumerate(source.keys):
            numbers.setdefault(key.rpartition("_")[0], []).append(number)
        missing = [key for key in keys if key not in numbers]
        if missing:
            raise InputError(
                f"{folder} has no scan of {missing[0]} ({len(missing)} of {len(keys)} objects have none); scan the "
                "meshes that were rendered with `crosspoint data scan`"
            )
        self._numbers = [numbers[key] for key in keys]

    def draw(self, i: int, count: int, *, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Some points `(count, 3)` of one scan of object i.

        Raises:
            InputError: The scan has fewer points, or cannot be read.
        """
        number = int(rng.choice(self._numbers[i]))
        points = self.source.points(number)
        if len(points) < count:
            raise InputError(
                f"scan {self.source.keys[number]} has {len(points)} points, the recipe asks for {count}; "
                f"--set points={len(points)} or scan with --points {count}"
            )
        return points[rng.choice(len(points), count, replace=False)]
