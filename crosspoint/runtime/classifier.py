"""The parts of a classifier besides its encoder: class names, the head, and what makes an object unknown."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.arrays import Npz
from crosspoint.core.errors import InputError
from crosspoint.core.printable import printable
from crosspoint.core.reading import reading
from crosspoint.core.results import OPTIONAL
from crosspoint.data.frames import ASSUMED, Frame
from crosspoint.data.sources import Source
from crosspoint.runtime.novelty import Novelty, Scale

HEAD_FILE = "classifier.npz"
SCORES, NOVELTY = "scores", "novelty"  # the outputs of a classifier beside `embedding`
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class ClassifierInfo:
    """Description of a classifier in its ONNX file and manifest.

    Attributes:
        classes: Class names, in the order of `scores`.
        threshold: An object of a larger novelty is unknown.
        points: Points per cloud, as the head was fitted; None: all.
        at_most: Clouds of fewer points are used whole.
        head: `"logistic"`, `"svm"` or `"nearest"`; `"imported"` of a checkpoint that others trained.
        strength: C of the first two; for `nearest` the share of the unit matrix in the covariance; 0 if imported.
        temperature: Decisions are divided by it before the softmax.
        objects: Number of objects that the head was fitted to; 0 if that is not known.
        frame: In which these are stored; they were turned to y-up. None of embeddings that do not say.
    """

    classes: tuple[str, ...]
    threshold: float
    points: int | None
    at_most: bool
    head: str
    strength: float
    temperature: float
    objects: int
    frame: Frame | None = field(default=None, metadata=OPTIONAL)

    def __post_init__(self) -> None:
        """Raise ValueError if the names are not those of at least two classes."""
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError("a classifier needs two classes or more, each named once")


@dataclass(frozen=True)
class Predictions:
    """Predictions of a classifier for some clouds.

    Attributes:
        classifier: Its classes and threshold.
        scores: Probabilities `(n, classes)`.
        novelty: How unlike the labelled objects each cloud is `(n,)`; see `crosspoint.runtime.novelty`.
    """

    classifier: ClassifierInfo
    scores: NDArray[np.float32]
    novelty: NDArray[np.float32]

    @classmethod
    def from_rows(cls, classifier: ClassifierInfo, rows: NDArray[np.float32]) -> "Predictions":
        """From rows `(n, classes + 1)` of scores and novelty, which are averaged over draws together."""
        return cls(classifier, rows[:, :-1], rows[:, -1])

    @property
    def labels(self) -> list[str]:
        """The most probable class of each cloud, also for unknown ones."""
        return [self.classifier.classes[i] for i in self.scores.argmax(axis=1)]

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Largest probability of each cloud `(n,)`."""
        largest: NDArray[np.float32] = self.scores.max(axis=1)
        return largest

    @property
    def unknown(self) -> NDArray[np.bool_]:
        """True for clouds whose novelty is above the threshold `(n,)`."""
        above: NDArray[np.bool_] = self.novelty > self.classifier.threshold
        return above


@dataclass(frozen=True)
class HiddenLayer:
    """`ReLU(x W + b)` for every row, in float64.

    Attributes:
        weights: `(C, H)`.
        biases: `(H,)`.
    """

    weights: Doubles
    biases: Doubles


@dataclass(frozen=True)
class LinearHead:
    """A linear classifier of embeddings in float64, behind hidden layers where it has any.

    Attributes:
        mean: Mean of the features `(D,)`.
        scale: Their standard deviation, with a lower bound `(D,)`.
        weights: `(D, classes)`; `(H, classes)` behind hidden layers.
        biases: `(classes,)`.
        hidden: Layers between the standardised features and `weights`; only imported heads have them.
    """

    mean: Doubles
    scale: Doubles
    weights: Doubles
    biases: Doubles
    hidden: tuple[HiddenLayer, ...] = ()

    def decide(self, features: NDArray[Any]) -> Doubles:
        """`z = h((x − mean) / scale) W + b` for embeddings `(n, D)`: `(n, classes)`; the largest one is the class.

        h are the hidden layers.
        """
        x = self.standardise(features)
        for layer in self.hidden:
            x = np.maximum(x @ layer.weights + layer.biases, 0)
        decisions: Doubles = x @ self.weights + self.biases
        return decisions

    def standardise(self, features: NDArray[Any]) -> Doubles:
        """`(x − mean) / scale` for embeddings `(n, D)`."""
        standard: Doubles = (np.asarray(features, np.float64) - self.mean) / self.scale
        return standard


