"""Embedding whatever holds point clouds: files, folders, datasets, arrays."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint.artefacts import atomic_file
from crosspoint.console import track
from crosspoint.data.points import Points
from crosspoint.errors import InputError
from crosspoint.runtime.encoder import Encoder, FloatArray
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.sources import Source, find_sources, read_ahead

SUFFIXES = (".npz", ".npy")


def embed(
    model: Path,
    inputs: Sequence[Path],
    out: Path,
    points: int | None = None,
    seed: int = 0,
    batch: int = 32,
    device: str = "cpu",
    backend: str | None = None,
    trust: bool = False,
) -> dict[str, Any]:
    """Embed the clouds of files, folders and datasets, each normalised as in training, into one file.

    Inputs are read as they are needed, ahead of the model; clouds of equal size go through it together. What cannot be
    read, or has fewer points than needed, is left out and listed in the result.

    Args:
        model: Whatever `load_encoder` opens.
        inputs: Mesh and point-cloud files, folders of them, dataset folders. An array `(N, 3)` is one cloud,
            `(n, N, 3)` is n clouds.
        out: `.npz` for `embeddings (n, D)` float32, `names (n,)` and `model_sha256`; `.npy` for the embeddings alone.
        points: Points per cloud; by default the model's own number if it has one, else all of a cloud.
        seed: Of the points drawn; what is drawn of a file depends on the seed and the file's name alone.
        batch: Most clouds in one pass.
        device: `"cpu"`, `"cuda"` or `"cuda:<index>"`.
        backend: As for `load_encoder`.
        trust: As for `load_encoder`.

    Returns:
        `model` (the specification), `out`, `points`, `seed`, `dim`, `embedded`, `names`, `skipped` (a list of `file`
        and `reason`), `seconds`.

    Raises:
        InputError: The model or an option cannot be used, an input is missing, or not one cloud could be read; then
            nothing is written.
    """
    out = Path(out)
    if out.suffix not in SUFFIXES or out.is_dir():
        raise InputError(f"{out} cannot be written; give the name of a file that ends in {' or '.join(SUFFIXES)}")
    if not inputs:
        raise InputError("no inputs were given; give files, folders or datasets")
    if batch < 1:
        raise InputError(f"a batch of {batch} holds nothing; give --batch 1 or more")
    if seed < 0:
        raise InputError(f"the seed {seed} is negative; give --seed 0 or more")
    start = time.perf_counter()
    with load_encoder(model, device, backend, trust=trust) as encoder:
        specification = encoder.specification
        count = specification.points if points is None else points
        if count is not None:
            specification.check_points(count)
        sources = find_sources([Path(given) for given in inputs], count, seed)
        with atomic_file(out) as temporary:  # opened before the work, so that a bad place is known at once
            names, embeddings, skipped = _embed_sources(encoder, sources, batch)
            _save(temporary, embeddings, names, specification.sha256)
    return {
        "model": asdict(specification),
        "out": str(out),
        "points": count,
        "seed": seed,
        "dim": specification.dim,
        "embedded": len(names),
        "names": names,
        "skipped": skipped,
        "seconds": time.perf_counter() - start,
    }


def embed_points(encoder: Encoder, points: FloatArray, batch: int = 32) -> FloatArray:
    """Embeddings `(n, D)` of normalised clouds `(n, N, 3)`, `batch` at a time."""
    if len(points) == 0:
        return np.empty((0, encoder.specification.dim), np.float32)
    starts = range(0, len(points), batch)
    return np.concatenate([encoder.embed(points[start : start + batch]) for start in track(starts, "Embedding")])


class _Batches:
    """Collects clouds of equal size into batches, embeds those, and puts the results in the order of the clouds."""

    def __init__(self, encoder: Encoder, size: int) -> None:
        self._encoder, self._size = encoder, size
        self._waiting: dict[int, list[tuple[int, Points]]] = {}  # by number of points: position and cloud
        self._done: list[tuple[list[int], FloatArray]] = []
        self._count = 0

    def add(self, cloud: Points) -> None:
        """Take a cloud `(N, 3)`."""
        group = self._waiting.setdefault(len(cloud), [])
        group.append((self._count, cloud))
        self._count += 1
        if len(group) == self._size:
            self._embed(len(cloud))
        elif sum(map(len, self._waiting.values())) >= 4 * self._size:  # clouds of many sizes must not pile up
            self._embed(max(self._waiting, key=lambda points: len(self._waiting[points])))

    def finish(self) -> FloatArray:
        """Embeddings `(n, D)` of all clouds taken."""
        for points in list(self._waiting):
            self._embed(points)
        result = np.empty((self._count, self._encoder.specification.dim), np.float32)
        for positions, embeddings in self._done:
            result[positions] = embeddings
        return result

    def _embed(self, points: int) -> None:
        positions, clouds = zip(*self._waiting.pop(points), strict=True)
        self._done.append((list(positions), self._encoder.embed(np.stack(clouds))))


def _embed_sources(
    encoder: Encoder, sources: Sequence[Source], batch: int
) -> tuple[list[str], FloatArray, list[dict[str, str]]]:
    """Names, embeddings, and what was skipped."""
    batches, names, skipped = _Batches(encoder, batch), [], []
    for source, clouds in track(read_ahead(sources, 2 * batch), "Embedding", len(sources)):
        try:
            if isinstance(clouds, InputError):
                raise clouds
            encoder.specification.check_points(clouds.shape[1])
        except InputError as error:
            skipped.append({"file": source.name, "reason": str(error).removeprefix(f"{source.origin}: ")})
            continue
        names += [source.name] if len(clouds) == 1 else [f"{source.name}#{i}" for i in range(len(clouds))]
        for cloud in clouds:
            batches.add(cloud)
    if not names:
        first = f"; the first: {skipped[0]['file']}: {skipped[0]['reason']}" if skipped else ""
        raise InputError(f"not one of {len(sources)} inputs could be embedded{first}")
    return names, batches.finish(), skipped


def _save(path: Path, embeddings: FloatArray, names: list[str], sha256: str) -> None:
    if path.suffix == ".npy":
        np.save(path, embeddings)
    else:
        np.savez(path, embeddings=embeddings, names=np.array(names), model_sha256=np.array(sha256))
