"""Embeds whole data sets; every evaluation gets its features here."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.core.results import OPTIONAL
from crosspoint.data.frames import Frame, Up, find_frame
from crosspoint.data.points import normalise
from crosspoint.data.splits import Split
from crosspoint.eval.cache import cached
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.options import RunOn


@dataclass(frozen=True)
class ModelInfo:
    """Description of a model in a result; see `crosspoint.runtime.encoder.Specification`."""

    path: str
    sha256: str
    architecture: str
    dim: int
    precision: str
    backend: str
    device: str


@dataclass(frozen=True)
class ReferenceModel:
    """The other model of a comparison."""

    model: ModelInfo


@dataclass(frozen=True)
class SplitInfo:
    """Description of the data in a result.

    Attributes:
        path: The folder.
        format: `modelnet40` or `scanobjectnn`.
        classes: Number of classes.
        train: Number of training objects.
        test: Number of test objects.
        test_from: Where the test part comes from, in words.
        points: Points per cloud.
        seed: Random seed.
        frame: In which clouds are stored; None of an earlier version, which turned nothing.
    """

    path: str
    format: str
    classes: int
    train: int
    test: int
    test_from: str
    points: int
    seed: int
    frame: Frame | None = field(default=None, metadata=OPTIONAL)


def check_seed(seed: int) -> None:
    """Raise InputError unless random generators accept the seed."""
    if not 0 <= seed < 2**32 - 1000:
        raise InputError(f"--seed is {seed}; give 0 to 4294966295")


def embed_clouds(
    encoder: Encoder,
    clouds: NDArray[np.float32],
    *,
    description: str = "Embedding",
    batch: int = 32,
    cache: Path | None = None,
    as_stored: bool = False,
) -> NDArray[np.float32]:
    """Normalise clouds `(n, N, 3)` as in training and embed them, with a progress bar: `(n, D)`, not normalised.

    Args:
        encoder: The open encoder.
        clouds: Clouds, not normalised.
        description: Text of the progress bar.
        batch: Clouds per call.
        cache: Folder of the cache (`crosspoint.eval.cache`); None: no cache.
        as_stored: Take the clouds as they are, not normalised.
    """

    def embed(piece: NDArray[np.float32]) -> NDArray[np.float32]:
        return encoder.infer({"points": piece}, any_scale=True) if as_stored else encoder.embed(normalise(piece))

    def compute() -> NDArray[np.float32]:
        starts = range(0, len(clouds), batch)
        return np.concatenate([embed(clouds[start : start + batch]) for start in track(starts, description)])

    return cached(cache, encoder.specification, clouds=clouds, compute=compute, as_stored=as_stored)


def embed_split(
    encoder: Encoder,
    split: Split,
    *,
    select: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    description: str,
    cache: Path | None = None,
    as_stored: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings of the training and of the test part, `(n, D)` and `(m, D)`.

    If one stored split was divided into both parts, it is embedded before the division. So a cache can be used again
    with another `--seed` of the division.

    Args:
        encoder: The open encoder.
        split: The data.
        select: Selects the points to use `(n, N, 3)` from the stored ones.
        description: Text of the progress bar.
        cache: As in `embed_clouds`.
        as_stored: As in `embed_clouds`.
    """
    embed = partial(embed_clouds, encoder, description=description, cache=cache, as_stored=as_stored)
    if split.divided is None:
        train, test = (embed(select(part.points)) for part in (split.train, split.test))
        return train, test
    whole, rows, others = split.divided
    features = embed(select(whole.points))
    return features[rows], features[others]


@contextmanager
def open_encoders(
    model: Path, against: Path | None, *, run_on: RunOn, points: int, k: int | None = None
) -> Iterator[list[Encoder]]:
    """Open the model and, if given, the model to compare with, on one device, for clouds of `points`.

    Args:
        model: The model; anything that `load_encoder` opens.
        against: Model to compare with, on the backend of its file type.
        run_on: Device of both models, the backend of the model, and whether plans are trusted.
        points: Points per cloud.
        k: Number of neighbours, for PyTorch weights; None: the model's own.

    Raises:
        InputError: A model cannot be opened, or does not take this number of points or neighbours.
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
    """The model's description in a result."""
    spec = encoder.specification
    return ModelInfo(spec.path, spec.sha256, spec.architecture, spec.dim, spec.precision, spec.backend, spec.device)


def frame_of_set(data: Path, up: Up | None) -> Frame:
    """The frame of a labelled set: y-up as published, unless the user gives another."""
    return find_frame(up, "y", what=f"the clouds of {data}")


def describe_split(data: Path, split: Split, *, points: int, seed: int, frame: Frame) -> SplitInfo:
    """The data's description in a result."""
    train, test = len(split.train.labels), len(split.test.labels)
    return SplitInfo(str(data), split.name, len(split.class_names), train, test, split.test_from, points, seed, frame)