@dataclass(frozen=True)
class Classifier:
    """A head, the measure of novelty, and clouds that exports of both are compared on.

    Attributes:
        info: Description in the exported file.
        head: The head in float64.
        novelty: Measures how unlike the labelled objects a cloud is.
        clouds: Normalised clouds of the user `(m, N, 3)`.
        labels: Their classes `(m,)`.
        source: Description of the clouds.
    """

    info: ClassifierInfo
    head: LinearHead
    novelty: Novelty
    clouds: NDArray[np.float32] = field(repr=False)
    labels: NDArray[np.int64] = field(repr=False)
    source: str = "clouds that the head was fitted to"

    def scores(self, features: NDArray[Any]) -> Doubles:
        """Probabilities `(n, classes)` of embeddings `(n, D)`, in float64."""
        return softmax(self.head.decide(features) / self.info.temperature)

    def rows(self, features: NDArray[Any]) -> Doubles:
        """Scores and novelty `(n, classes + 1)` of embeddings `(n, D)`, in float64."""
        scores = self.scores(features)
        novelty = self.novelty.measure(self.head.standardise(features), scores)
        return np.concatenate([scores, novelty[:, None]], axis=1)


def check_frames(classifier: ClassifierInfo, sources: Sequence[Source], *, path: str) -> None:
    """Raise InputError where the classifier's objects are not y-up and a source does not say how it lies.

    All are turned to y-up, so any two frames that are known go together.
    """
    if classifier.frame is None or classifier.frame.given in (None, "y"):
        return
    unknown = next((source.name for source in sources if source.frame == ASSUMED), None)
    if unknown is not None:
        raise InputError(
            f"the objects of {path} are {classifier.frame.up}-up, and {printable(unknown)} does not state which axis "
            f"points up; give --up {classifier.frame.up} if it is the same there, else --up y"
        )


def softmax(decisions: NDArray[Any]) -> Doubles:
    """`exp(z_k) / Σⱼ exp(z_j)` over the last dimension, in float64."""
    z = np.asarray(decisions, np.float64)
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    shares: Doubles = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def write_classifier(path: Path, classifier: Classifier) -> None:
    """Write head and clouds as an `.npz` file; equal values give equal bytes."""
    head, novelty = classifier.head, classifier.novelty
    scales = [(scale.mean, scale.deviation) for scale in (novelty.distance, novelty.doubt)]
    arrays: dict[str, NDArray[Any]] = {
        "mean": head.mean,
        "scale": head.scale,
        "weights": head.weights,
        "biases": head.biases,
        "references": novelty.references,
        "novelty_scales": np.array(scales),
        "clouds": classifier.clouds,
        "labels": classifier.labels,
        "source": np.array(classifier.source),
    }
    for i, layer in enumerate(head.hidden):
        arrays |= {f"hidden{i}_weights": layer.weights, f"hidden{i}_biases": layer.biases}
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def parse_classifier(path: Path, content: bytes, *, info: ClassifierInfo) -> Classifier:
    """Parse the bytes of `write_classifier`.

    Args:
        path: For messages.
        content: The bytes, already compared with the SHA-256 in the manifest.
        info: Description in the manifest.

    Raises:
        InputError: The file is damaged, or belongs to another classifier.
    """
    with reading(path, "the head of a classifier", advice="fit it again"):
        file = Npz(content)
        hidden = tuple(
            HiddenLayer(*(np.asarray(file[f"hidden{i}_{part}"], np.float64) for part in ("weights", "biases")))
            for i in range(sum(name.startswith("hidden") for name in file.names) // 2)
        )
        mean, scale, weights, biases = (
            np.asarray(file[name], np.float64) for name in ("mean", "scale", "weights", "biases")
        )
        head = LinearHead(mean, scale, weights, biases, hidden)
        scales = np.asarray(file["novelty_scales"], np.float64).reshape(2, 2).tolist()
        novelty = Novelty(np.asarray(file["references"], np.float32), *(Scale(*pair) for pair in scales))
        clouds, labels = np.asarray(file["clouds"], np.float32), np.asarray(file["labels"], np.int64)
        source = str(file["source"].item())
    dim, classes = head.mean.size, len(info.classes)
    shapes = [array.shape for array in (head.mean, head.scale, head.biases)]
    layers = [*((layer.weights, layer.biases) for layer in hidden), (head.weights, head.biases)]
    widths = [dim, *(biases.size for _, biases in layers)]
    fits = all(weights.shape == pair for (weights, _), pair in zip(layers, pairwise(widths), strict=True))
    fits = fits and novelty.references.ndim == 2 and novelty.references.shape[1] == dim
    if shapes != [(dim,), (dim,), (classes,)] or not fits or (len(clouds), *clouds.shape[2:]) != (len(labels), 3):
        raise InputError(f"{path} is not the head of {classes} classes; fit the classifier again")
    return Classifier(info, head, novelty, clouds, labels, source)
