"""Labelled objects as embeddings: several draws of points of each, or those that were made before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError
from crosspoint.data.labelled import LabelledData, check_classes, find_copies, label_of_folder, read_labels
from crosspoint.data.points import Points
from crosspoint.data.sources import Source
from crosspoint.data.splits import balanced
from crosspoint.parity.clouds import ordinary
from crosspoint.runtime.encoder import Specification
from crosspoint.runtime.jobs.batches import Skipped, embed_groups
from crosspoint.runtime.jobs.embeddings import PartAbout, load
from crosspoint.runtime.jobs.request import make_request, open_model, points_of
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.options import RunOn, Sampling
from crosspoint.runtime.released import find_hash, find_release

BATCH = 32
EXAMPLES = 48  # clouds that exports of the classifier are compared on
SYNTHETIC = "made surfaces, since the embeddings came without clouds"


@dataclass(frozen=True)
class LabelledObjects:
    """Objects with a class and an embedding for each draw of their points.

    Attributes:
        model: What embedded them.
        names: Of the n objects.
        labels: Numbers of their classes `(n,)`.
        classes: Names, ascending.
        features: `(n, draws, D)`.
        points: Per cloud; None for all.
        at_most: Whether clouds of fewer points were taken whole.
        sources: Of the first draw, by name; empty of embeddings.
        copies: Objects that were left out because another one of the same class has their content.
        skipped: Files that could not be read.
    """

    model: Specification
    names: list[str]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    features: NDArray[np.float32] = field(repr=False)
    points: int | None
    at_most: bool
    sources: dict[str, Source] = field(repr=False)
    copies: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def embed_labelled(data: LabelledData, model: str, *, sampling: Sampling, run_on: RunOn) -> LabelledObjects:
    """Embed the labelled objects of a folder.

    Args:
        data: Where they lie.
        model: Whatever `load_encoder` opens.
        sampling: Points per cloud, as for `embed`; seed `s` draws with the seeds `s`, `s + 1`, … of as many `seeds`.
        run_on: Where the model runs.

    Raises:
        InputError: A model, an option or a file cannot be used, or the labels do not make a classifier.
    """
    request = make_request(model, [data.path], sampling=sampling, batch=BATCH, run_on=run_on)
    with open_model(request) as encoder:
        count, at_most = points_of(encoder.specification, request)
        drawn = [data.sources(count, seed=sampling.seed + i, at_most=at_most) for i in range(sampling.seeds)]
        labels = {source.name: data.label(source.name) or "" for source in drawn[0]}
        check_classes(labels, where=data.path, fewest=1)
        groups = list(embed_groups(encoder, drawn, batch=BATCH))
        specification = encoder.specification
    first = groups[0]
    label_of = {name: labels[name.rpartition("#")[0]] if name not in labels else labels[name] for name in first.names}
    bad = {entry.file for group in groups for entry in group.skipped}
    content = {source.name: digest for source, digest in zip(drawn[0], first.sources_sha256, strict=True)}
    kept = {name: label for name, label in label_of.items() if _source_name(name, content) not in bad}
    copies = find_copies(kept, {name: _content_of(name, content) for name in kept})
    names = [name for name in kept if name not in set(copies)]
    classes = check_classes({name: kept[name] for name in names}, where=data.path)
    rows = [{name: i for i, name in enumerate(group.names)} for group in groups]
    features = [group.vectors[[row[name] for name in names]] for group, row in zip(groups, rows, strict=True)]
    return LabelledObjects(
        model=specification,
        names=names,
        labels=np.array([classes.index(kept[name]) for name in names]),
        classes=classes,
        features=np.stack(features, axis=1),
        points=count,
        at_most=at_most,
        sources={source.name: source for source in drawn[0]},
        copies=tuple(copies),
        skipped=tuple(first.skipped),
    )


def _source_name(name: str, sources: Mapping[str, object]) -> str:
    """The source of a cloud, which is one of several of its file if it has a number."""
    return name if name in sources else name.rpartition("#")[0]


def _content_of(name: str, contents: Mapping[str, str]) -> str:
    """What tells a cloud from others: the content of its file, and its number there."""
    source = _source_name(name, contents)
    return f"{contents[source]}{name[len(source) :]}" if contents[source] else ""


def read_embedded(path: Path, labels: Path | None, *, model: str, run_on: RunOn) -> LabelledObjects:
    """Labelled objects from embeddings that were made before: one draw of each.

    Args:
        path: What `crosspoint embed` wrote.
        labels: CSV file with the columns `name` and `label`; by default a name's first folder is its class.
        model: The encoder, which has to be the one that made them.
        run_on: Where it would run.

    Raises:
        InputError: They cannot be read, another model made them, or the labels do not make a classifier.
    """
    embeddings = load(path)
    known = None if labels is None else read_labels(labels)
    label_of = {
        name: label_of_folder(path, name) if known is None else known[name]
        for name in embeddings.names
        if known is None or name in known
    }
    with load_encoder(model, run_on.device, backend=run_on.backend) as encoder:
        specification = encoder.specification
    made = find_hash(embeddings.model_sha256)
    release = find_release(model)
    if embeddings.model_sha256 != specification.sha256 and (made is None or release is None or made[0] != release):
        by = "another model" if made is None else str(made[0])
        raise InputError(f"{path} was made by {by}, not by {model}; give the --model that made it, or embed again")
    rows = {name: i for i, name in enumerate(embeddings.names)}
    vectors = {name: sha256(embeddings.vectors[rows[name]].tobytes()).hexdigest() for name in label_of}
    check_classes(label_of, where=path)
    copies = find_copies(label_of, vectors)
    names = [name for name in label_of if name not in set(copies)]
    classes = check_classes({name: label_of[name] for name in names}, where=path)
    about = embeddings.about
    made_how = about.job if isinstance(about, PartAbout) else about
    return LabelledObjects(
        model=specification,
        names=names,
        labels=np.array([classes.index(label_of[name]) for name in names]),
        classes=classes,
        features=embeddings.vectors[[rows[name] for name in names]][:, None],
        points=made_how.points,
        at_most=made_how.at_most,
        sources={},
        copies=tuple(copies),
        skipped=(),
    )


def gate_examples(objects: LabelledObjects, *, seed: int) -> tuple[Points, NDArray[np.int64], str]:
    """Clouds `(m, N, 3)` that exports of a classifier are compared on, their classes `(m,)`, and what they are.

    At most `EXAMPLES` of the objects, classes in balance, each with the number of points that most of them have.
    """
    read: list[tuple[Points, int]] = []
    rows = balanced(objects.labels, min(EXAMPLES, len(objects.names)), seed=seed)
    for row in np.random.default_rng(seed).permutation(rows):  # the first few have to be of several classes
        name = objects.names[row]
        source = objects.sources.get(_source_name(name, objects.sources))
        clouds = None if source is None else source.load()[0]
        if clouds is not None and not isinstance(clouds, InputError):
            number = name.rpartition("#")[2] if name not in objects.sources else "0"
            read.append((clouds[int(number)], int(objects.labels[row])))
    if not read:
        made = ordinary(16, objects.points or 1024, seed=seed)
        return made, np.zeros(len(made), np.int64), SYNTHETIC
    sizes: Sequence[int] = [len(cloud) for cloud, _ in read]
    usual = max(set(sizes), key=lambda size: (sizes.count(size), size))
    kept = [(cloud, label) for cloud, label in read if len(cloud) == usual]
    truth = np.array([label for _, label in kept], np.int64)
    return np.stack([cloud for cloud, _ in kept]), truth, "clouds that the head was fitted to"
