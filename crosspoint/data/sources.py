"""Finds the inputs of an embedding job, names their clouds, and reads them ahead of their use."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crosspoint.core.console import timed
from crosspoint.core.errors import CheckFailed, InputError, MissingDependency
from crosspoint.core.files import sha256
from crosspoint.core.reading import regular
from crosspoint.core.system.processes import available_cpus
from crosspoint.data.frames import ASSUMED, Frame, Up, find_frame, to_y_up
from crosspoint.data.io.files import as_input_error, find_files, read_points, up_of
from crosspoint.data.io.inflate import format_of
from crosspoint.data.io.scans.bags import split_topic
from crosspoint.data.objects.clouds import ObjectClouds
from crosspoint.data.points import Coordinates, Points, drawing, normalise, sample_points
from crosspoint.data.reading import Reading
from crosspoint.data.sets.datasets import PairedRenders, load_classification, load_parts
from crosspoint.data.sets.layout import find_sets
from crosspoint.data.sets.renders import up_of_set

MOST_THREADS = 4  # that read if there are no reader processes; more would wait for Python's lock
CHUNK = 8  # sources that a reader process takes at once
Clouds = Points | ObjectClouds  # (n, N, 3), or objects of different numbers of points
MOST_BYTES = 16 << 30  # largest file that is read


@dataclass(frozen=True)
class Source:
    """A file or array with one or more clouds.

    Attributes:
        name: Name of its cloud; several clouds are named `name#0`, `name#1`, ….
        origin: Path for error messages.
        read: Returns clouds `(n * draws, N, 3)`, y-up, the draws of a cloud one after the other, or raises InputError.
        stored: The file, or an array in memory.
        columns: Columns that the user asked for; None if the file decides.
        frame: Frame in which it is stored.
        draws: How often points are drawn from each cloud.
    """

    name: str
    origin: str
    read: Callable[[], Coordinates]
    stored: Path | Points
    columns: str | None = None
    frame: Frame = field(default=ASSUMED, kw_only=True)
    draws: int = field(default=1, kw_only=True)

    def size(self) -> int:
        """Size in bytes; -1 if the file cannot be opened."""
        return self._stamp()[0]

    def sha256(self) -> str:
        """SHA-256 of the content; empty if the file cannot be opened or is larger than `MOST_BYTES`."""
        if isinstance(self.stored, np.ndarray):
            return hashlib.sha256(np.ascontiguousarray(self.stored).data).hexdigest()
        try:
            return sha256(self.stored) if regular(self.stored).st_size <= MOST_BYTES else ""
        except (InputError, OSError):
            return ""

    def clouds(self) -> Clouds:
        """Its clouds, normalised as in training.

        Raises:
            InputError: It cannot be read.
        """
        return normalise(self.read())

    def load(self) -> tuple[Clouds | InputError, str]:
        """Read the clouds, normalised as in training, or the error; and the SHA-256 of the content."""
        before, content = self._stamp(), self.sha256()
        try:
            with timed(f"read {self.name}"):
                clouds: Clouds | InputError = self.clouds()
        except (InputError, MissingDependency) as error:
            clouds = as_input_error(error)
        if self._stamp() != before:
            return InputError(f"{self.origin}: changed while it was read; run embed again when it is complete"), ""
        return clouds, content

    def _stamp(self) -> tuple[int, ...]:
        """A value that changes whenever the file is written; the size comes first."""
        if isinstance(self.stored, np.ndarray):
            return (self.stored.nbytes,)
        try:
            status = self.stored.stat()
        except (OSError, ValueError):
            return (-1,)
        return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


class Loaded(NamedTuple):
    """A source after reading: its clouds `(n * draws, N, 3)` or an error, and the SHA-256 of its content."""

    source: Source
    clouds: Clouds | InputError
    sha256: str


def find_sources(
    inputs: Sequence[Path],
    count: int | None,
    *,
    seed: int,
    at_most: bool = False,
    draws: int = 1,
    reading: Reading = Reading(),
    up: Up | None = None,
    assumed: Up = "y",
) -> list[Source]:
    """Find the sources in files, folders and data sets, in the order of the inputs, without duplicates.

    The name of a file is its path relative to the input folder; with several inputs, relative to the deepest folder
    that contains them all. Clouds of a data set are named by split and position, `train/000012`, or by object,
    `synset/id`.

    Args:
        inputs: Files, folders (searched recursively) and folders of data sets.
        count: Points per cloud; None: all. Points are drawn at random from files and rendered objects; of
            classification and part sets the first ones are taken, as in the published protocols.
        seed: Random seed of the points that are drawn.
        at_most: Take clouds with fewer points than `count` as they are, instead of refusing them.
        draws: How often points are drawn from each cloud; the first ones of a set are taken once.
        reading: How files are found and read.
        up: The axis that points up in the inputs; None for what format or data set say, else `assumed`.
        assumed: The axis that is taken where nothing states it, which is announced.

    Raises:
        InputError: An input is missing or has nothing that can be read, or a data set has fewer points.
    """
    base = base_of(inputs)
    sources: list[Source] = []
    seen: set[str] = set()
    for given in inputs:
        if (dataset := _dataset(given)) is not None:
            if os.path.realpath(dataset[1]) not in seen:
                sources += _of_dataset(*dataset, _relative(given, base), count, seed, at_most, draws, up)
                seen.add(os.path.realpath(dataset[1]))
            continue
        for path in find_files([given], reading.patterns, columns=reading.columns):
            if os.path.realpath(path) not in seen:
                file = split_topic(path)[0]
                frame = find_frame(up, up_of(path), what=f"{format_of(file)} files", assumed=assumed)
                how = partial(read_points, seed=seed, at_most=at_most, draws=draws, up=frame.up)
                read, name = partial(how, path, count, columns=reading.columns), _relative(path, base)
                sources.append(Source(name, str(path), read, file, reading.columns, frame=frame, draws=draws))
                seen.add(os.path.realpath(path))
    return sources


def read_ahead(sources: Sequence[Source], ahead: int, *, processes: int = 0) -> Iterator[Loaded]:
    """Read sources in order; clouds are normalised as in training.

    About `ahead` sources are read in advance, by a few threads or by processes. Processes read faster, because Python
    threads share one lock, and take seconds to start.

    Raises:
        CheckFailed: A process was killed.
    """
    waiting: deque[tuple[Sequence[Source], Future[list[tuple[Clouds | InputError, str]]]]] = deque()
    pool = _readers(processes)
    try:
        for start in range(0, len(sources), CHUNK):
            chunk = sources[start : start + CHUNK]
            waiting.append((chunk, pool.submit(_load_chunk, chunk)))
            if len(waiting) > max(ahead // CHUNK, 2 * processes):
                yield from _finished(*waiting.popleft())
        while waiting:
            yield from _finished(*waiting.popleft())
    except BrokenExecutor as error:
        raise CheckFailed(
            "a reader process was killed, probably because memory ran out; try again with fewer --readers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _readers(processes: int) -> Executor:
    if processes:
        from crosspoint.core.system.pool import start_pool

        return start_pool(processes)
    return ThreadPoolExecutor(_threads(), thread_name_prefix="read")


def _threads() -> int:
    """One for each CPU that this process may use, at most `MOST_THREADS`."""
    return min(available_cpus(), MOST_THREADS)


def _finished(chunk: Sequence[Source], future: "Future[list[tuple[Clouds | InputError, str]]]") -> Iterator[Loaded]:
    return (Loaded(source, *found) for source, found in zip(chunk, future.result(), strict=True))


def _load_chunk(chunk: Sequence[Source]) -> list[tuple[Clouds | InputError, str]]:
    return [source.load() for source in chunk]


def content_of(sources: Sequence[Source]) -> list[str]:
    """SHA-256 of the content of each source; empty for a file that cannot be opened."""
    with ThreadPoolExecutor(_threads(), thread_name_prefix="hash") as pool:
        return list(pool.map(Source.sha256, sources))


def base_of(inputs: Sequence[Path]) -> str:
    """The folder that names are relative to: the one input folder, or the deepest folder that contains all inputs."""
    if len(inputs) == 1 and os.path.isdir(inputs[0]):
        return os.path.abspath(inputs[0])
    return os.path.commonpath([os.path.dirname(os.path.abspath(split_topic(path)[0])) for path in inputs])


def _relative(path: Path, base: str) -> str:
    name = Path(os.path.relpath(os.path.abspath(path), base)).as_posix()
    return "" if name == "." else _utf8(name)


def _utf8(name: str) -> str:
    r"""A name that is valid UTF-8: other bytes become `\xff`, so that different names stay different."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _dataset(folder: Path) -> tuple[str, Path] | None:
    """Format and folder of the data set in a folder; None for a folder of files.

    Raises:
        InputError: It holds several data sets, or a data set beside other files.
    """
    sets = find_sets(folder) if os.path.isdir(folder) else []
    if own := [found for found in sets if found[1] == folder]:
        return own[0]
    if not sets:
        return None
    if len(sets) == 1 and not any(sets[0][1] not in path.parents for path in _files(folder)):
        return sets[0]
    places = ", ".join(str(place) for _, place in sets)
    raise InputError(f"{folder} holds several data sets, or a data set beside other files; give one of: {places}")


