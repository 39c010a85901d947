"""The nearest neighbours of a cloud among embeddings, found exactly."""

import difflib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint.core.outputs import check_file
from crosspoint.errors import InputError
from crosspoint.runtime import parts
from crosspoint.runtime.embeddings import Embeddings, load
from crosspoint.runtime.encoder import FloatArray
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.named import find_hash
from crosspoint.runtime.sources import find_sources, read_ahead

METRICS = ("cosine", "euclidean")
PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Index:
    """Embeddings to search in: one file, or the parts of a finished job, read one at a time.

    Attributes:
        path: Where they lie.
        model_sha256: Of the model that made them.
        about: How they were made, as in `Embeddings`; empty for files of other origin.
        pieces: Reads them, anew at each call.
    """

    path: Path
    model_sha256: str
    about: dict[str, Any]
    pieces: Callable[[], Iterator[Embeddings]]


def open_index(path: Path) -> Index:
    """Open an `.npz` or `.parquet` file of embeddings, or a folder of parts.

    Raises:
        InputError: It is missing, damaged, unfinished or something else.
        MissingDependency: pyarrow is not installed.
    """
    path = Path(path)
    if path.is_dir():
        plan = parts.read_plan(path)
        about = {**plan.about(), "base": plan.base, "model": plan.model}
        return Index(path, plan.model_sha256, about, lambda: parts.load_parts(path))
    one = load(path)
    return Index(path, one.model_sha256, one.about, lambda: iter([one]))


def search(
    query: Path | str,
    index: Path,
    k: int = 5,
    model: Path | str | None = None,
    metric: str = "cosine",
    out: Path | None = None,
    files: Path | None = None,
    device: str = "cpu",
    backend: str | None = None,
) -> dict[str, Any]:
    """Find the k nearest neighbours of a cloud.

    Args:
        query: A name in the index, or a mesh or point-cloud file, which is embedded as the index was: by the same
            model, with as many points, drawn with the same seed. What is in the index itself is not its own neighbour.
        index: What `crosspoint embed` wrote: `.npz`, `.parquet` or a folder of parts.
        k: How many neighbours; fewer if the index holds fewer.
        model: Embeds the query; by default the model of the index, if it comes with the package or lies where it was.
        metric: `"cosine"` (1 − cos) or `"euclidean"`.
        out: A picture of the query and its neighbours: .png, .jpg or .webp.
        files: Folder that the names in the index are relative to, if what was embedded is no longer where it was.
        device: Where the model runs.
        backend: What runs it.

    Returns:
        `query`, `index`, `metric`, `model_sha256`, `size` of the index, `results` (a list of `rank`, `name`,
        `distance`, from near to far), `out`.

    Raises:
        InputError: The query, the index or an option cannot be used, or the model is not the one of the index.
    """
    if k < 1:
        raise InputError(f"{k} neighbours were asked for; give --k 1 or more")
    if metric not in METRICS:
        raise InputError(f"unknown metric {metric!r}; known are {', '.join(METRICS)}")
    if out is not None and Path(out).suffix.lower() not in PICTURES:
        raise InputError(f"{out} cannot be drawn; give a name that ends in {', '.join(PICTURES)}")
    if out is not None:
        check_file(out, inputs=[Path(query), index], within=True)
    opened = open_index(index)
    base = None if files is None and "base" not in opened.about else Path(files or opened.about["base"])
    name = _name_in_index(query, base)
    vector = _find(opened, name)
    if vector is None:
        vector = _embed_query(Path(query), opened, model, device, backend)
    elif model is not None:
        with load_encoder(model, device, backend) as encoder:
            _check_model(opened, encoder.specification.sha256, str(model))
    nearest, size = _nearest(opened.pieces(), vector, k, metric, name)
    results = [{"rank": i, "name": found, "distance": far} for i, (far, found) in enumerate(nearest, 1)]
    if out is not None:
        from crosspoint.runtime.search_picture import draw

        draw(Path(out), str(query), results, base, metric)
    return {
        "query": str(query),
        "index": str(index),
        "metric": metric,
        "model_sha256": opened.model_sha256,
        "size": size,
        "results": results,
        "out": None if out is None else str(out),
    }


def _name_in_index(query: Path | str, base: Path | None) -> str:
    """The name that the query has if it is in the index: as given, or a file's path within the base."""
    path = os.path.abspath(query)
    if base is not None and os.path.isfile(path) and os.path.commonpath([path, base]) == str(base):
        return Path(os.path.relpath(path, base)).as_posix()
    return str(query)


def _find(index: Index, name: str) -> FloatArray | None:
    for piece in index.pieces():
        if name in piece.names:
            vector: FloatArray = piece.vectors[piece.names.index(name)]
            return vector
    return None


def _embed_query(query: Path, index: Index, model: Path | str | None, device: str, backend: str | None) -> FloatArray:
    """Embed a file as the index was."""
    if not query.is_file():
        raise InputError(f"{query} is neither a file nor a name in {index.path}{_similar(str(query), index)}")
    about = index.about
    (source,) = find_sources([query], about.get("points"), int(about.get("seed", 0)), bool(about.get("at_most")))
    ((_, clouds),) = read_ahead([source], 1)
    if isinstance(clouds, InputError):
        raise clouds
    if len(clouds) != 1:
        raise InputError(f"{query} holds {len(clouds)} clouds; give a file of one")
    with load_encoder(model or _model_of(index), device, backend) as encoder:
        _check_model(index, encoder.specification.sha256, str(model or encoder.specification.path))
        vector: FloatArray = encoder.embed(clouds)[0]
        return vector


def _similar(name: str, index: Index) -> str:
    names = [found for piece in index.pieces() for found in piece.names]
    close = difflib.get_close_matches(name, names, 3) or [found for found in names if name in found][:3]
    return f"; similar names: {', '.join(close)}" if close else f", whose names are like {names[0]}" if names else ""


def _model_of(index: Index) -> Path:
    """The file of the model that made an index: of a release, or where it was then."""
    if found := find_hash(index.model_sha256):
        return found[0].file(found[1])
    path = Path(str(index.about.get("model", "")))
    if path.is_absolute() and path.exists():
        return path
    raise InputError(
        f"{index.path} was made by a model that is not here (SHA-256 {index.model_sha256[:12]}…); give it with --model"
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
    """The k nearest over all pieces, exactly, `name` left out, and how many there are in all."""
    from sklearn.neighbors import NearestNeighbors

    best: list[tuple[float, str]] = []
    size = 0
    for piece in pieces:
        size += len(piece.names)
        if not piece.names:
            continue
        if piece.vectors.shape[1] != len(vector):
            raise InputError(f"embeddings of {piece.vectors.shape[1]} numbers and of {len(vector)} cannot be compared")
        neighbours = NearestNeighbors(n_neighbors=min(k + 1, len(piece.names)), algorithm="brute", metric=metric)
        exact = piece.vectors.astype(np.float64)  # in float32 near distances cancel
        distances, rows = neighbours.fit(exact).kneighbors(vector[None].astype(np.float64))
        found = zip(np.maximum(distances[0], 0).tolist(), rows[0].tolist(), strict=True)
        best += [(far, piece.names[row]) for far, row in found if piece.names[row] != name]
        best = sorted(best)[:k]
    return best, size
