"""What there is to embed: the clouds of files, folders and datasets, named, and read ahead of their use."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from crosspoint.data.datasets import PairedRenders, load_classification, load_parts
from crosspoint.data.files import find_files, read_points
from crosspoint.data.layout import find_sets
from crosspoint.data.points import Points, choose, normalise
from crosspoint.errors import InputError

READERS = 4  # threads


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


def find_sources(inputs: Sequence[Path], count: int | None, seed: int) -> list[Source]:
    """The sources in files, folders and datasets, in the order of the inputs, each once.

    A file's name is its path relative to the input folder, or, of several inputs, to the deepest folder that contains
    them all. A dataset's clouds are named by split and position, `train/000012`, or by object, `synset/id`.

    Args:
        inputs: Files, folders that are searched recursively, and dataset folders.
        count: Points per cloud. Drawn from a mesh or cloud file and from a rendered object; of a classification or part
            set the first ones, as in its published protocol. None for all there are.
        seed: Of what is drawn.

    Raises:
        InputError: An input is missing or holds nothing that can be read, or a dataset stores fewer points.
    """
    base = _base(inputs)
    sources: list[Source] = []
    seen: set[Path] = set()
    for given in inputs:
        if (dataset := _dataset(given)) is not None:
            if dataset[1].resolve() not in seen:
                sources += _of_dataset(*dataset, _relative(given, base), count, seed)
                seen.add(dataset[1].resolve())
            continue
        for path in find_files([given]):
            if path.resolve() not in seen:
                sources.append(Source(_relative(path, base), str(path), partial(read_points, path, count, seed)))
                seen.add(path.resolve())
    return sources


def read_ahead(sources: Sequence[Source], ahead: int) -> Iterator[tuple[Source, Points | InputError]]:
    """Each source with its clouds, normalised as in training, or with what is wrong with it; in order.

    Up to `ahead` sources are read by a few threads before they are asked for.
    """
    waiting: deque[tuple[Source, Future[Points | InputError]]] = deque()
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="read")
    try:
        for source in sources:
            waiting.append((source, pool.submit(_normalised, source)))
            if len(waiting) > ahead:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _normalised(source: Source) -> Points | InputError:
    try:
        return normalise(source.read())
    except InputError as error:
        return error


def _base(inputs: Sequence[Path]) -> str:
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


def _of_dataset(kind: str, root: Path, name: str, count: int | None, seed: int) -> list[Source]:
    prefix = f"{name}/" if name else ""
    if kind == "shapenetrender":
        pairs = PairedRenders(root)
        return [
            Source(prefix + key, str(root), partial(_rendered, pairs, i, key, count, seed))
            for i, key in enumerate(pairs.keys)
        ]
    data = load_parts(root, count) if kind == "shapenetpart" else load_classification(root, count)
    return [
        Source(f"{prefix}{split}/{i:06d}", str(root), partial(_stored, clouds.points, i))
        for split in ("train", "val", "test")
        if (clouds := getattr(data, split, None)) is not None
        for i in range(len(clouds.points))
    ]


def _stored(points: Points, index: int) -> Points:
    return points[index : index + 1]


def _rendered(pairs: PairedRenders, index: int, key: str, count: int | None, seed: int) -> Points:
    points = pairs.points(index)
    if count is None:
        return points[None]
    return choose(points, count, np.random.default_rng([seed, *key.encode()]))[None]
