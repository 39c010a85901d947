"""The nearest neighbours of a cloud among embeddings, found exactly."""

import difflib
import heapq
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_file
from crosspoint.core.plots import require_plots
from crosspoint.core.reading import reading
from crosspoint.core.results import Result
from crosspoint.data.sources import find_sources
from crosspoint.runtime.draws import mean_of_draws, split_draws
from crosspoint.runtime.encoder import FloatArray
from crosspoint.runtime.jobs import parts
from crosspoint.runtime.jobs.embeddings import Embeddings, FileAbout, PartAbout, load
from crosspoint.runtime.jobs.originals import Originals
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.options import RunOn
from crosspoint.runtime.released import find_hash

METRICS = ("cosine", "euclidean")
ROWS = 4096  # compared at a time
MOST_POINTS = 10**7  # that embeddings from elsewhere can have drawn from a query
PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Index:
    """Embeddings to search in: one file, or the parts of a finished job, read one at a time.

    What they say of themselves is data from elsewhere: the model's path in them is shown and never opened.

    Attributes:
        path: Where they lie.
        model_sha256: Of the model that made them.
        model: As it was named then.
        points: Per cloud; None for all.
        at_most: Whether smaller clouds were taken whole.
        seed: Of the points drawn.
        draws: Of points from each cloud, whose embeddings were averaged.
        base: The folder that names are relative to.
        pieces: Reads them, anew at each call.
    """

    path: Path
    model_sha256: str
    model: str
    points: int | None
    at_most: bool
    seed: int
    draws: int
    base: Path
    pieces: Callable[[], Iterator[Embeddings]]


@dataclass(frozen=True)
class Neighbour:
    """A cloud of the index: its place, counted from 1, its name and its distance from the query."""

    rank: int
    name: str
    distance: float


@dataclass(frozen=True)
class SearchResult(Result):
    """The nearest neighbours of a cloud.

    Attributes:
        query: What was looked for.
        index: Where.
        metric: Of the distances.
        model_sha256: Of the model that made the index.
        size: Embeddings in the index.
        results: From near to far.
        out: The picture; None if none was asked for.
    """

    schema: ClassVar[str] = "crosspoint.search/1"

    query: str
    index: str
    metric: str
    model_sha256: str
    size: int
    results: tuple[Neighbour, ...]
    out: str | None


def open_index(path: Path) -> Index:
    """Open an `.npz` or `.parquet` file of embeddings, or a folder of parts.

    Raises:
        InputError: It is missing, damaged, unfinished or something else.
        MissingDependency: pyarrow is not installed.
    """
    path = Path(path)
    if path.is_dir():
        plan = parts.read_plan(path)
        return _index(path, plan.model_sha256, plan, lambda: parts.load_parts(path))
    one = load(path)
    if isinstance(one.about, PartAbout):
        raise InputError(f"{path} is one part of a folder; give the folder")
    return _index(path, one.model_sha256, one.about, lambda: iter([one]))


def _index(path: Path, sha256: str, about: FileAbout | parts.Plan, pieces: Callable[[], Iterator[Embeddings]]) -> Index:
    points, seed = about.points, about.seed
    with reading(path, "embeddings of crosspoint embed", advice="embed again"):
        if seed < 0 or about.draws < 1 or not 0 < (1 if points is None else points) * about.draws <= MOST_POINTS:
            raise ValueError(f"it says that {points} points were drawn {about.draws} times with the seed {seed}")
        return Index(path, sha256, about.model, points, about.at_most, seed, about.draws, Path(about.base), pieces)


def search(
    query: Path | str,
    index: Path,
    *,
    k: int = 5,
    model: Path | str | None = None,
    metric: str = "cosine",
    out: Path | None = None,
    files: Path | None = None,
    run_on: RunOn = RunOn(),
) -> SearchResult:
    """Find the k nearest neighbours of a cloud.

    Args:
        query: A name in the index, or a mesh or point-cloud file, which is embedded as the index was: by the same
            model, with as many points, drawn with the same seed. What is in the index itself is not its own neighbour.
        index: What `crosspoint embed` wrote: `.npz`, `.parquet` or a folder of parts.
        k: How many neighbours; fewer if the index holds fewer.
        model: Embeds the query; it has to be the one that made the index. May be left out if that comes with the
            package.
        metric: `"cosine"` (1 − cos) or `"euclidean"`.
        out: A picture of the query and its neighbours: .png, .jpg or .webp.
        files: Folder that the names in the index are relative to, if what was embedded is no longer where it was.
        run_on: Where the model runs.

    Returns:
        The neighbours, from near to far.

    Raises:
        InputError: The query, the index or an option cannot be used, or the model is not the one of the index.
        MissingDependency: A picture is asked for and matplotlib is not installed.
    """
    if k < 1:
        raise InputError(f"{k} neighbours were asked for; give --k 1 or more")
    if metric not in METRICS:
        raise InputError(f"unknown metric {metric!r}; known are {', '.join(METRICS)}")
    if out is not None and Path(out).suffix.lower() not in PICTURES:
        raise InputError(f"{out} cannot be drawn; give a name that ends in {', '.join(PICTURES)}")
    if out is not None:
        check_file(out, inputs=[Path(query), index], within=True)
        require_plots()
    opened = open_index(index)
    base = opened.base if files is None else Path(files)
    name = _name_in_index(query, base)
    vector = _find(opened, name)
    if vector is None:
        vector = _embed_query(Path(query), opened, model, run_on)
    elif model is not None:
        with load_encoder(model, run_on.device, backend=run_on.backend, trust=run_on.trust) as encoder:
            _check_model(opened, encoder.specification.sha256, str(model))
    nearest, size = _nearest(opened.pieces(), vector, k, metric, name)
    results = tuple(Neighbour(i, found, far) for i, (far, found) in enumerate(nearest, 1))
    if out is not None:
        from crosspoint.runtime.jobs.search_picture import draw

        draw(
            Path(out),
            str(query),
            results=[(found, far) for far, found in nearest],
            originals=Originals(base, files and Path(files)),
            metric=metric,
        )
    written = None if out is None else str(out)
    return SearchResult(str(query), str(index), metric, opened.model_sha256, size, results, written)


