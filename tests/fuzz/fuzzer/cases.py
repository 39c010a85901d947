"""What is read: a target's own files, its collection of known attacks, and as many mutations of these as one likes."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fuzzer.formats import mutate

Files = dict[str, bytes | str]
"""Files of a folder by their relative names; text instead of bytes is one of `PLACES`, or `link <where>`."""
PLACES = ("folder", "pipe", "sparse", "link /dev/zero", "link nowhere", "link .")
SPARSE = 100 << 30  # bytes, none of them on the disk


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        name: On the command line.
        seeds: Makes small files that are read without complaint.
        read: Reads them in a folder; may write beside them.
        attacks: Makes inputs that once did harm, by name; each has to be refused or read.
        program: Whether the input says what is computed, so that it may ask for memory and fail.
        seal: Writes checksums anew into damaged files, as whoever damages them on purpose would.
    """

    name: str
    seeds: Callable[[], list[Files]]
    read: Callable[[Path], object]
    attacks: Callable[[], dict[str, Files]] = field(default=dict)
    program: bool = False
    seal: Callable[[Files], Files] = dict


class Cases:
    """The cases of a target, numbered: seeds, attacks, mutations. The same seed and number give the same files."""

    def __init__(self, target: Target, seed: int) -> None:
        self._name, self._seed, self._seal = target.name, seed, target.seal
        self.seeds = target.seeds()
        self._attacks = list(target.attacks().values())

    def __getitem__(self, number: int) -> Files:
        if number < len(self.seeds):
            return self.seeds[number]
        if number < len(self.seeds) + len(self._attacks):
            return self._attacks[number - len(self.seeds)]
        rng = Random(f"{self._name} {self._seed} {number}")
        files = dict(rng.choice(self.seeds))
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            name = rng.choice(list(files))
            content = files[name]
            if rng.randrange(100) == 0:
                files[name] = rng.choice(PLACES)
            elif rng.randrange(200) == 0 and len(files) > 1:
                del files[name]
            elif isinstance(content, bytes):
                files[name] = mutate(name, content, rng)
        if rng.randrange(4):
            with contextlib.suppress(Exception):  # nothing is left that could be sealed
                return self._seal(files)
        return files


def write(files: Files, folder: Path) -> None:
    """Write files into a folder."""
    for name, content in files.items():
        path = folder / name
        for parent in reversed(path.parents):  # not by recursion: there may be a thousand
            if not parent.exists():
                parent.mkdir()
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content == "folder":
            path.mkdir()
        elif content == "pipe":
            os.mkfifo(path)
        elif content == "sparse":
            with path.open("wb") as file:
                file.truncate(SPARSE)
        else:
            path.symlink_to(content.removeprefix("link "))
