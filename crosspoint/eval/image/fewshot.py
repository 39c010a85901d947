"""Few-shot classification of pictures with the image encoder (CrossPoint, Table 7), frozen and after RFS."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError, require
from crosspoint.core.results import FLAT, OPTIONAL, Result, key
from crosspoint.data.sets.cifar_fs import PARTS, Pictures, find_classes, load_pictures
from crosspoint.eval.features import check_seed
from crosspoint.eval.fewshot import TaskAnswers, compare_tasks
from crosspoint.eval.image.rfs_recipe import RFSRecipe, make_rfs_recipe
from crosspoint.eval.metrics.statistics import Z95, PairedRuns, Summary, summary
from crosspoint.eval.paper.roles import weights_of
from crosspoint.runtime.options import RunOn

if TYPE_CHECKING:
    from torch import nn

    from crosspoint.models.weights import Weights

WAYS, QUERIES = 5, 15
METHODS = ("frozen", "rfs", "pretrained + rfs")
OFFICIAL_C, GRID, CHOOSING = 1.0, (0.01, 0.1, 1.0, 10.0, 100.0), 50
"""C of the published logistic regression; the values of C that `clean` tries; and the number of validation tasks."""
PUBLISHED = ((64, 16, 20), 600)  # number of classes in each part, pictures per class
BATCH = 64


@dataclass(frozen=True)
class Features:
    """Features `(n, D)` of unit length, with labels `(n,)`."""

    values: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class ImageModel:
    """Description of an image encoder in a result."""

    path: str
    sha256: str
    architecture: str
    depth: int


@dataclass(frozen=True)
class ImageReference:
    """The other image encoder of a comparison."""

    model: ImageModel


@dataclass(frozen=True)
class ImageData:
    """Description of the pictures in a result.

    Attributes:
        path: The folder.
        format: `cifar-fs`.
        classes: Numbers of classes for training, validation and test.
        published: Whether the counts are those of CIFAR-FS.
        remark: The same, in words.
    """

    path: str
    format: str
    classes: tuple[int, int, int]
    published: bool
    remark: str


@dataclass(frozen=True)
class ImageAccuracy:
    """Accuracy on the tasks of one kind by one rule, as a fraction of 1.

    Attributes:
        c: C of the logistic regression.
        summary: Mean and deviation over the tasks.
        interval: 95 % interval of the mean, `m ± 1.96 s / √n`, as published.
        accuracies: Accuracy of each task.
        against: Comparison with another encoder on the same tasks, or None.
    """

    c: float = field(metadata=key("C"))
    summary: Summary = field(metadata=FLAT)
    interval: tuple[float, float]
    accuracies: list[float] = field(repr=False)
    against: PairedRuns | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class ImageTasks:
    """A method with a number of shots: with C = 1 (`official`), and with C chosen on validation tasks (`clean`)."""

    method: str
    shots: int
    official: ImageAccuracy
    clean: ImageAccuracy


@dataclass(frozen=True)
class ImageFewShotResult(Result):
    """The result of `crosspoint eval image-fewshot`.

    Attributes:
        model: The image encoder.
        data: The pictures.
        ways: Classes per task.
        queries: Query pictures per class.
        tasks: Tasks of each kind.
        seed: Random seed of the tasks.
        rfs: Recipe of the training on base classes.
        rows: One for each method and number of shots.
        against: The encoder to compare with, or None.
    """

    schema: ClassVar[str] = "crosspoint.image-fewshot/1"

    model: ImageModel
    data: ImageData
    ways: int
    queries: int
    tasks: int
    seed: int
    rfs: RFSRecipe
    rows: tuple[ImageTasks, ...]
    against: ImageReference | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class ImageTaskOptions:
    """Which tasks are measured.

    Attributes:
        shots: Numbers of support pictures per class.
        tasks: Of each kind.
        seed: Tasks depend on it, the shots and their number, and on nothing else.
    """

    shots: Sequence[int] = (1, 5)
    tasks: int = 600
    seed: int = 0


def image_fewshot(
    model: Path,
    data: Path,
    *,
    options: ImageTaskOptions = ImageTaskOptions(),
    overrides: Sequence[str] = (),
    methods: Sequence[str] = METHODS,
    run_on: RunOn = RunOn(),
    against: Path | None = None,
) -> ImageFewShotResult:
    """Measure logistic regression on 5-way tasks from classes that no training has used.

    Features are scaled to unit length; tasks have 15 queries per class, both as in RFS. `frozen` uses the image encoder
    as it is; `rfs` trains one from random weights on the base classes; `pretrained + rfs` trains the image encoder on
    them.

    Args:
        model: A run folder with `image_encoder.safetensors`, or such a file.
        data: Pictures in CIFAR-FS's layout.
        options: Support pictures per class, how many tasks of each kind, and the seed.
        overrides: `key=value` for fields of `crosspoint.eval.image.rfs.RFSRecipe`.
        methods: Methods to measure, from `METHODS`.
        run_on: Device of encoders and training; and the cache folder for encoders trained on base classes. They run in
            PyTorch.
        against: Another image encoder, measured on the same tasks with the methods that use one.

    Raises:
        InputError: The model or the pictures cannot be used, or there are too few classes or pictures for a task.
        MissingDependency: torch is not installed.
    """
    require("torch", "train", purpose="few-shot classification of pictures")
    from crosspoint.train.pretrain.pretrain import choose_device

    shots, tasks, seed = options.shots, options.tasks, options.seed
    check_seed(seed)
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        raise InputError(f"unknown method {unknown[0]!r}; give one of {', '.join(METHODS)}")
    if run_on.backend not in (None, "pytorch"):
        raise InputError(f"image encoders run in PyTorch only, not on {run_on.backend}; leave --backend out")
    choose_device(run_on.device)
    recipe = make_rfs_recipe(overrides)
    weights = [_image_weights(path) for path in (model, against) if path is not None]
    classes = find_classes(data)
    pictures = {
        part: load_pictures(classes[part], recipe.size, description=f"Reading pictures, {part}") for part in PARTS
    }
    for part in ("val", "test"):
        _check_tasks(data, part, pictures[part], max(shots), tasks)
    rows = []
    for method in methods:
        encoders = [_encoder(method, found, pictures["train"], recipe, run_on) for found in weights]
        used = encoders[:1] if method == "rfs" else encoders  # from scratch there is nothing to compare
        features = [
            {part: embed_pictures(e, pictures[part], device=run_on.device) for part in ("val", "test")} for e in used
        ]
        for n in shots:
            official, clean = (_accuracy(features, n, tasks, seed, method, rule) for rule in ("official", "clean"))
            rows.append(ImageTasks(method, n, official, clean))
    return ImageFewShotResult(
        model=_describe(weights[0]),
        data=describe_images(data),
        ways=WAYS,
        queries=QUERIES,
        tasks=tasks,
        seed=seed,
        rfs=recipe,
        rows=tuple(rows),
        against=None if against is None else ImageReference(_describe(weights[1])),
    )


def describe_images(data: Path) -> ImageData:
    """Classes and pictures of a set, and whether the counts are those of CIFAR-FS."""
    classes = find_classes(data)
    train, val, test = (len(classes[part]) for part in PARTS)
    sizes = {sum(1 for _ in folder.iterdir()) for part in PARTS for folder in classes[part].values()}
    is_published = ((train, val, test), sizes) == (PUBLISHED[0], {PUBLISHED[1]})
    found = f"{data}: {train} + {val} + {test} classes of {min(sizes)} to {max(sizes)} pictures"
    told = ", by counts CIFAR-FS" if is_published else "; not CIFAR-FS, so these numbers are not the paper's"
    return ImageData(str(data), "cifar-fs", (train, val, test), is_published, found + told)


def _image_weights(model: Path) -> "Weights":
    """Read an image encoder once, so that the result names exactly the weights that were measured."""
    from crosspoint.models.weights import read_weights

    path = weights_of(model, ("image_encoder.safetensors",))
    if path is None:
        raise InputError(f"{model} holds no image_encoder.safetensors; give a run that was trained with images")
    weights = read_weights(path)
    architecture = weights.config.get("architecture")
    if architecture != "resnet":
        raise InputError(f"{path} is a {architecture}, not an image encoder; give image_encoder.safetensors")
    return weights


def _check_tasks(data: Path, part: str, pictures: Pictures, shots: int, tasks: int) -> None:
    if tasks < 2 or shots < 1:
        raise InputError("at least 2 tasks and 1 shot are needed; give larger numbers")
    enough = int(np.sum(np.bincount(pictures.labels) >= shots + QUERIES))
    if enough < WAYS:
        raise InputError(
            f"{data}: {enough} classes of {part} have {shots} support and {QUERIES} query pictures, {WAYS} are needed"
        )


def _encoder(method: str, weights: "Weights", base: Pictures, recipe: RFSRecipe, run_on: RunOn) -> "nn.Module":
    from crosspoint.eval.image.rfs import train_rfs

    if method == "frozen":
        return weights.network()
    depth = int(weights.config["depth"])
    return train_rfs(
        base,
        weights if method == "pretrained + rfs" else None,
        depth=depth,
        recipe=recipe,
        device=run_on.device,
        cache=run_on.cache,
    )


def embed_pictures(encoder: "nn.Module", pictures: Pictures, *, device: str) -> Features:
    """Features of unit length, for pictures normalised as in pretraining."""
    import torch

    from crosspoint.train.pretrain.augment import MEAN, STD

    network = encoder.to(device).eval()
    mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (MEAN, STD))
    pieces = []
    with torch.inference_mode():
        for start in track(range(0, len(pictures.images), BATCH), "Embedding pictures"):
            x = torch.from_numpy(pictures.images[start : start + BATCH]).to(device).float() / 255
            pieces.append(torch.nn.functional.normalize(network((x - mean) / std)).cpu().numpy())
    return Features(np.concatenate(pieces), pictures.labels)


def draw_task(
    labels: NDArray[np.int64], shots: int, *, seed: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the support pictures `(WAYS · shots,)` and of the queries `(WAYS · QUERIES,)` of a task."""
    rng = np.random.default_rng(seed)
    large = np.flatnonzero(np.bincount(labels) >= shots + QUERIES)
    support, query = [], []
    for label in rng.choice(large, WAYS, replace=False):
        rows = rng.permutation(np.flatnonzero(labels == label))
        support.append(rows[:shots])
        query.append(rows[shots : shots + QUERIES])
    return np.concatenate(support), np.concatenate(query)


