"""Exact nearest-neighbour search among embeddings."""

import difflib
import heapq
import os
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import announce_once
from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_file
from crosspoint.core.plots import require_plots
from crosspoint.core.reading import reading
from crosspoint.core.results import OPTIONAL, Result
from crosspoint.data.frames import Frame, Up, parse_up
from crosspoint.data.io.files import up_of
from crosspoint.data.objects.find import SCAN_UP
from crosspoint.data.sources import find_sources
from crosspoint.runtime.draws import mean_of_draws, split_draws
from crosspoint.runtime.inputs import FloatArray
from crosspoint.runtime.jobs import parts
from crosspoint.runtime.jobs.embeddings import Embeddings, FileAbout, PartAbout, load
from crosspoint.runtime.jobs.originals import Originals
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.options import Reading, RunOn
from crosspoint.runtime.released import find_hash

METRICS = ("cosine", "euclidean")
ROWS = 4096  # embeddings that are compared at a time
MOST_POINTS = 10**7  # most points that a file of embeddings may ask for
PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Index:
    """Embeddings to search: one file, or the parts of a finished job, which are read one at a time.

    Their description is not trusted: the path of the model in it is shown and never opened.

    Attributes:
        path: File or folder.
        model_sha256: SHA-256 of the model that made them.
        model: Name or path of that model.
        points: Points per cloud; None: all.
        at_most: Whether clouds with fewer points were taken as they are.
        seed: Random seed of the points that were drawn.
        draws: Of points from each cloud, whose embeddings were averaged.
        base: The folder that names are relative to.
        frame: Frame of the inputs. None: written by an earlier version, which did not record it and turned nothing.
        assumed: The axis that is taken where nothing states it: z of scans of objects, else y.
        pieces: Function that reads them from the beginning at each call.
        columns: Columns of text and binary inputs that the user named.
    """

    path: Path
    model_sha256: str
    model: str
    points: int | None
    at_most: bool
    seed: int
    draws: int
    base: Path
    frame: Frame | None
    assumed: Up
    pieces: Callable[[], Iterator[Embeddings]]
    columns: str | None = None

    @property
    def given(self) -> Up | None:
        """The axis that was given for all inputs; None if each was read as its format states."""
        return None if self.frame is None else self.frame.given

    def up_of(self, name: str) -> Up:
        """The axis that was up in an input or an object of it: as given, else as its format states, else assumed."""
        return self.given or up_of(Path(name)) or up_of(Path(name.rpartition("#")[0])) or self.assumed


@dataclass(frozen=True)
class SearchOptions:
    """What to search for.

    Attributes:
        k: Number of neighbours; fewer if the index is smaller.
        metric: `"cosine"` (1 − cos) or `"euclidean"`.
        up: Axis that points up in a query that is a file. None: the one that its format states, else y.
    """

    k: int = 5
    metric: str = "cosine"
    up: Up | None = None


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
        frame: In which the query is stored; None where its embedding is the index's own.
        index_frame: In which the inputs of the index were stored; None where it does not say.
    """

    schema: ClassVar[str] = "crosspoint.search/1"

    query: str
    index: str
    metric: str
    model_sha256: str
    size: int
    results: tuple[Neighbour, ...]
    out: str | None
    frame: Frame | None = field(default=None, metadata=OPTIONAL)
    index_frame: Frame | None = field(default=None, metadata=OPTIONAL)


def open_index(path: Path) -> Index:
    """Open an `.npz` or `.parquet` file of embeddings, or a folder of parts.

    Raises:
        InputError: It is missing, damaged, unfinished or of another kind.
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
        draws = about.draws
        if seed < 0 or draws < 1 or not 0 < (1 if points is None else points) * draws <= MOST_POINTS:
            raise ValueError(f"it says that {points} points were drawn {draws} times with the seed {seed}")
        base, assumed = Path(about.base), "y" if about.objects is None else SCAN_UP
        return Index(
            path,
            sha256,
            about.model,
            points,
            about.at_most,
            seed,
            draws,
            base,
            about.frame,
            assumed,
            pieces,
            about.columns,
        )


