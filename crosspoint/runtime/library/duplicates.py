"""Duplicates in a library: near embeddings, each pair checked on the objects themselves."""

import csv
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file
from crosspoint.core.outputs import check_file
from crosspoint.core.results import Result
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
from crosspoint.runtime.options import RunOn, Sampling
from crosspoint.runtime.released import DEFAULT

COLUMNS = ("group", "name", "level", "distance", "surface")
EMBEDDINGS = (".npz", ".parquet")


@dataclass(frozen=True)
class Duplicate:
    """An object that is near the kept one of its group.

    Attributes:
        name: As in the embeddings.
        level: `"copy"`, `"same"` or `"similar"`.
        distance: Cosine distance of the embeddings.
        surface: The surfaces are nowhere farther apart, as a share of their root mean square radius; 0 of equal
            content, None where it was not measured or is no small one.
    """

    name: str
    level: str
    distance: float
    surface: float | None


@dataclass(frozen=True)
class DuplicateGroup:
    """An object to keep, and those that can go."""

    kept: str
    duplicates: tuple[Duplicate, ...]


@dataclass(frozen=True)
class DuplicatesResult(Result):
    """The duplicates in a library.

    Attributes:
        library: Embeddings, or the folders that were embedded.
        base: The folder that names are relative to.
        level: As asked for.
        within: Cosine distance within which pairs were looked at.
        copy_within: Largest distance of the surfaces of copies, as a share of their root mean square radius.
        same_within: The same of one shape, turned or mirrored.
        model_sha256: Of the model that made the embeddings.
        draws: Of points from each object, whose embeddings were averaged.
        size: Objects.
        pairs: That were near enough to be looked at.
        unchecked: Of them, those whose files were not found or could not be read.
        groups: Largest first.
        skipped: Inputs that were not embedded.
        out: The CSV; None if none was asked for.
        seconds: What it took.
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


def duplicates(
    library: Sequence[Path],
    level: str = "same",
    *,
    out: Path | None = None,
    within: float | None = None,
    files: Path | None = None,
    model: Path | str = DEFAULT,
    sampling: Sampling = Sampling(),
    run_on: RunOn = RunOn(),
) -> DuplicatesResult:
    """Find objects that are there more than once.

    Embeddings say which pairs are worth a look. A copy has equal content, or its surface lies on that of the other once
    both are at one place and size. The same shape does so after a turn or in a mirror. What is similar is told by the
    embeddings alone.

    Args:
        library: Embeddings of `crosspoint embed` (one file, or one folder of parts), or folders and files to embed.
        level: `"copy"`, `"same"` (copies too) or `"similar"` (all three).
        out: A CSV with the columns `COLUMNS`, one row for each object of a group, the kept one first.
        within: Cosine distance up to which pairs are looked at; None for what was measured of the model.
        files: Folder that the names in embeddings are relative to, if what was embedded is no longer where it was.
        model: Embeds folders.
        sampling: Points of each object, seed and draws, of folders.
        run_on: Where the model runs.

    Returns:
        The groups; in each, every object is within the level of the kept one.

    Raises:
        InputError: The library or an option cannot be used, or the model's distances were not measured.
    """
    start = time.perf_counter()
    if level not in LEVELS:
        raise InputError(f"unknown level {level!r}; known are {', '.join(LEVELS)}")
    if within is not None and not 0 <= within <= 2:
        raise InputError(f"--within {within} is no cosine distance; give 0 to 2")
    if not library:
        raise InputError("no library was given; give embeddings, or folders of objects")
    paths = [Path(given) for given in library]
    if out is not None:
        check_file(Path(out), kind=".csv", inputs=paths, within=True)
    if any(map(is_embeddings, paths)):
        if len(paths) > 1:
            raise InputError("embeddings are one library; give one file or folder of them, or folders of objects")
        result = _find(open_index(paths[0]), level, within, files)
    else:
        with tempfile.TemporaryDirectory(prefix="crosspoint-") as space:
            made = embed(
                model, paths, out=f"{space}/parts/", sampling=sampling, run_on=run_on, parts=PartOptions(form="npz")
            )
            if not made.embedded:
                first = f"; the first: {made.skipped[0].file}: {made.skipped[0].reason}" if made.skipped else ""
                raise InputError(f"not one of the inputs could be embedded{first}")
            found = paths[0] if len(paths) == 1 and paths[0].is_dir() else None
            result = replace(_find(open_index(Path(space, "parts")), level, within, found), skipped=made.skipped)
    if out is not None:
        _write(Path(out), result.groups)
    written = None if out is None else str(out)
    return replace(result, library=list(map(str, paths)), out=written, seconds=time.perf_counter() - start)


def is_embeddings(path: Path) -> bool:
    """Whether a path is that of embeddings, rather than of objects to embed."""
    return (path.suffix in EMBEDDINGS and not path.is_dir()) or (path / JOB).is_file()


def _find(index: Index, level: str, within: float | None, files: Path | None) -> DuplicatesResult:
    limit = limits_of(index.model_sha256, index.draws, model=index.model).of(level) if within is None else within
    base = index.base if files is None else Path(files)
    names = [name for piece in index.pieces() for name in piece.names]
    near = near_pairs(index.pieces, limit)
    checked = _Checks(names, Objects(Originals(base, files)), level)
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
    )


class _Checks:
    """Looks at the objects of near pairs; each content is compared once, however many files hold it."""

    def __init__(self, names: Sequence[str], objects: Objects, level: str) -> None:
        self._names, self._objects, self._level = names, objects, level
        self._contents: dict[int, str | None] = {}
        self._known: dict[tuple[str, str], tuple[str, float | None]] = {}
        self.unchecked = 0

    def links(self, pairs: Iterable[tuple[int, int, float]]) -> dict[tuple[int, int], Duplicate]:
        """Those of the pairs that are duplicates of the level, without a name."""
        found: dict[tuple[int, int], Duplicate] = {}
        for i, j, distance in pairs:
            level, surface = self._check(i, j)
            if LEVELS.index(level) <= LEVELS.index(self._level):
                found[i, j] = Duplicate("", level, distance, surface)
        return found

    def _check(self, i: int, j: int) -> tuple[str, float | None]:
        """The level of a pair that is at least similar, and how far the surfaces lie apart."""
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
