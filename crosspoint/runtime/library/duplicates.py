"""Finds duplicates in a library: pairs with near embeddings, each checked on the objects themselves."""

import csv
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError, require
from crosspoint.core.files import atomic_file
from crosspoint.core.outputs import check_file
from crosspoint.core.results import OPTIONAL, Result
from crosspoint.data.frames import Frame
from crosspoint.runtime.jobs.batches import Skipped
from crosspoint.runtime.jobs.embed import embed
from crosspoint.runtime.jobs.parts import JOB, PartOptions
from crosspoint.runtime.jobs.search import Index, open_index, originals_of
from crosspoint.runtime.library.checks import Checks, Duplicate
from crosspoint.runtime.library.groups import group
from crosspoint.runtime.library.limits import COPY, LEVELS, SAME, limits_of
from crosspoint.runtime.library.objects import Objects
from crosspoint.runtime.library.pairs import Wanted, find_pairs
from crosspoint.runtime.library.surface import Array
from crosspoint.runtime.options import Reading, RunOn, Sampling
from crosspoint.runtime.released import DEFAULT

COLUMNS = ("group", "name", "level", "distance", "surface")
EMBEDDINGS = (".npz", ".parquet")


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
        columns: Columns of text and binary files that the user named.
        unread: Number of objects whose files were not found or could not be read.
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
    columns: str | None = field(default=None, metadata=OPTIONAL)
    unread: int = 0


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
        MissingDependency: scipy is not installed.
    """
    start = time.perf_counter()
    require("scipy.spatial", "eval", purpose="finding duplicates")
    options.check()
    if not library:
        raise InputError("no inputs were given; give embeddings, or folders of objects")
    paths = [Path(given) for given in library]
    if out is not None:
        check_file(Path(out), inputs=paths, within=True, suffixes=(".csv",))
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
    names = [name for piece in index.pieces() for name in piece.names]
    originals = originals_of(index, files)
    objects = Objects(originals)
    measured = objects.measures(names)
    wanted = _wanted(index, options, measured)
    found = find_pairs(index.pieces, wanted)
    checked = Checks(names, objects, level=options.level, similar=wanted.similar)
    links = checked.links(found, order=_ranks(measured))
    groups = tuple(
        DuplicateGroup(
            names[kept],
            tuple(replace(links[min(kept, other), max(kept, other)], name=names[other]) for other in others),
        )
        for kept, others in group(links, names)
    )
    return DuplicatesResult(
        library=[str(index.path)],
        base=str(originals.base),
        level=options.level,
        within=wanted.limit,
        copy_within=COPY,
        same_within=SAME,
        model_sha256=index.model_sha256,
        draws=index.draws,
        size=len(names),
        pairs=len(found.first) + found.unmeasured,
        unchecked=found.unmeasured,
        groups=groups,
        skipped=(),
        out=None,
        seconds=0.0,
        frame=index.frame,
        columns=index.columns,
        unread=int(np.isnan(measured).any(axis=1).sum()),
    )


def _wanted(index: Index, options: DuplicatesOptions, measured: Array) -> Wanted:
    """Which pairs are checked: up to the distance that was given, else up to that of the model or at equal measures."""
    similar = options.level == "similar"
    if options.within is not None:
        return Wanted(options.within, options.within if similar else None, measured)
    limits = limits_of(index.model_sha256, index.draws)
    if limits is not None:
        return Wanted(limits.of("same"), limits.of("similar") if similar else None, measured, far=True)
    if similar:
        raise InputError(f"there are no limits of distance for {index.model}; give --within DISTANCE, e.g. 0.02")
    return Wanted(0.0, None, measured, far=True)


def _ranks(measured: Array) -> NDArray[np.intp]:
    """The order `(n,)` in which objects with like measures follow each other, so that they are in memory together."""
    return np.argsort(np.argsort(measured[:, -1], kind="stable"), kind="stable")


def _write(path: Path, groups: Sequence[DuplicateGroup]) -> None:
    with atomic_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for number, each in enumerate(groups, 1):
            table.writerow((number, each.kept, "kept", 0, 0))
            for one in each.duplicates:
                surface = "" if one.surface is None else f"{one.surface:.6g}"
                table.writerow((number, one.name, one.level, f"{one.distance:.6g}", surface))
