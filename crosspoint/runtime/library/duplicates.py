"""Finds duplicates in a library: pairs with near embeddings, each checked on the objects themselves."""

import csv
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file
from crosspoint.core.outputs import check_file
from crosspoint.core.results import OPTIONAL, Result
from crosspoint.data.frames import Frame
from crosspoint.runtime.jobs.batches import Skipped
from crosspoint.runtime.jobs.embed import embed
from crosspoint.runtime.jobs.originals import Originals
from crosspoint.runtime.jobs.parts import JOB, PartOptions
from crosspoint.runtime.jobs.search import Index, open_index
from crosspoint.runtime.library.groups import group
from crosspoint.runtime.library.limits import COPY, LEVELS, SAME, limits_of
from crosspoint.runtime.library.objects import Objects
from crosspoint.runtime.library.pairs import near_pairs
from crosspoint.runtime.library.register import could_match, register
from crosspoint.runtime.library.surface import surface_distance
from crosspoint.runtime.options import Reading, RunOn, Sampling
from crosspoint.runtime.released import DEFAULT

COLUMNS = ("group", "name", "level", "distance", "surface")
EMBEDDINGS = (".npz", ".parquet")


@dataclass(frozen=True)
class Duplicate:
    """A duplicate of the kept object of its group.

    Attributes:
        name: Name in the embeddings.
        level: `"copy"`, `"same"` or `"similar"`.
        distance: Cosine distance of the embeddings.
        surface: Upper bound of the distance of the surfaces, as a share of their root mean square radius; 0 for equal
            content; None: not measured, or larger than the limit.
    """

    name: str
    level: str
    distance: float
    surface: float | None


@dataclass(frozen=True)
class DuplicateGroup:
    """An object to keep, and its duplicates."""

    kept: str
    duplicates: tuple[Duplicate, ...]


@dataclass(frozen=True)
class DuplicatesResult(Result):
    """The duplicates in a library.

    Attributes:
        library: Embeddings, or the folders that were embedded.
        base: The folder that names are relative to.
        level: The level asked for.
        within: Cosine distance up to which pairs were checked.
        copy_within: Largest distance of the surfaces of copies, as a share of their root mean square radius.
        same_within: The same for one shape, turned or mirrored.
        model_sha256: SHA-256 of the model of the embeddings.
        draws: Draws of points from each object, whose embeddings were averaged.
        size: Number of objects.
        pairs: Number of pairs that were near enough to be checked.
        unchecked: Number of these whose files were not found or could not be read.
        groups: The groups, largest first.
        skipped: Inputs that were not embedded.
        out: The CSV file; None: not written.
        seconds: Run time.
        frame: In which the objects are stored; None of embeddings that do not say. They were turned to y-up.
    """

    schema: ClassVar[str] = "crosspoint.duplicates/1"

    library: list[str]
    base: str
    level: str
    within: float
    copy_within: float
    same_within: float
    model_sha256: str
    draws: int
    size: int
    pairs: int
    unchecked: int
    groups: tuple[DuplicateGroup, ...]
    skipped: tuple[Skipped, ...]
    out: str | None
    seconds: float
    frame: Frame | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class DuplicatesOptions:
    """Which objects are duplicates.

    Attributes:
        level: `"copy"`, `"same"` (copies too) or `"similar"` (all three).
        within: Cosine distance up to which pairs are checked; None: the limit that was measured for the model.
    """

    level: str = "same"
    within: float | None = None

    def check(self) -> None:
        """Check the values.

        Raises:
            InputError: There is no such level, or the distance is out of range.
        """
        if self.level not in LEVELS:
            raise InputError(f"unknown level {self.level!r}; known are {', '.join(LEVELS)}")
        if self.within is not None and not 0 <= self.within <= 2:
            raise InputError(f"--within is {self.within}; give a cosine distance from 0 to 2")


def duplicates(
    library: Sequence[Path],
    options: DuplicatesOptions = DuplicatesOptions(),
    *,
    out: Path | None = None,
    files: Path | None = None,
    model: Path | str = DEFAULT,
    sampling: Sampling = Sampling(),
    run_on: RunOn = RunOn(),
    reading: Reading = Reading(),
) -> DuplicatesResult:
    """Find objects that a library holds more than once.

    Embeddings choose the pairs to check. A copy has the same content, or the same surface once both are moved to one
    place and scaled to one size. The same shape has the same surface after a rotation or a reflection. Similar objects
    are told by the embeddings alone.

    Args:
        library: Embeddings of `crosspoint embed` (one file, or one folder of parts), or folders and files to embed.
        options: Level, and how near embeddings are whose objects are checked.
        out: A CSV file with the columns `COLUMNS`, one row for each object of a group, the kept one first.
        files: Folder of the embedded files, if it has moved.
        model: Model that embeds folders.
        sampling: Points of each object, seed, draws and the axis that points up, for folders.
        run_on: Device and backend of the model.
        reading: How files are found and read, for folders.

    Returns:
        The groups; in each, every object is within the level of the kept one.

    Raises:
        InputError: The library or an option cannot be used, or there are no limits for the model.
    """
    start = time.perf_counter()
    options.check()
    if not library:
        raise InputError("no inputs were given; give embeddings, or folders of objects")
    paths = [Path(given) for given in library]
    if out is not None:
        check_file(Path(out), kind=".csv", inputs=paths, within=True)
    if any(map(is_embeddings, paths)):
        if len(paths) > 1:
            raise InputError(
                "embeddings were given with other inputs; give one file or folder of embeddings, or folders of objects"
            )
        index = open_index(paths[0])
        if sampling != Sampling() or reading != Reading():
            raise InputError(
                "--points, --seed, --draws, --up, --columns, --include and --exclude are for folders of objects; leave "
                "them out for embeddings"
            )
        result = _find(index, options, files)
    else:
        with tempfile.TemporaryDirectory(prefix="crosspoint-") as space:
            made = embed(
                model,
                paths,
                out=f"{space}/parts/",
                sampling=sampling,
                run_on=run_on,
                parts=PartOptions(form="npz"),
                reading=reading,
            )
            if not made.embedded:
                first = f"; the first: {made.skipped[0].file}: {made.skipped[0].reason}" if made.skipped else ""
                raise InputError(f"none of the inputs could be embedded{first}")
            found = paths[0] if len(paths) == 1 and paths[0].is_dir() else None
            result = replace(_find(open_index(Path(space, "parts")), options, found), skipped=made.skipped)
    if out is not None:
        _write(Path(out), result.groups)
    written = None if out is None else str(out)
    return replace(result, library=list(map(str, paths)), out=written, seconds=time.perf_counter() - start)


