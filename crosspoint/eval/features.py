"""Embeddings of whole datasets: the one place where an evaluation meets a model."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.data.points import normalise
from crosspoint.data.splits import Split
from crosspoint.eval.cache import cached
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.options import RunOn


@dataclass(frozen=True)
class ModelInfo:
    """What a result says of its model; see `crosspoint.runtime.encoder.Specification`."""

    path: str
    sha256: str
    architecture: str
    dim: int
    precision: str
    backend: str
    device: str


@dataclass(frozen=True)
class Reference:
    """The other model, which a result is compared with."""

    model: ModelInfo


@dataclass(frozen=True)
class SplitInfo:
    """What a result says of its data.

    Attributes:
        path: The folder.
        format: `modelnet40` or `scanobjectnn`.
        classes: How many there are.
        train: Objects to train on.
        test: Objects to test on.
        test_from: Where the test part comes from.
        points: Points per cloud.
        seed: Of every random choice.
    """

    path: str
    format: str
    classes: int
    train: int
    test: int
    test_from: str
    points: int
    seed: int


def check_seed(seed: int) -> None:
    """Raise InputError unless `seed` is one that random generators take."""
    if not 0 <= seed < 2**32 - 1000:
        raise InputError(f"the seed {seed} cannot be used; give --seed 0 to 4294966295")


def embed_clouds(
    encoder: Encoder,
    clouds: NDArray[np.float32],
    *,
    description: str = "Embedding",
    batch: int = 32,
    cache: Path | None = None,
) -> NDArray[np.float32]:
    """Normalise clouds `(n, N, 3)` as in training and embed them, with a progress bar: `(n, D)`, not normalised.

    Args:
        encoder: Open.
        clouds: As stored.
        description: What the progress bar says.
        batch: Clouds in a call.
        cache: Folder in which embeddings are kept and found again (`crosspoint.eval.cache`).
    """

    def compute() -> NDArray[np.float32]:
        starts = range(0, len(clouds), batch)
        pieces = [encoder.embed(normalise(clouds[start : start + batch])) for start in track(starts, description)]
        return np.concatenate(pieces)

    return cached(cache, encoder.specification, clouds=clouds, compute=compute)


def embed_split(
    encoder: Encoder,
    split: Split,
    *,
    select: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    description: str,
    cache: Path | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings of the training and of the test part, `(n, D)` and `(m, D)`.

    A part that was divided is embedded as a whole, so that the features in a cache serve every way to divide it.

    Args:
        encoder: Open.
        split: What to embed.
        select: The points to use `(n, N, 3)` of those stored.
        description: What the progress bar says.
        cache: As for `embed_clouds`.
    """
    if split.divided is None:
        train, test = (
            embed_clouds(encoder, select(part.points), description=description, cache=cache)
            for part in (split.train, split.test)
        )
        return train, test
    whole, rows, others = split.divided
    features = embed_clouds(encoder, select(whole.points), description=description, cache=cache)
    return features[rows], features[others]


@contextmanager
def open_encoders(
    model: Path, against: Path | None, *, run_on: RunOn, points: int, k: int | None = None
) -> Iterator[list[Encoder]]:
    """The model, and the one it is compared with if there is one, on one device and ready for clouds of `points`.

    Args:
        model: Anything that can embed.
        against: Another model, run by what its file is for.
        run_on: The device of both, the backend of the model, and whether plans are trusted.
        points: Points per cloud.
        k: Neighbours in the graphs, where the model is one of PyTorch; None for its own number.

    Raises:
        InputError: A model cannot be opened, or does not take that many points or that k.
    """
    from crosspoint.runtime.load import load_encoder

    with ExitStack() as stack:
        encoders = [stack.enter_context(load_encoder(model, run_on.device, backend=run_on.backend, trust=run_on.trust))]
        if against is not None:
            encoders.append(stack.enter_context(load_encoder(against, run_on.device, trust=run_on.trust)))
        for encoder in encoders:
            if k is not None:
                encoder.set_neighbours(k)
            encoder.specification.check_points(points)
        yield encoders


def describe_model(encoder: Encoder) -> ModelInfo:
    """What a result says of the model that it is about."""
    spec = encoder.specification
    return ModelInfo(spec.path, spec.sha256, spec.architecture, spec.dim, spec.precision, spec.backend, spec.device)


def describe_split(data: Path, split: Split, *, points: int, seed: int) -> SplitInfo:
    """What a result says of the data that it was measured on."""
    train, test = len(split.train.labels), len(split.test.labels)
    return SplitInfo(str(data), split.name, len(split.class_names), train, test, split.test_from, points, seed)
