"""Embeddings of whole datasets: the one place where an evaluation meets a model."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.data.points import choose, normalise
from crosspoint.data.sets.datasets import Clouds, load_classification
from crosspoint.eval.cache import cached
from crosspoint.runtime.encoder import Encoder

HELD_OUT = 0.2


@dataclass(frozen=True)
class Split:
    """A labelled set of clouds in a part to train on and a part to test on.

    Attributes:
        name: Format of the data, `"modelnet40"` or `"scanobjectnn"`.
        class_names: By label.
        train: All stored points.
        test: All stored points.
        test_from: Where the test part comes from, for the reader of a result.
        divided: Where one stored part was divided in two: it, and its rows that are `train` and `test`.
    """

    name: str
    class_names: tuple[str, ...]
    train: Clouds
    test: Clouds
    test_from: str
    divided: tuple[Clouds, NDArray[np.int64], NDArray[np.int64]] | None = None

    def describe(self) -> dict[str, Any]:
        """What a result says of its data."""
        return {
            "format": self.name,
            "classes": len(self.class_names),
            "train": len(self.train.labels),
            "test": len(self.test.labels),
            "test_from": self.test_from,
        }


def load_split(data: Path, points: int, seed: int) -> Split:
    """Read a classification set; where it has no test split, hold out a stratified fifth of the training split.

    Args:
        data: A folder in ModelNet40's or ScanObjectNN's format.
        points: Fewest points that every cloud needs.
        seed: Of the held-out part.

    Raises:
        InputError: The data cannot be read, clouds have fewer points, or a class is too small to be split.
    """
    whole = load_classification(data, None)
    check_stored(data, whole.train.points, points)
    if whole.test is not None:
        check_stored(data, whole.test.points, points)
        return Split(whole.name, whole.class_names, whole.train, whole.test, "the test split")
    train, test = stratified(whole.train.labels, HELD_OUT, seed)
    source = f"{HELD_OUT:.0%} of the training split, stratified, seed {seed}: there is no test split"
    parts = take(whole.train, train), take(whole.train, test)
    return Split(whole.name, whole.class_names, *parts, source, (whole.train, train, test))


def check_seed(seed: int) -> None:
    """Raise InputError unless `seed` is one that random generators take."""
    if not 0 <= seed < 2**32 - 1000:
        raise InputError(f"the seed {seed} cannot be used; give --seed 0 to 4294966295")


def check_stored(data: Path, clouds: NDArray[np.float32], points: int) -> None:
    """Raise InputError if clouds `(n, N, 3)` hold fewer than `points` points."""
    if not 1 <= points <= clouds.shape[1]:
        raise InputError(f"{data} stores {clouds.shape[1]} points per cloud, {points} were asked for; give --points")


def stratified(labels: NDArray[np.int64], share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sorted indices of a stratified split of `(n,)` labels: the larger part, and a `share` of each class.

    Raises:
        InputError: A class has a single object, or there are too few objects for one of each class on both sides.
    """
    from sklearn.model_selection import train_test_split

    try:
        train, test = train_test_split(np.arange(len(labels)), test_size=share, stratify=labels, random_state=seed)
    except ValueError as error:
        raise InputError(
            f"a held-out part of {share:.0%} cannot be drawn from {len(labels)} objects ({error}); add objects"
        ) from error
    return np.sort(train), np.sort(test)


def take(clouds: Clouds, rows: NDArray[np.int64]) -> Clouds:
    """The clouds at some indices."""
    return Clouds(clouds.points[rows], clouds.labels[rows])


def sample(clouds: NDArray[np.float32], points: int, seed: int) -> NDArray[np.float32]:
    """Draw `points` of each cloud `(n, N, 3)` at random, without replacement: `(n, points, 3)`."""
    rng = np.random.default_rng(seed)
    return np.stack([choose(cloud, points, rng) for cloud in clouds])


def embed_clouds(
    encoder: Encoder,
    clouds: NDArray[np.float32],
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

    return cached(cache, encoder.specification, clouds, compute)


def embed_split(
    encoder: Encoder,
    split: Split,
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
            embed_clouds(encoder, select(part.points), description, cache=cache) for part in (split.train, split.test)
        )
        return train, test
    whole, rows, others = split.divided
    features = embed_clouds(encoder, select(whole.points), description, cache=cache)
    return features[rows], features[others]


@contextmanager
def open_encoders(
    model: Path, against: Path | None, device: str, backend: str | None, points: int, k: int | None = None
) -> Iterator[list[Encoder]]:
    """The model, and the one it is compared with if there is one, on one device and ready for clouds of `points`.

    Args:
        model: Anything that can embed.
        against: Another model, run by what its file is for.
        device: Where both run.
        backend: What runs the model; None for the usual one.
        points: Points per cloud.
        k: Neighbours in the graphs, where the model is one of PyTorch; None for its own number.

    Raises:
        InputError: A model cannot be opened, or does not take that many points or that k.
    """
    from crosspoint.runtime.load import load_encoder

    with ExitStack() as stack:
        encoders = [stack.enter_context(load_encoder(model, device, backend))]
        if against is not None:
            encoders.append(stack.enter_context(load_encoder(against, device)))
        for encoder in encoders:
            if k is not None:
                encoder.set_neighbours(k)
            encoder.specification.check_points(points)
        yield encoders


def describe_model(encoder: Encoder) -> dict[str, Any]:
    """What a result says of the model that it is about."""
    specification = encoder.specification
    names = ("path", "sha256", "architecture", "dim", "precision", "backend", "device")
    return {name: getattr(specification, name) for name in names}
