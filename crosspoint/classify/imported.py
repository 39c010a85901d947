"""`crosspoint import`: makes an encoder, or a classifier with its head, from a checkpoint that others trained."""

import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from crosspoint.classify.objects import EXAMPLES
from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_replaceable
from crosspoint.core.printable import printable
from crosspoint.core.reading import read_lines
from crosspoint.core.results import OPTIONAL, Result
from crosspoint.data.frames import Frame, Up, common_frame
from crosspoint.data.labelled import find_labelled
from crosspoint.data.points import Points
from crosspoint.data.splits import balanced
from crosspoint.export.bundle import export
from crosspoint.export.engine.engine import check_ours
from crosspoint.export.options import ExportOptions
from crosspoint.models.official import ADVICE, STATISTICS, ForeignCheckpoint, convert, import_official, read_checkpoint
from crosspoint.models.weights import save_model
from crosspoint.parity.clouds import ordinary
from crosspoint.parity.reference import Reference
from crosspoint.runtime.classifier import Classifier, ClassifierInfo, Doubles, HiddenLayer, LinearHead
from crosspoint.runtime.novelty import Novelty, Scale

POINTS = 1024  # per cloud, as PointNet was trained; clouds of fewer points are used whole
MADE = 16  # synthetic clouds
DIM = 1024  # width of PointNet's embedding
LAYERS = (("linear1", "bn1"), ("linear2", "bn2"))  # hidden layers of the head
LAST = "linear3"
HEAD = frozenset(name for pair in LAYERS for name in pair) | {LAST}
EPSILON = 1e-5  # of the normalisations, PyTorch's default


@dataclass(frozen=True)
class ImportResult(Result):
    """What was imported.

    Attributes:
        out: The file or the bundle.
        model: The network's configuration.
        left_out: Entries of the checkpoint that have no place in it.
        classes: Class names of a classifier.
    """

    schema: ClassVar[str] = "crosspoint.import/1"

    out: str
    model: dict[str, int | str]
    left_out: tuple[str, ...]
    classes: tuple[str, ...] | None = field(default=None, metadata=OPTIONAL)


def import_checkpoint(
    checkpoint: Path,
    out: Path,
    *,
    k: int | None = None,
    classes: Path | None = None,
    data: Path | None = None,
    up: Up | None = None,
) -> ImportResult:
    """Convert a checkpoint that others trained.

    Args:
        checkpoint: A file of `torch.save` holding a state dict: of an official CrossPoint DGCNN, of PointNet, of a
            PointNet classifier, or of DGCNN for S3DIS.
        out: A `.safetensors` file for the encoder; or, for a classifier with its head, the folder of a bundle, as
            `crosspoint fit` writes it.
        k: Number of neighbours of a DGCNN, which no checkpoint says.
        classes: Text file with one class name a line, in the order of the classifier's outputs.
        data: Folder of labelled clouds, on which the exported classifier is compared with the checkpoint; None:
            synthetic clouds.
        up: Axis that points up in `data`; None: as its format says, else y.

    Returns:
        The network, and what was left out.

    Raises:
        InputError: The checkpoint cannot be read or is of another network, or an option is missing or does not belong.
        CheckFailed: The exported classifier differs from the checkpoint; nothing was written.
    """
    if Path(out).suffix == ".safetensors":
        if classes is not None or data is not None or up is not None:
            option = "--classes" if classes is not None else "--data" if data is not None else "--up"
            raise InputError(f"{option} is for classifiers, which are folders; give --out FOLDER, or leave it out")
        imported = import_official(checkpoint, k, out=out)
        return ImportResult(str(out), imported.config, imported.unused)
    if up is not None and data is None:
        raise InputError("--up is about clouds that are read; give --data with it, or leave it out")
    found = read_checkpoint(checkpoint)
    if not found.is_classifier:
        raise InputError(f"{checkpoint} has no classifier's head; give --out FILE.safetensors for its encoder")
    check_replaceable(out, check_ours, inputs=[checkpoint])
    imported = convert(found.entries, k, source=str(checkpoint))
    head = read_head(found)
    names = _class_names(found, classes, len(head.biases))
    examples = _examples(data, names, up) if data is not None else _made(imported.model, head)
    info = ClassifierInfo(
        classes=names,
        threshold=1.0,  # above any novelty, see `no_novelty`
        points=POINTS,
        at_most=True,
        head="imported",
        strength=0.0,
        temperature=1.0,
        objects=0,
        frame=examples.frame,
    )
    classifier = Classifier(info, head, no_novelty(DIM), examples.clouds, examples.labels, examples.source)
    with tempfile.TemporaryDirectory(prefix="crosspoint-") as folder:
        encoder = Path(folder) / "encoder.safetensors"
        save_model(imported.model, encoder, recipe=found.recipe(k))
        export(encoder, out, points=None, options=ExportOptions(classifier=classifier))
    left_out = tuple(name for name in imported.unused if name.split(".")[0] not in HEAD)
    return ImportResult(str(out), imported.config, left_out, names)


def no_novelty(dim: int) -> Novelty:
    """A measure by which nothing is unknown: a checkpoint does not say what objects it was not trained on.

    It is 1 − the largest probability, below 1; the distance to labelled objects, of which there are none, counts for 0.
    """
    return Novelty(np.zeros((1, dim), np.float32), Scale(0.0, math.inf), Scale(0.0, 1.0))


