"""Runs sources through a model: clouds of equal size form batches, and results keep the order of the clouds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.core.reading import reason_without
from crosspoint.data.objects.clouds import Boxes, ObjectClouds
from crosspoint.data.points import Points
from crosspoint.data.sources import Loaded, Source, read_ahead
from crosspoint.runtime.draws import mean_of_draws, split_draws
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.inputs import FloatArray


@dataclass(frozen=True)
class Skipped:
    """A source that was left out, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class EmbeddedGroup:
    """The embeddings of some sources.

    Attributes:
        names: Names of the n clouds.
        vectors: `(n, D)` float32; for `score_groups` scores and novelty `(n, classes + 1)`.
        skipped: The sources that were left out, with the reason.
        sources_sha256: SHA-256 of the content of each source.
        boxes: Boxes and numbers of points of the n clouds, if they are objects of scans.
    """

    names: list[str]
    vectors: FloatArray
    skipped: list[Skipped]
    sources_sha256: list[str]
    boxes: Boxes | None = None


Run = Callable[[Points], FloatArray]
"""Maps clouds `(B, N, 3)` to one row each `(B, width)`."""


class _Batches:
    """Collects clouds of equal size into batches, runs them, and puts the results in the order of the clouds."""

    def __init__(self, run: Run, width: int, size: int) -> None:
        self._run, self._width, self._size = run, width, size
        self._waiting: dict[int, list[tuple[int, Points]]] = {}  # by number of points: position and cloud
        self._done: list[tuple[list[int], FloatArray]] = []
        self._count = 0

    def add(self, cloud: Points) -> None:
        """Add a cloud `(N, 3)`."""
        group = self._waiting.setdefault(len(cloud), [])
        group.append((self._count, cloud))
        self._count += 1
        if len(group) == self._size:
            self._finish(len(cloud))
        elif sum(map(len, self._waiting.values())) >= 4 * self._size:  # limits memory when clouds have many sizes
            self._finish(max(self._waiting, key=lambda points: len(self._waiting[points])))

    def finish(self) -> FloatArray:
        """Results `(n, width)` of all clouds."""
        for points in list(self._waiting):
            self._finish(points)
        result = np.empty((self._count, self._width), np.float32)
        for positions, rows in self._done:
            result[positions] = rows
        return result

    def _finish(self, points: int) -> None:
        positions, clouds = zip(*self._waiting.pop(points), strict=True)
        self._done.append((list(positions), self._run(np.stack(clouds))))


def embed_groups(
    encoder: Encoder, groups: Sequence[Sequence[Source]], *, batch: int, readers: int = 0
) -> Iterator[EmbeddedGroup]:
    """Embed groups of sources one after the other; sources of the next groups are read meanwhile.

    Args:
        encoder: The model.
        groups: Groups of sources. Only the results of one group are in memory at a time.
        batch: Most clouds per call of the model.
        readers: Number of reader processes, see `read_ahead`.

    Yields:
        The result of each group.
    """
    return _run_groups(
        encoder, groups, lambda: _Batches(encoder.embed, encoder.specification.dim, batch), batch, readers
    )


def score_groups(
    encoder: Encoder, groups: Sequence[Sequence[Source]], *, batch: int, readers: int = 0
) -> Iterator[EmbeddedGroup]:
    """The same for scores and novelty `(n, classes + 1)` of a classifier; arguments as `embed_groups`."""
    classifier = encoder.specification.classifier
    width = 0 if classifier is None else len(classifier.classes) + 1

    def scores(clouds: Points) -> FloatArray:
        found = encoder.predict(clouds)
        return np.concatenate([found.scores, found.novelty[:, None]], axis=1)

    return _run_groups(encoder, groups, lambda: _Batches(scores, width, batch), batch, readers)


def _run_groups(
    encoder: Encoder, groups: Sequence[Sequence[Source]], begin: Callable[[], _Batches], batch: int, readers: int
) -> Iterator[EmbeddedGroup]:
    sources = list(chain.from_iterable(groups))
    read = track(read_ahead(sources, 4 * batch, processes=readers), "Embedding", total=len(sources))
    for group in groups:
        yield _run_group(encoder, islice(read, len(group)), begin())


def _run_group(encoder: Encoder, read: Iterable[Loaded], batches: _Batches) -> EmbeddedGroup:
    names, skipped, content = list[str](), list[Skipped](), list[str]()
    counts, boxes = list[int](), list[Boxes]()  # draws of each cloud; boxes of the objects of each scan
    for source, clouds, sha256 in read:
        content.append(sha256)
        try:
            if isinstance(clouds, InputError):
                raise clouds
            drawn = split_draws(clouds, source.draws)
            for count in {len(cloud) for cloud in clouds}:
                encoder.specification.check_points(count)
        except InputError as error:
            skipped.append(Skipped(source.name, reason_without(source.origin, error)))
            continue
        if isinstance(clouds, ObjectClouds):
            names += [f"{source.name}#{name}" for name in clouds.names]
            boxes.append(clouds.boxes)
        else:
            names += [source.name] if len(drawn) == 1 else [f"{source.name}#{i}" for i in range(len(drawn))]
        counts += map(len, drawn)
        for cloud in chain.from_iterable(drawn):
            batches.add(cloud)
    vectors = mean_of_draws(batches.finish(), counts)
    return EmbeddedGroup(names, vectors, skipped, content, Boxes.concatenate(boxes) if boxes else None)
