"""Finds the files of embeddings by their names."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from crosspoint.data.frames import Up
from crosspoint.data.io.files import read_points, up_of
from crosspoint.data.points import Coordinates
from crosspoint.data.sources import Source, find_sources


@dataclass(frozen=True)
class Originals:
    """The files of embeddings. Names in embeddings are not trusted: only files within `base` are opened.

    Attributes:
        base: Folder that names are relative to.
        files: The same folder, if the user gave it; data sets are searched for only there.
        up: Axis that points up in all of them; None: as each format states, else y.
    """

    base: Path
    files: Path | None = None
    up: Up | None = None
    _last: dict[Path, Coordinates] = field(default_factory=dict, init=False, repr=False, compare=False)

    def path(self, name: str) -> Path | None:
        """The file with this name, unless it is outside the folder; None for one of several clouds of a file."""
        path = Path(os.path.normpath(self.base / name))
        return path if path.is_relative_to(os.path.normpath(self.base)) and _is_file(path) else None

    def up_of(self, path: Path) -> Up:
        """The axis that points up in a file: as it was embedded."""
        return self.up or up_of(path) or "y"

    def cloud(self, name: str) -> Coordinates | None:
        """A cloud `(N, 3)` from a file with several, `file#3`, or from a data set; None if there is none.

        Raises:
            InputError: Its file cannot be read.
        """
        stem, _, number = name.rpartition("#")
        path = self.path(stem)
        if path is not None and number.isdecimal():
            if path not in self._last:  # its other clouds are needed next
                self._last.clear()
                self._last[path] = read_points(path, None, seed=0, up=self.up_of(path))
            several = self._last[path]  # (n, N, 3)
            found: Coordinates | None = several[int(number)] if int(number) < len(several) else None
        else:
            source = self._sets.get(name)
            found = None if source is None else source.read()[0]
        return found

    @cached_property
    def _sets(self) -> Mapping[str, Source]:
        """The clouds in the user's folder, by name."""
        found = [] if self.files is None else find_sources([self.files], None, seed=0, up=self.up)
        return {source.name: source for source in found}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # too long, or with a NUL byte
        return False
