"""Finds the files of embeddings by their names."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosspoint.data.frames import Up, to_y_up
from crosspoint.data.io.files import iterate_points, read_points, up_of
from crosspoint.data.objects.scan import cloud_of, read_scans
from crosspoint.data.points import Coordinates
from crosspoint.data.reading import Reading
from crosspoint.data.sources import Source, find_sources


@dataclass(frozen=True)
class Originals:
    """The files of embeddings. Names in embeddings are not trusted: only files within `base` are opened.

    Attributes:
        base: Folder that names are relative to.
        files: The same folder, if the user gave it; data sets are searched for only there.
        up: Axis that points up in all of them; None: as each format states, else `assumed`.
        assumed: Axis that points up where nothing states it.
        boxes: Lowest and highest x, y, z (2, 3) of objects of scans by name, in the scan's own frame.
        columns: Columns of text and binary files that the user named when they were embedded.
    """

    base: Path
    files: Path | None = None
    up: Up | None = None
    assumed: Up = "y"
    boxes: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    columns: str | None = None
    _last: dict[Path, list[Coordinates]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def path(self, name: str) -> Path | None:
        """The file with this name, unless it is outside the folder; None for one of several clouds of a file."""
        path = Path(os.path.normpath(self.base / name))
        return path if path.is_relative_to(os.path.normpath(self.base)) and _is_file(path) else None

    def up_of(self, path: Path) -> Up:
        """The axis that points up in a file: as it was embedded."""
        return self.up or up_of(path) or self.assumed

    def points(self, path: Path, count: int | None = None) -> Coordinates:
        """The clouds `(n, N, 3)` of a file, y-up, each with at most `count` points; None: all.

        Raises:
            InputError: It cannot be read.
        """
        up = self.up_of(path)
        return read_points(path, count, seed=0, at_most=count is not None, columns=self.columns, up=up)

    def cloud(self, name: str) -> Coordinates | None:
        """A cloud `(N, 3)`, y-up: an object of a scan, one of several of a file, `file#3`, or one of a data set.

        Returns:
            The cloud, or None if there is none.

        Raises:
            InputError: Its file cannot be read.
        """
        stem, _, number = name.rpartition("#")
        path = self.path(stem)
        if name in self.boxes:
            return None if path is None else self._of_scan(path, cloud_of(name), self.boxes[name])
        found: Coordinates | None
        if path is not None and number.isdecimal():
            several = self._clouds(path, lambda: self._iterate(path))
            found = several[int(number)] if int(number) < len(several) else None
        else:
            source = self._sets.get(name)
            found = None if source is None else source.read()[0]
        return found

    def _of_scan(self, path: Path, cloud: int, box: NDArray[np.float64]) -> Coordinates | None:
        """The points in a box, of a scan in a file of one or several."""
        scans = self._clouds(path, lambda: read_scans(path, columns=self.columns))
        if cloud >= len(scans):
            return None
        points, (low, high) = scans[cloud], box
        return to_y_up(points[((points >= low) & (points <= high)).all(axis=1)], self.up_of(path))

    def _iterate(self, path: Path) -> Iterable[Coordinates]:
        return iterate_points(path, None, seed=0, columns=self.columns, up=self.up_of(path))

    def _clouds(self, path: Path, read: Callable[[], Iterable[Coordinates]]) -> list[Coordinates]:
        """All clouds of a file, which are kept until another file is asked for."""
        if path not in self._last:
            self._last.clear()
            self._last[path] = list(read())
        return self._last[path]

    @cached_property
    def _sets(self) -> Mapping[str, Source]:
        """The clouds in the user's folder, by name."""
        found = (
            []
            if self.files is None
            else find_sources([self.files], None, seed=0, reading=Reading(self.columns), up=self.up)
        )
        return {source.name: source for source in found}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a NUL byte
        return False