def _files(folder: Path) -> list[Path]:
    try:
        return find_files([folder], tell=False)
    except InputError:
        return []


def _of_dataset(
    kind: str, root: Path, name: str, count: int | None, seed: int, at_most: bool, draws: int, up: Up | None
) -> list[Source]:
    prefix = f"{name}/" if name else ""
    frame = find_frame(up, up_of_set(kind, root), what=f"the clouds of {root}")
    if kind == "shapenetrender":
        pairs = PairedRenders(root)
        return [
            Source(prefix + _utf8(key), str(root), read, pairs.cloud(i), frame=frame, draws=draws)
            for i, key in enumerate(pairs.keys)
            for read in [partial(_rendered, pairs, i, count, seed, at_most, draws, frame.up)]
        ]
    stored = None if at_most else count  # data sets with fewer points are refused
    data = load_parts(root, stored) if kind == "shapenetpart" else load_classification(root, stored)
    return [
        Source(f"{prefix}{split}/{i:06d}", str(root), partial(to_y_up, cloud, frame.up), cloud, frame=frame)
        for split in ("train", "val", "test")
        if (clouds := getattr(data, split, None)) is not None
        for i in range(len(clouds.points))
        for cloud in [clouds.points[i : i + 1, :count]]
    ]


def _rendered(
    pairs: PairedRenders, index: int, count: int | None, seed: int, at_most: bool, draws: int, up: Up
) -> Points:
    return to_y_up(draw_points(pairs.points(index), count, seed=seed, at_most=at_most, draws=draws), up)


def draw_points(cloud: Coordinates, count: int | None, *, seed: int, at_most: bool, draws: int) -> Coordinates:
    """Draw points from a stored cloud `(M, 3)`: `(draws, count, 3)`; which ones depends on the seed and M.

    Arguments are those of `find_sources`; a cloud that is used whole is repeated.
    """
    if count is None or (at_most and len(cloud) <= count):
        return np.repeat(cloud[None], draws, axis=0)
    rng = drawing(seed, len(cloud))
    return np.stack([sample_points(cloud, count, rng=rng) for _ in range(draws)])
