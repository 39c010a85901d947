"""Embeddings of labelled objects: of their files, or earlier ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import InputError
from crosspoint.core.printable import printable
from crosspoint.data.frames import Frame, common_frame
from crosspoint.data.labelled import (
    LabelledData,
    check_classes,
    check_frames,
    find_copies,
    label_of_folder,
    read_labels,
)
from crosspoint.data.points import Points
from crosspoint.data.single_views import single_views
from crosspoint.data.sources import Source
from crosspoint.data.splits import balanced
from crosspoint.data.turns import turned
from crosspoint.parity.clouds import ordinary
from crosspoint.runtime.jobs.batches import Skipped, embed_groups
from crosspoint.runtime.jobs.embeddings import Embeddings, PartAbout, load
from crosspoint.runtime.jobs.request import make_request, open_model, points_of
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.options import Reading, RunOn, Sampling
from crosspoint.runtime.released import find_hash, find_release
from crosspoint.runtime.specification import Specification

BATCH = 32
EXAMPLES = 48  # clouds that exports of the classifier are compared on
SYNTHETIC = "synthetic clouds, because embeddings have no clouds"


@dataclass(frozen=True)
class UnlabelledObjects:
    """Objects without a class.

    Attributes:
        names: Names of the m objects.
        features: Their embeddings `(m, D)`.
    """

    names: list[str]
    features: NDArray[np.float32] = field(repr=False)


@dataclass(frozen=True)
class LabelledObjects:
    """Objects with a class and an embedding.

    Attributes:
        model: The encoder.
        names: Names of the n objects.
        labels: Indices of their classes `(n,)`.
        classes: Class names, ascending.
        features: Embeddings `(n, S, D)`: of the object, the mean over its draws; of the object turned about the
            vertical axis; and of its single views.
        draws: Number of draws of points.
        points: Points per cloud; None: all.
        at_most: Clouds of fewer points were used whole.
        sources: Their sources by name; empty for earlier embeddings.
        copies: Objects left out because another one of the same class has the same content.
        skipped: Files that could not be read.
        frame: In which the objects are stored; None of embeddings that do not say.
        unlabelled: Objects without a class, if asked for.
    """

    model: Specification
    names: list[str]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    features: NDArray[np.float32] = field(repr=False)
    draws: int
    points: int | None
    at_most: bool
    sources: dict[str, Source] = field(repr=False)
    copies: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    frame: Frame | None
    unlabelled: UnlabelledObjects | None = None


def embed_labelled(
    data: LabelledData,
    model: str,
    *,
    turns: int = 1,
    views: int = 0,
    pool: LabelledData | None = None,
    sampling: Sampling,
    run_on: RunOn,
    reading: Reading = Reading(),
) -> LabelledObjects:
    """Embed the labelled objects of a folder, and unlabelled ones.

    Args:
        data: The folder and its labels.
        model: As for `load_encoder`.
        turns: Number of azimuths: each object is embedded as it is, and turned by 360° / turns, 2 · 360° / turns, …
        views: Number of single views of each object.
        pool: A folder whose unlabelled objects are embedded too.
        sampling: As for `embed`.
        run_on: Device and backend of the model.
        reading: How files are found and read.

    Raises:
        InputError: A model, an option or a file cannot be used, or the labels are not enough for a classifier.
    """
    request = make_request(model, [data.path], sampling=sampling, batch=BATCH, run_on=run_on, reading=reading)
    how = partial(LabelledData.sources, seed=sampling.seed, reading=reading, up=sampling.up)
    with open_model(request) as encoder:
        count, at_most = points_of(encoder.specification, request)
        sources = how(data, count, at_most=at_most, draws=sampling.draws)
        check_classes({source.name: data.label(source.name) or "" for source in sources}, where=data.path, fewest=1)
        whole = how(data, None, at_most=True) if views else []
        sides = [single_views(whole, count, seed=sampling.seed + i) for i in range(views)]
        faces = [
            turned(how(data, count, at_most=at_most, seed=sampling.seed + i), 360 * i / turns) for i in range(1, turns)
        ]
        rest = _find_pool(pool, partial(how, at_most=at_most, draws=sampling.draws, labelled=False), count)
        check_frames([*sources, *rest])
        groups = list(embed_groups(encoder, [sources, *faces, *sides, rest], batch=BATCH, readers=reading.readers))
        specification = encoder.specification
    group, *others, left = groups
    label_of = {name: data.label_of_cloud(name) for name in group.names}
    content = {source.name: digest for source, digest in zip(sources, group.sources_sha256, strict=True)}
    copies = find_copies(label_of, {name: _content_of(name, content) for name in group.names})
    rows = {name: i for i, name in enumerate(group.names) if name not in set(copies)}
    lost = _lost(group.skipped, copies)
    classes = check_classes({name: label_of[name] for name in rows}, where=data.path, lost=lost)
    return LabelledObjects(
        model=specification,
        names=list(rows),
        labels=np.array([classes.index(label_of[name]) for name in rows]),
        classes=classes,
        features=np.stack([entry.vectors[list(rows.values())] for entry in (group, *others)], axis=1),
        draws=sampling.draws,
        points=count,
        at_most=at_most,
        sources={source.name: source for source in sources},
        copies=tuple(copies),
        skipped=(*group.skipped, *left.skipped),
        frame=common_frame(source.frame for source in sources),
        unlabelled=None if pool is None else UnlabelledObjects(left.names, left.vectors),
    )


def _find_pool(
    pool: LabelledData | None, find: Callable[[LabelledData, int | None], list[Source]], count: int | None
) -> list[Source]:
    """The objects without a label; none if there is no pool.

    Raises:
        InputError: All have a label.
    """
    if pool is None:
        return []
    found = find(pool, count)
    if not found:
        raise InputError(f"all objects of {pool.path} have a label; give --unlabelled with others, for --suggest")
    return found


def _lost(skipped: Sequence[Skipped], copies: Sequence[str]) -> str:
    """Why objects are missing, for messages; empty if none are."""
    bad = [f"{printable(entry.file)} could not be read: {entry.reason}" for entry in skipped[:1]]
    same = [f"{printable(name)} is a copy of another object" for name in copies[:1]]
    return f" ({'; '.join([*bad, *same])})" if bad or same else ""


def _source_name(name: str, sources: Mapping[str, object]) -> str:
    """The source of a cloud; a name with a number is one of several clouds of a file."""
    return name if name in sources else name.rpartition("#")[0]


def _content_of(name: str, contents: Mapping[str, str]) -> str:
    """Identity of a cloud: the content of its file, and its number there."""
    source = _source_name(name, contents)
    return f"{contents[source]}{name[len(source) :]}" if contents[source] else ""


def read_embedded(
    path: Path, labels: Path | None, *, model: str, run_on: RunOn, pool: Path | None = None
) -> LabelledObjects:
    """Read labelled objects from earlier embeddings, and unlabelled ones.

    Args:
        path: Output of `crosspoint embed`.
        labels: CSV file with the columns `name` and `label`; by default the first folder of a name is its class.
        model: The encoder that made them.
        run_on: Device and backend of the model.
        pool: Embeddings with unlabelled objects; those of `path` itself are the ones that `labels` does not name.

    Raises:
        InputError: They cannot be read, another model made them, or the labels are not enough for a classifier.
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
    _check_model(embeddings, path, model, specification)
    rows = {name: i for i, name in enumerate(embeddings.names)}
    vectors = {name: sha256(embeddings.vectors[rows[name]].tobytes()).hexdigest() for name in label_of}
    check_classes(label_of, where=path)
    copies = find_copies(label_of, vectors)
    names = [name for name in label_of if name not in set(copies)]
    classes = check_classes({name: label_of[name] for name in names}, where=path, lost=_lost((), copies))
    about = embeddings.about
    made_how = about.job if isinstance(about, PartAbout) else about
    return LabelledObjects(
        model=specification,
        names=names,
        labels=np.array([classes.index(label_of[name]) for name in names]),
        classes=classes,
        features=embeddings.vectors[[rows[name] for name in names]][:, None],
        draws=made_how.draws,
        points=made_how.points,
        at_most=made_how.at_most,
        sources={},
        copies=tuple(copies),
        skipped=(),
        frame=made_how.frame,
        unlabelled=None if pool is None else _read_pool(pool, model, specification, known if pool == path else None),
    )