def search(
    query: Path | str,
    index: Path,
    *,
    options: SearchOptions = SearchOptions(),
    model: Path | str | None = None,
    out: Path | None = None,
    files: Path | None = None,
    run_on: RunOn = RunOn(),
) -> SearchResult:
    """Find the k nearest neighbours of a cloud.

    Args:
        query: A name in the index, or a mesh or point-cloud file. A file is embedded like the index: same model, number
            of points and seed. An object is not its own neighbour.
        index: The output of `crosspoint embed`: `.npz`, `.parquet` or a folder of parts.
        options: Number of neighbours, metric, and the axis that points up in the query.
        model: Model that embeds the query; it must be the one that made the index. None: the released model that made
            the index.
        out: A picture of the query and its neighbours: .png, .jpg or .webp.
        files: Folder that the names in the index are relative to, if the embedded files have moved.
        run_on: Device and backend of the model.

    Returns:
        The neighbours, nearest first.

    Raises:
        InputError: The query, the index or an option cannot be used, the model did not make the index, or the frames of
            query and index are mixed: one is stated and the other is not.
        MissingDependency: A picture is asked for, and matplotlib is not installed.
    """
    k, metric, up = options.k, options.metric, options.up
    if up is not None:
        parse_up(up)
    if k < 1:
        raise InputError(f"--k is {k}; give 1 or more")
    if metric not in METRICS:
        raise InputError(f"unknown metric {metric!r}; give {' or '.join(METRICS)}")
    if out is not None and Path(out).suffix.lower() not in PICTURES:
        raise InputError(f"{out} has an unknown suffix; give a name that ends in {', '.join(PICTURES)}")
    if out is not None:
        check_file(out, inputs=[Path(query), index], within=True)
        require_plots()
    opened = open_index(index)
    base = opened.base if files is None else Path(files)
    name = _name_in_index(query, base, is_file=up is not None)
    vector, frame = _find(opened, name), None
    if vector is None:
        vector, frame = _embed_query(Path(query), opened, model, run_on, up)
    elif up is not None and up != (was := opened.up_of(name)):
        raise InputError(f"{query} is in {index} as {was}-up; leave --up out, or embed the index again with --up {up}")
    elif model is not None:
        with load_encoder(model, run_on.device, backend=run_on.backend, trust=run_on.trust) as encoder:
            _check_model(opened, encoder.specification.sha256, str(model))
    nearest, size = _nearest(opened.pieces(), vector, k, metric, name)
    results = tuple(Neighbour(i, found, far) for i, (far, found) in enumerate(nearest, 1))
    if out is not None:
        from crosspoint.runtime.jobs.search_picture import draw

        shown = {name, *(result.name for result in results)}
        draw(
            Path(out),
            str(query),
            results=[(found, far) for far, found in nearest],
            originals=originals_of(opened, files, names=shown),
            metric=metric,
            up=opened.given if frame is None else frame.up,
        )
    written = None if out is None else str(out)
    return SearchResult(
        str(query), str(index), metric, opened.model_sha256, size, results, written, frame, opened.frame
    )


def _name_in_index(query: Path | str, base: Path, *, is_file: bool) -> str:
    """The query's name in the index, if it is in it: the given name, or a file's path within the base.

    With `is_file`, a file outside the base is not looked up by the name that was given.
    """
    path, folder = Path(os.path.abspath(query)), Path(os.path.abspath(base))
    if path.is_relative_to(folder) and path.is_file():
        return path.relative_to(folder).as_posix()
    if is_file and path.is_file():
        return str(path)
    return str(query)


def _find(index: Index, name: str) -> FloatArray | None:
    for piece in index.pieces():
        if name in piece.names:
            vector: FloatArray = piece.vectors[piece.names.index(name)]
            return vector
    return None


def originals_of(index: Index, files: Path | None = None, *, names: Container[str] | None = None) -> Originals:
    """What finds the files of embeddings, and reads them as they were embedded.

    Args:
        index: The embeddings.
        files: Folder of the files, if they have moved.
        names: The objects of scans that are needed; None: all.
    """
    base = index.base if files is None else Path(files)
    return Originals(
        base,
        files and Path(files),
        up=index.given,
        assumed=index.assumed,
        boxes=_boxes(index, names),
        columns=index.columns,
    )


def _boxes(index: Index, names: Container[str] | None) -> dict[str, NDArray[np.float64]]:
    """Boxes (2, 3) of the objects with these names, or of all; none if the index has no objects of scans."""
    return {
        name: box
        for piece in index.pieces()
        if piece.boxes is not None
        for name, box in zip(piece.names, piece.boxes.corners, strict=True)
        if names is None or name in names
    }