def read_head(checkpoint: ForeignCheckpoint) -> LinearHead:
    """The head of a PointNet classifier: `ReLU(BN(A x + c))` twice, then a linear layer; for embeddings `(n, 1024)`.

    With `BN(y) = a y + b` on the running statistics, a hidden layer is `ReLU((a A) x + a c + b)`, in float64.

    Raises:
        InputError: An entry is missing or has a shape that does not fit.
    """
    hidden, width = [], DIM
    for linear, norm in LAYERS:
        weights, biases = _linear(checkpoint, linear, width)
        width = len(biases)
        gamma, beta, mean, variance = (_entry(checkpoint, f"{norm}.{name}", width) for name in STATISTICS[:4])
        if not (variance >= 0).all():
            raise InputError(f"{checkpoint.path}: {norm}.running_var has negative values; {ADVICE}")
        scale = gamma / np.sqrt(variance + EPSILON)
        hidden.append(HiddenLayer((scale[:, None] * weights).T, scale * (biases - mean) + beta))
    weights, biases = _linear(checkpoint, LAST, width)
    return LinearHead(np.zeros(DIM), np.ones(DIM), np.ascontiguousarray(weights.T), biases, tuple(hidden))


def _linear(checkpoint: ForeignCheckpoint, name: str, inputs: int) -> tuple[Doubles, Doubles]:
    """Weights `(D, inputs)` and biases `(D,)`; without biases they are 0."""
    weight = checkpoint.entries.get(f"{name}.weight")
    outputs = 0 if weight is None or weight.ndim == 0 else weight.shape[0]
    weights = _entry(checkpoint, f"{name}.weight", outputs, inputs)
    if f"{name}.bias" not in checkpoint.entries:
        return weights, np.zeros(outputs)
    return weights, _entry(checkpoint, f"{name}.bias", outputs)


def _entry(checkpoint: ForeignCheckpoint, name: str, *shape: int) -> Doubles:
    """An entry of the checkpoint in float64, after a check of its shape."""
    if name not in checkpoint.entries:
        raise InputError(f"{checkpoint.path} has no entry {name}; it is not a whole PointNet classifier")
    tensor = checkpoint.entries[name]
    if tuple(tensor.shape) != shape or 0 in shape:
        raise InputError(f"{checkpoint.path}: {name} has shape {tuple(tensor.shape)}, which does not fit {shape}")
    array: Doubles = tensor.double().numpy()
    if not np.isfinite(array).all():
        raise InputError(f"{checkpoint.path}: {name} holds NaN or infinite values; {ADVICE}")
    return array


def _class_names(checkpoint: ForeignCheckpoint, file: Path | None, count: int) -> tuple[str, ...]:
    if file is None:
        raise InputError(
            f"{checkpoint.path} is a classifier of {count} classes, whose names it does not hold; give --classes FILE "
            "with one name a line, in the order of its outputs, or --out FILE.safetensors for the encoder alone"
        )
    names = tuple(read_lines(file, "a text file of class names"))
    if len(names) != count or len(set(names)) != count:
        raise InputError(
            f"{file} has {len(names)} lines, of which {len(set(names))} differ; {checkpoint.path} needs {count} names, "
            "one a line"
        )
    return names


@dataclass(frozen=True)
class _Examples:
    """Clouds `(m, N, 3)` that an exported classifier is compared on, and their classes `(m,)`."""

    clouds: Points
    labels: NDArray[np.int64]
    source: str
    frame: Frame | None = None


def _made(network: nn.Module, head: LinearHead) -> _Examples:
    """Synthetic clouds. They have no classes, so that they get those of the checkpoint."""
    clouds = ordinary(MADE, POINTS, seed=0)
    decided = head.decide(Reference(network).on_own_graphs({"points": clouds})).argmax(axis=1)
    return _Examples(clouds, decided.astype(np.int64), "synthetic clouds, with the classes that the checkpoint gives")


def _examples(data: Path, classes: tuple[str, ...], up: Up | None) -> _Examples:
    """Some clouds of a folder of labelled objects, balanced over the classes, all of the usual number of points.

    Raises:
        InputError: The folder cannot be read, or no object has one of the classes.
    """
    labelled = find_labelled(data)
    sources = labelled.sources(POINTS, seed=0, at_most=True, up=up)
    known = [source for source in sources if labelled.label_of_cloud(source.name) in classes]
    if not known:
        raise InputError(
            f"{data} has no objects of the classes {printable(', '.join(classes))[:80]}; give --data of these classes, "
            "or leave it out"
        )
    labels = np.array([classes.index(labelled.label_of_cloud(source.name)) for source in known])
    read: list[tuple[Points, int]] = []
    for row in balanced(labels, min(EXAMPLES, len(labels)), seed=0):
        clouds = known[row].load()[0]
        if isinstance(clouds, InputError):
            raise clouds
        read.append((clouds[0], int(labels[row])))
    sizes = [len(cloud) for cloud, _ in read]
    usual = max(set(sizes), key=lambda size: (sizes.count(size), size))
    kept = [(cloud, label) for cloud, label in read if len(cloud) == usual]
    return _Examples(
        np.stack([cloud for cloud, _ in kept]),
        np.array([label for _, label in kept], np.int64),
        f"clouds of {data.resolve().name}",
        common_frame(source.frame for source in known),
    )