def is_embeddings(path: Path) -> bool:
    """Whether a path holds embeddings, rather than objects to embed."""
    return (path.suffix in EMBEDDINGS and not path.is_dir()) or (path / JOB).is_file()


def _find(index: Index, options: DuplicatesOptions, files: Path | None) -> DuplicatesResult:
    level, within = options.level, options.within
    limit = limits_of(index.model_sha256, index.draws, model=index.model).of(level) if within is None else within
    base = index.base if files is None else Path(files)
    names = [name for piece in index.pieces() for name in piece.names]
    near = near_pairs(index.pieces, limit)
    checked = _Checks(names, Objects(Originals(base, files, index.given)), level)
    pairs = zip(near.first.tolist(), near.second.tolist(), near.distance.tolist(), strict=True)
    links = checked.links(track(list(pairs), "Checking pairs"))
    groups = tuple(
        DuplicateGroup(
            names[kept],
            tuple(replace(links[min(kept, other), max(kept, other)], name=names[other]) for other in others),
        )
        for kept, others in group(links, names)
    )
    return DuplicatesResult(
        library=[str(index.path)],
        base=str(base),
        level=level,
        within=limit,
        copy_within=COPY,
        same_within=SAME,
        model_sha256=index.model_sha256,
        draws=index.draws,
        size=len(names),
        pairs=len(near.first),
        unchecked=checked.unchecked,
        groups=groups,
        skipped=(),
        out=None,
        seconds=0.0,
        frame=index.frame,
    )


class _Checks:
    """Checks the objects of near pairs; each pair of contents is compared once, however many files hold them."""

    def __init__(self, names: Sequence[str], objects: Objects, level: str) -> None:
        self._names, self._objects, self._level = names, objects, level
        self._contents: dict[int, str | None] = {}
        self._known: dict[tuple[str, str], tuple[str, float | None]] = {}
        self.unchecked = 0

    def links(self, pairs: Iterable[tuple[int, int, float]]) -> dict[tuple[int, int], Duplicate]:
        """The pairs that are duplicates at this level, without a name."""
        found: dict[tuple[int, int], Duplicate] = {}
        for i, j, distance in pairs:
            level, surface = self._check(i, j)
            if LEVELS.index(level) <= LEVELS.index(self._level):
                found[i, j] = Duplicate("", level, distance, surface)
        return found

    def _check(self, i: int, j: int) -> tuple[str, float | None]:
        """Level of a near pair, and the distance of the surfaces."""
        a, b = self._content(i), self._content(j)
        if a is None or b is None:
            self.unchecked += 1
            return "similar", None
        if a == b:
            return "copy", 0.0
        key = min(a, b), max(a, b)
        if key not in self._known:
            self._known[key] = self._compare(i, j)
        return self._known[key]

    def _content(self, i: int) -> str | None:
        if i not in self._contents:
            self._contents[i] = self._objects.content(self._names[i])
        return self._contents[i]

    def _compare(self, i: int, j: int) -> tuple[str, float | None]:
        a, b = self._objects.surface(self._names[i]), self._objects.surface(self._names[j])
        if a is None or b is None:
            self.unchecked += 1
            return "similar", None
        if not could_match(a, b):
            return "similar", None
        apart = surface_distance(a, b, enough=COPY / 2)
        if apart > COPY and self._level != "copy":
            apart = min(apart, register(a, b, enough=SAME / 2))
            return ("same", apart) if apart <= SAME else ("similar", None)
        return ("copy", apart) if apart <= COPY else ("similar", None)


def _write(path: Path, groups: Sequence[DuplicateGroup]) -> None:
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for number, each in enumerate(groups, 1):
            table.writerow((number, each.kept, "kept", 0, 0))
            for one in each.duplicates:
                surface = "" if one.surface is None else f"{one.surface:.6g}"
                table.writerow((number, one.name, one.level, f"{one.distance:.6g}", surface))