def answer(features: Features, shots: int, *, seed: Sequence[int], c: float) -> TaskAnswers:
    """Draw a task and classify its queries by logistic regression."""
    from sklearn.linear_model import LogisticRegression

    support, query = draw_task(features.labels, shots, seed=seed)
    classifier = LogisticRegression(C=c, max_iter=1000).fit(features.values[support], features.labels[support])
    return TaskAnswers(features.labels[query], classifier.predict(features.values[query]).astype(np.int64))


def _choose_c(features: Features, shots: int, tasks: int, seed: int) -> float:
    """The best C on tasks of the validation classes; of equal ones the smallest."""
    count = min(CHOOSING, tasks)
    means = [
        np.mean([answer(features, shots, seed=(seed, shots, 1, i), c=c).accuracy for i in range(count)]) for c in GRID
    ]
    return GRID[int(np.argmax(means))]


def _accuracy(
    features: list[dict[str, Features]], shots: int, tasks: int, seed: int, method: str, rule: str
) -> ImageAccuracy:
    """Accuracies of the first encoder by a rule and, if there are two, the paired comparison."""
    answers, cs = [], []
    for parts in features:
        c = OFFICIAL_C if rule == "official" else _choose_c(parts["val"], shots, tasks, seed)
        numbers = track(range(tasks), f"{method}, {shots}-shot, {rule}")
        answers.append([answer(parts["test"], shots, seed=(seed, shots, 0, i), c=c) for i in numbers])
        cs.append(c)
    accuracies = [task.accuracy for task in answers[0]]
    found = summary(accuracies)
    return ImageAccuracy(cs[0], found, _interval(found), accuracies, compare_tasks(answers))


def _interval(found: Summary) -> tuple[float, float]:
    """95 % interval of the mean over tasks, `m ± 1.96 s / √n`, as published."""
    assert found.standard_error is not None  # there are two tasks at least
    half = Z95 * found.standard_error
    return found.mean - half, found.mean + half


def _describe(weights: "Weights") -> ImageModel:
    return ImageModel(str(weights.path), weights.sha256, "resnet", int(weights.config["depth"]))
