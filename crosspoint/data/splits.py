"""Splits labelled sets into training and test parts, and draws balanced samples."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError
from crosspoint.data.frames import Up
from crosspoint.data.points import sample_points
from crosspoint.data.sets.datasets import Clouds, load_classification

HELD_OUT = 0.2


@dataclass(frozen=True)
class Split:
    """A labelled set of clouds, split into a training part and a test part.

    Attributes:
        name: Format of the data, `"modelnet40"` or `"scanobjectnn"`.
        class_names: Class names, by label.
        train: Training clouds, with all stored points.
        test: Test clouds, with all stored points.
        test_from: Where the test part comes from, in words.
        divided: If one stored split was divided: that split, and the rows of `train` and `test`.
    """

    name: str
    class_names: tuple[str, ...]
    train: Clouds
    test: Clouds
    test_from: str
    divided: tuple[Clouds, NDArray[np.int64], NDArray[np.int64]] | None = None


def load_split(data: Path, points: int, *, seed: int, up: Up = "y") -> Split:
    """Read a classification set. If it has no test split, hold out a stratified fifth of the training split.

    Args:
        data: A folder in ModelNet40's or ScanObjectNN's format.
        points: Least number of points of every cloud.
        seed: Random seed of the held-out part.
        up: As for `load_classification`.

    Raises:
        InputError: The data cannot be read, clouds have fewer points, or a class is too small to split.
    """
    whole = load_classification(data, None, up=up)
    check_stored(data, whole.train.points, points=points)
    if whole.test is not None:
        check_stored(data, whole.test.points, points=points)
        return Split(whole.name, whole.class_names, whole.train, whole.test, "the test split")
    train, test = stratified(whole.train.labels, HELD_OUT, seed=seed)
    source = f"{HELD_OUT:.0%} of the training split, stratified, seed {seed}, because there is no test split"
    parts = take(whole.train, train), take(whole.train, test)
    return Split(whole.name, whole.class_names, *parts, source, (whole.train, train, test))


def check_stored(data: Path, clouds: NDArray[np.float32], *, points: int) -> None:
    """Raise InputError if clouds `(n, N, 3)` have fewer than `points` points."""
    if not 1 <= points <= clouds.shape[1]:
        raise InputError(f"{data} has {clouds.shape[1]} points per cloud, fewer than {points}; give a smaller --points")


def stratified(labels: NDArray[np.int64], share: float, *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Stratified split of `(n,)` labels: sorted indices of the larger part, and of a `share` of each class.

    Raises:
        InputError: A class has only one object, or there are too few objects to have each class on both sides.
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
    """The clouds with these indices."""
    return Clouds(clouds.points[rows], clouds.labels[rows])


def sample(clouds: NDArray[np.float32], points: int, *, seed: int) -> NDArray[np.float32]:
    """Draw `points` of each cloud `(n, N, 3)` at random, without replacement: `(n, points, 3)`."""
    rng = np.random.default_rng(seed)
    return np.stack([sample_points(cloud, points, rng=rng) for cloud in clouds])


def balanced(labels: NDArray[np.int64], count: int, *, seed: int) -> NDArray[np.int64]:
    """Sorted indices of `count` of `(n,)` labels, as evenly over the classes as possible."""
    order = np.random.default_rng(seed).permutation(len(labels))
    ranks = np.empty(len(labels), np.int64)  # rank of each object within its class, in random order
    for label in np.unique(labels):
        own = order[labels[order] == label]
        ranks[own] = np.arange(len(own))
    return np.sort(order[np.argsort(ranks[order], kind="stable")][:count])
