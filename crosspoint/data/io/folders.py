"""The files to read in folders, and what is passed over there."""

import fnmatch
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crosspoint.core.errors import InputError
from crosspoint.core.reading import list_folder, read_start
from crosspoint.data.io import clouds, meshes, scans
from crosspoint.data.io.formats.gltf import buffer_file
from crosspoint.data.io.formats.text import START, may_be_points
from crosspoint.data.io.inflate import format_of

SUFFIXES = clouds.SUFFIXES | meshes.SUFFIXES | scans.SUFFIXES
PROSE = (".txt", ".csv")  # that hold other things than points, too
SCENE_BYTES = 64 << 20  # of a .gltf whose buffers are looked up
SHOWN = 8  # suffixes that are listed


@dataclass(frozen=True)
class Patterns:
    """Which files of a folder are read: those that match one of `include`, if there is any, and none of `exclude`.

    A pattern such as `*.ply` or `scans/*` is compared with a file's name and with its path within the folder.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def allow(self, path: str) -> bool:
        """Whether a file is read, by its path within the folder."""
        return (not self.include or _matches(path, self.include)) and not _matches(path, self.exclude)


ALL = Patterns()


@dataclass
class Listing:
    """What a search found.

    Attributes:
        files: To read; a folder that cannot be listed is among them, so that reading it says why.
        passed: How many files were passed over, by suffix.
    """

    files: list[Path] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)

    def summary(self) -> str:
        """E.g. `13 files passed over: 12 .las, 1 .txt`; empty if there were none."""
        if not self.passed:
            return ""
        shown = [f"{count:,} {suffix or 'without a suffix'}" for suffix, count in self.passed.most_common(SHOWN)]
        rest = self.passed.total() - sum(count for _, count in self.passed.most_common(SHOWN))
        total = self.passed.total()
        return f"{total:,} file{'s' * (total > 1)} passed over: {', '.join(shown + [f'{rest:,} others'] * (rest > 0))}"


def search_folder(folder: Path, patterns: Patterns = ALL, *, columns: str | None = None) -> Listing:
    """The files in a folder and below that can be read, without recursion: folders may lie thousands deep.

    Hidden files are passed over without a word, and links are followed. Passed over and counted are files of other
    formats, `.txt` and `.csv` that are plainly no points (prose, poses, labels, calibrations) or lack the columns that
    the user names, and the buffers of `.gltf` files beside them.

    Raises:
        InputError: The folder cannot be listed.
    """
    found = Listing()
    visited: set[tuple[int, int]] = set()  # a link may lead back to a folder above it
    waiting = [str(folder)]
    while waiting:
        place = waiting.pop()
        try:
            status = os.stat(place)
            with os.scandir(place) as entries:
                listed = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError:
            found.files.append(Path(place))
            continue
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        folders = [entry for entry in listed if _is_folder(entry)]
        waiting += sorted((entry.path for entry in folders), reverse=True)
        files = [Path(entry.path) for entry in set(listed) - set(folders)]
        wanted = [path for path in files if patterns == ALL or patterns.allow(os.path.relpath(path, folder))]
        buffers = _buffers(files) if any(path.suffix.lower() == ".bin" for path in wanted) else set()
        for path in wanted:
            if path not in buffers and _may_be_read(path, columns):
                found.files.append(path)
            else:
                found.passed[path.suffix.lower()] += 1
    if found.files == [folder]:
        list_folder(folder)  # says why it cannot be
    return found


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns for name in (path, os.path.basename(path)))


def _may_be_read(path: Path, columns: str | None) -> bool:
    suffix = format_of(path)
    if suffix not in SUFFIXES:
        return False
    if path.suffix.lower() not in PROSE:
        return True
    try:
        return may_be_points(read_start(path, START), columns)
    except InputError:
        return True  # reading it says why it cannot be


def _buffers(files: Sequence[Path]) -> set[Path]:
    """The files in which the `.gltf` among these have their buffers."""
    found = set()
    for path in files:
        if path.suffix.lower() == ".gltf":
            try:
                scene = json.loads(read_start(path, SCENE_BYTES))
                found |= {buffer_file(entry, path.parent) for entry in scene["buffers"]}
            except (InputError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
                found.add(path.with_suffix(".bin"))  # reading the .gltf says what is wrong with it
    return {path for path in found if path is not None}


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