def _check_model(embeddings: Embeddings, path: Path, model: str, specification: Specification) -> None:
    """Raise InputError unless the model made the embeddings."""
    made, release = find_hash(embeddings.model_sha256), find_release(model)
    if embeddings.model_sha256 != specification.sha256 and (made is None or release is None or made[0] != release):
        by = "another model" if made is None else str(made[0])
        raise InputError(f"{path} was made by {by}, not by {model}; give the --model that made it, or embed again")


def _read_pool(
    path: Path, model: str, specification: Specification, known: Mapping[str, str] | None
) -> UnlabelledObjects:
    """The embeddings of a file, without those that have a label."""
    embeddings = load(path)
    _check_model(embeddings, path, model, specification)
    rows = [i for i, name in enumerate(embeddings.names) if known is None or name not in known]
    if not rows:
        raise InputError(f"all objects of {path} have a label; give --unlabelled with others, for --suggest")
    return UnlabelledObjects([embeddings.names[i] for i in rows], embeddings.vectors[rows])


def gate_examples(objects: LabelledObjects, *, seed: int) -> tuple[Points, NDArray[np.int64], str]:
    """Clouds `(m, N, 3)` for the gate of a classifier, their classes `(m,)`, and a description.

    At most `EXAMPLES` objects, balanced over the classes, of the most common number of points.
    """
    read: list[tuple[Points, int]] = []
    rows = balanced(objects.labels, min(EXAMPLES, len(objects.names)), seed=seed)
    for row in np.random.default_rng(seed).permutation(rows):  # the first few have to be of several classes
        name = objects.names[row]
        source = objects.sources.get(_source_name(name, objects.sources))
        if source is not None and isinstance(clouds := source.load()[0], np.ndarray):
            number = int(name.rpartition("#")[2]) if name not in objects.sources else 0
            read.append((clouds[number * source.draws], int(objects.labels[row])))
    if not read:
        made = ordinary(16, objects.points or 1024, seed=seed)
        return made, np.zeros(len(made), np.int64), SYNTHETIC
    sizes: Sequence[int] = [len(cloud) for cloud, _ in read]
    usual = max(set(sizes), key=lambda size: (sizes.count(size), size))
    kept = [(cloud, label) for cloud, label in read if len(cloud) == usual]
    truth = np.array([label for _, label in kept], np.int64)
    return np.stack([cloud for cloud, _ in kept]), truth, "clouds that the head was fitted to"