def _embed_query(
    query: Path, index: Index, model: Path | str | None, run_on: RunOn, up: Up | None
) -> tuple[FloatArray, Frame]:
    """Embed a file in the same way as the index; also returns the frame of the file."""
    if not query.is_file():
        raise InputError(f"{query} is neither a file nor a name in {index.path}{_similar(str(query), index)}")
    _check_frames(index, query, up)
    (source,) = find_sources(
        [query],
        index.points,
        seed=index.seed,
        at_most=index.at_most,
        draws=index.draws,
        reading=Reading(index.columns),
        up=up,
        assumed=index.assumed,
    )
    clouds, _ = source.load()
    if isinstance(clouds, InputError):
        raise clouds
    drawn = split_draws(clouds, source.draws)
    if len(drawn) != 1:
        raise InputError(f"{query} holds {len(drawn)} clouds; give a file with one")
    file = model or _model_of(index)
    with load_encoder(file, run_on.device, backend=run_on.backend, trust=run_on.trust) as encoder:
        _check_model(index, encoder.specification.sha256, str(model or encoder.specification.path))
        vector: FloatArray = mean_of_draws(encoder.embed(drawn[0]), [len(drawn[0])])[0]
        return vector, source.frame


def _check_frames(index: Index, query: Path, up: Up | None) -> None:
    """Raise InputError where the frames of the index and of a query would be mixed.

    Both are turned to y-up, so any two frames that are known go together. A query that states none is taken to be as
    inputs of the index that state none.
    """
    stated = up or up_of(query)
    if index.frame is None and stated not in (None, "y"):
        raise InputError(
            f"{index.path} does not state which axis points up in its inputs, and {query} is {stated}-up: they cannot "
            "be compared; embed the index again with --up"
        )
    if index.frame is None:
        announce_once(f"{index.path} does not state which axis points up in its inputs; y-up is assumed")
    elif index.frame.up != index.assumed and stated is None:
        raise InputError(
            f"the inputs of {index.path} are {index.frame.up}-up, and {query} does not state which axis points up; "
            f"give --up {index.frame.up} if it is the same there, else --up {index.assumed}"
        )
    elif index.frame.known == "assumed" and stated not in (None, index.frame.up):
        announce_once(
            f"{index.frame.up}-up was assumed for the inputs of {index.path}; if they are {stated}-up as the query is, "
            f"embed them again with --up {stated}"
        )


def _similar(name: str, index: Index) -> str:
    names = [found for piece in index.pieces() for found in piece.names]
    close = difflib.get_close_matches(name, names, 3) or [found for found in names if name in found][:3]
    return f"; similar names: {', '.join(close)}" if close else f", whose names are like {names[0]}" if names else ""


def _model_of(index: Index) -> Path:
    """The file of the released model that made an index. Other models cannot be found by their hash."""
    if found := find_hash(index.model_sha256):
        return found[0].file(found[1])
    raise InputError(
        f"{index.path} was not made by a released model, but by {index.model} (SHA-256 "
        f"{index.model_sha256[:12]}…); give it with --model"
    )


def _check_model(index: Index, sha256: str, model: str) -> None:
    if sha256 != index.model_sha256:
        raise InputError(
            f"{index.path} was made by another model than {model} (SHA-256 {index.model_sha256[:12]}…, not "
            f"{sha256[:12]}…): their embeddings cannot be compared; give the same model, or embed again with this one"
        )


def _nearest(
    pieces: Iterable[Embeddings], vector: FloatArray, k: int, metric: str, name: str
) -> tuple[list[tuple[float, str]], int]:
    """The k nearest over all pieces without `name`, exactly, and the total number; ties are ordered by name."""
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
    """Distances of a vector `(D,)` to each of `rows (n, D)`, in float64: `(n,)`.

    Both metrics are computed from differences: `‖a − b‖`, and for unit vectors `1 − a·b = ½ ‖a − b‖²`. The forms `‖a‖²
    − 2 a·b + ‖b‖²` and `1 − a·b` lose digits when the vectors are close. A zero vector has no direction; its cosine
    distance is defined as 1.
    """
    one, many = a.astype(np.float64), rows.astype(np.float64)  # (D,), (n, D)
    if metric == "euclidean":
        return np.asarray(np.sqrt(((many - one) ** 2).sum(axis=1)))
    length, lengths = np.sqrt((one**2).sum()), np.sqrt((many**2).sum(axis=1))  # (), (n,)
    zero = lengths * length == 0
    unit, units = one / (length or 1), many / np.where(lengths == 0, 1, lengths)[:, None]
    return np.where(zero, 1.0, ((units - unit) ** 2).sum(axis=1) / 2)