def _name_in_index(query: Path | str, base: Path) -> str:
    """The name that the query has if it is in the index: as given, or a file's path within the base."""
    path, folder = Path(os.path.abspath(query)), Path(os.path.abspath(base))
    if path.is_relative_to(folder) and path.is_file():
        return path.relative_to(folder).as_posix()
    return str(query)


def _find(index: Index, name: str) -> FloatArray | None:
    for piece in index.pieces():
        if name in piece.names:
            vector: FloatArray = piece.vectors[piece.names.index(name)]
            return vector
    return None


def _embed_query(query: Path, index: Index, model: Path | str | None, run_on: RunOn) -> FloatArray:
    """Embed a file as the index was."""
    if not query.is_file():
        raise InputError(f"{query} is neither a file nor a name in {index.path}{_similar(str(query), index)}")
    (source,) = find_sources([query], index.points, seed=index.seed, at_most=index.at_most, draws=index.draws)
    clouds, _ = source.load()
    if isinstance(clouds, InputError):
        raise clouds
    drawn = split_draws(clouds, source.draws)
    if len(drawn) != 1:
        raise InputError(f"{query} holds {len(drawn)} clouds; give a file of one")
    file = model or _model_of(index)
    with load_encoder(file, run_on.device, backend=run_on.backend, trust=run_on.trust) as encoder:
        _check_model(index, encoder.specification.sha256, str(model or encoder.specification.path))
        vector: FloatArray = mean_of_draws(encoder.embed(drawn[0]), [len(drawn[0])])[0]
        return vector


def _similar(name: str, index: Index) -> str:
    names = [found for piece in index.pieces() for found in piece.names]
    close = difflib.get_close_matches(name, names, 3) or [found for found in names if name in found][:3]
    return f"; similar names: {', '.join(close)}" if close else f", whose names are like {names[0]}" if names else ""


def _model_of(index: Index) -> Path:
    """The file of the release that made an index; no other is known by its hash."""
    if found := find_hash(index.model_sha256):
        return found[0].file(found[1])
    raise InputError(
        f"{index.path} was made by a model that does not come with the package ({index.model}, SHA-256 "
        f"{index.model_sha256[:12]}…); give it with --model"
    )


def _check_model(index: Index, sha256: str, model: str) -> None:
    if sha256 != index.model_sha256:
        raise InputError(
            f"{index.path} was made by another model than {model} (SHA-256 {index.model_sha256[:12]}…, not "
            f"{sha256[:12]}…): their embeddings cannot be compared; give the same file, or embed again with this one"
        )


def _nearest(
    pieces: Iterable[Embeddings], vector: FloatArray, k: int, metric: str, name: str
) -> tuple[list[tuple[float, str]], int]:
    """The k nearest over all pieces, exactly, `name` left out, and how many there are in all; ties by name."""
    best: list[tuple[float, str]] = []
    size = 0
    for piece in pieces:
        size += len(piece.names)
        if piece.names and piece.vectors.shape[1] != len(vector):
            raise InputError(f"embeddings of {piece.vectors.shape[1]} numbers and of {len(vector)} cannot be compared")
        for start in range(0, len(piece.names), ROWS):
            far = distances(vector, piece.vectors[start : start + ROWS], metric=metric).tolist()
            found = zip(far, piece.names[start : start + ROWS], strict=True)
            best = heapq.nsmallest(k, [*best, *(hit for hit in found if hit[1] != name)])
    return best, size


def distances(a: FloatArray, rows: FloatArray, *, metric: str) -> NDArray[np.float64]:
    """Distances of a vector `(D,)` from each of `rows (n, D)`, in float64: `(n,)`.

    Both come from differences, `‖a − b‖` and, of unit vectors, `1 − a·b = ½ ‖a − b‖²`: near ones would cancel in
    `‖a‖² − 2 a·b + ‖b‖²` and in `1 − a·b`. A zero vector has no direction; its cosine distance is 1, as if at a right
    angle to all.
    """
    one, many = a.astype(np.float64), rows.astype(np.float64)  # (D,), (n, D)
    if metric == "euclidean":
        return np.asarray(np.sqrt(((many - one) ** 2).sum(axis=1)))
    length, lengths = np.sqrt((one**2).sum()), np.sqrt((many**2).sum(axis=1))  # (), (n,)
    zero = lengths * length == 0
    unit, units = one / (length or 1), many / np.where(lengths == 0, 1, lengths)[:, None]
    return np.where(zero, 1.0, ((units - unit) ** 2).sum(axis=1) / 2)
