"""What there is to embed: the clouds of files, folders and datasets, named, and read ahead of their use."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from crosspoint.data.datasets import PairedRenders, load_classification, load_parts
from crosspoint.data.files import find_files, read_points
from crosspoint.data.layout import find_sets
from crosspoint.data.points import Points, choose, normalise
from crosspoint.data.pool import start_pool
from crosspoint.errors import CheckFailed, InputError

THREADS = 4  # that read where there are no processes for it
CHUNK = 8  # sources that a reader takes at once


@dataclass(frozen=True)
class Source:
    """One thing to read.

    Attributes:
        name: Of its cloud; if it holds several, they are `name#0`, `name#1`, ….
        origin: The path that error messages begin with.
        read: Returns `(n, N, 3)`, or raises InputError.
    """

    name: str
    origin: str
    read: Callable[[], Points]


def find_sources(inputs: Sequence[Path], count: int | None, seed: int, at_most: bool = False) -> list[Source]:
    """The sources in files, folders and datasets, in the order of the inputs, each once.

    A file's name is its path relative to the input folder, or, of several inputs, to the deepest folder that contains
    them all. A dataset's clouds are named by split and position, `train/000012`, or by object, `synset/id`.

    Args:
        inputs: Files, folders that are searched recursively, and dataset folders.
        count: Points per cloud. Drawn from a mesh or cloud file and from a rendered object; of a classification or part
            set the first ones, as in its published protocol. None for all there are.
        seed: Of what is drawn.
        at_most: Take clouds of fewer points than `count` whole instead of refusing them.

    Raises:
        InputError: An input is missing or holds nothing that can be read, or a dataset stores fewer points.
    """
    base = base_of(inputs)
    sources: list[Source] = []
    seen: set[Path] = set()
    for given in inputs:
        if (dataset := _dataset(given)) is not None:
            if dataset[1].resolve() not in seen:
                sources += _of_dataset(*dataset, _relative(given, base), count, seed, at_most)
                seen.add(dataset[1].resolve())
            continue
        for path in find_files([given]):
            if path.resolve() not in seen:
                read = partial(read_points, path, count, seed, at_most)
                sources.append(Source(_relative(path, base), str(path), read))
                seen.add(path.resolve())
    return sources


def read_ahead(
    sources: Sequence[Source], ahead: int, processes: int = 0
) -> Iterator[tuple[Source, Points | InputError]]:
    """Each source with its clouds, normalised as in training, or with what is wrong with it; in order.

    About `ahead` sources are read before they are asked for: by a few threads, or by processes, which read faster than
    Python's one lock lets threads do, and take seconds to start.

    Raises:
        CheckFailed: A process was killed.
    """
    waiting: deque[tuple[Sequence[Source], Future[list[Points | InputError]]]] = deque()
    pool = _readers(processes)
    try:
        for start in range(0, len(sources), CHUNK):
            chunk = sources[start : start + CHUNK]
            waiting.append((chunk, pool.submit(_read_chunk, chunk)))
            if len(waiting) > max(ahead // CHUNK, 2 * processes):
                yield from _finished(*waiting.popleft())
        while waiting:
            yield from _finished(*waiting.popleft())
    except BrokenProcessPool as error:
        raise CheckFailed(
            "a reader was killed, most likely for want of memory; try again with fewer readers"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _readers(processes: int) -> Executor:
    if processes:
        return start_pool(processes)
    return ThreadPoolExecutor(THREADS, thread_name_prefix="read")


def _finished(
    chunk: Sequence[Source], future: "Future[list[Points | InputError]]"
) -> Iterator[tuple[Source, Points | InputError]]:
    yield from zip(chunk, future.result(), strict=True)


def _read_chunk(chunk: Sequence[Source]) -> list[Points | InputError]:
    return [_normalised(source) for source in chunk]


def _normalised(source: Source) -> Points | InputError:
    try:
        return normalise(source.read())
    except InputError as error:
        return error


def base_of(inputs: Sequence[Path]) -> str:
    """The folder that names are relative to: the one input folder, or the deepest one that contains all inputs."""
    if len(inputs) == 1 and inputs[0].is_dir():
        return os.path.abspath(inputs[0])
    return os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in inputs])


def _relative(path: Path, base: str) -> str:
    name = Path(os.path.relpath(os.path.abspath(path), base)).as_posix()
    readable = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return "" if readable == "." else readable


def _dataset(folder: Path) -> tuple[str, Path] | None:
    """Format and place of the data set that a folder is or holds; None of a folder of files.

    Raises:
        InputError: It holds several sets, or other files beside a set: which are meant is not clear.
    """
    sets = find_sets(folder) if folder.is_dir() else []
    if own := [found for found in sets if found[1] == folder]:
        return own[0]
    if not sets:
        return None
    if len(sets) == 1 and not any(sets[0][1] not in path.parents for path in _files(folder)):
        return sets[0]
    places = ", ".join(str(place) for _, place in sets)
    raise InputError(f"{folder} holds data sets beside one another or beside files; give what is meant: {places}")


def _files(folder: Path) -> list[Path]:
    try:
        return find_files([folder])
    except InputError:
        return []


def _of_dataset(kind: str, root: Path, name: str, count: int | None, seed: int, at_most: bool) -> list[Source]:
    prefix = f"{name}/" if name else ""
    if kind == "shapenetrender":
        pairs = PairedRenders(root)
        return [
            Source(prefix + key, str(root), partial(_rendered, pairs, i, key, count, seed, at_most))
            for i, key in enumerate(pairs.keys)
        ]
    stored = None if at_most else count  # a set that stores fewer points is refused
    data = load_parts(root, stored) if kind == "shapenetpart" else load_classification(root, stored)
    return [
        Source(f"{prefix}{split}/{i:06d}", str(root), partial(np.asarray, clouds.points[i : i + 1, :count]))
        for split in ("train", "val", "test")
        if (clouds := getattr(data, split, None)) is not None
        for i in range(len(clouds.points))
    ]


def _rendered(pairs: PairedRenders, index: int, key: str, count: int | None, seed: int, at_most: bool) -> Points:
    points = pairs.points(index)
    if count is None or (at_most and len(points) <= count):
        return points[None]
    return choose(points, count, np.random.default_rng([seed, *key.encode()]))[None]
