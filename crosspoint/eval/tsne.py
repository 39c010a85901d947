"""Figure 4: a t-SNE map of the features of ten classes, for several models side by side."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.data.sets.datasets import Clouds
from crosspoint.data.splits import Split, load_split, take
from crosspoint.eval.features import embed_clouds, open_encoders
from crosspoint.eval.paper.published import MODELNET10
from crosspoint.runtime.options import RunOn

NEIGHBOURS = 5


class Panel(NamedTuple):
    """The map of one model.

    Attributes:
        title: Name of the model.
        places: Positions `(n, 2)`.
        labels: `(n,)`.
        accuracy: Share of objects whose `NEIGHBOURS` nearest objects in feature space have their class, by vote.
    """

    title: str
    places: NDArray[np.float32]
    labels: NDArray[np.int64]
    accuracy: float


def ten_classes(split: Split) -> tuple[tuple[str, ...], Clouds]:
    """Test objects of ModelNet10's classes, or of the first ten classes if the set has others; labels 0 to 9."""
    wanted = [name for name in MODELNET10 if name in split.class_names] or list(split.class_names[:10])
    numbers = [split.class_names.index(name) for name in wanted]
    objects = take(split.test, np.flatnonzero(np.isin(split.test.labels, numbers)))
    labels = np.array([numbers.index(label) for label in objects.labels], np.int64)
    return tuple(wanted), Clouds(objects.points, labels)


def tsne(features: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Positions `(n, 2)` of features `(n, D)` by t-SNE (van der Maaten and Hinton, 2008), started from PCA.

    Raises:
        InputError: There are fewer than four objects.
    """
    from sklearn.manifold import TSNE

    if len(features) < 4:
        raise InputError(f"t-SNE needs at least 4 objects, not {len(features)}; give a larger test split")
    perplexity = min(30.0, (len(features) - 1) / 3)
    places: NDArray[np.float32] = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(features)
    return places


def neighbour_accuracy(features: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Leave-one-out accuracy of a vote of the nearest objects in feature space."""
    from sklearn.neighbors import KNeighborsClassifier

    count = min(NEIGHBOURS, len(labels) - 1)
    classifier = KNeighborsClassifier(count).fit(features, labels)
    others = classifier.kneighbors(return_distance=False)  # (n, count), without the objects themselves
    votes = np.stack([np.bincount(row, minlength=labels.max() + 1) for row in labels[others]])
    return float(np.mean(votes.argmax(axis=1) == labels))


def panels(
    models: dict[str, Path], data: Path, *, points: int, seed: int = 0, run_on: RunOn = RunOn()
) -> tuple[tuple[str, ...], list[Panel]]:
    """Make one panel per model.

    Args:
        models: Models, by title.
        data: A folder in ModelNet40's or ScanObjectNN's format.
        points: Points per cloud; the first ones are taken.
        seed: Random seed of t-SNE and of the held-out part, if there is no test split.
        run_on: Device, backend and cache.

    Returns:
        The names of the classes, and the panels.

    Raises:
        InputError: A model or the data cannot be used.
    """
    class_names, objects = ten_classes(load_split(data, points, seed=seed))
    result = []
    for title, model in track(list(models.items()), "t-SNE"):
        with open_encoders(model, None, run_on=run_on, points=points) as encoders:
            features = embed_clouds(
                encoders[0], objects.points[:, :points], description=f"Embedding, {title}", cache=run_on.cache
            )
        accuracy = neighbour_accuracy(features, objects.labels)
        result.append(Panel(title, tsne(features, seed), objects.labels, accuracy))
    return class_names, result
