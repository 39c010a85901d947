"""Labels the points of clouds with the parts that a part segmenter predicts."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.console import track
from crosspoint.core.errors import InputError
from crosspoint.core.outputs import check_file, check_folder
from crosspoint.core.reading import reason_without
from crosspoint.core.results import OPTIONAL, Result
from crosspoint.data.frames import Frame, common_frame, from_y_up
from crosspoint.data.io.files import MESH_POINTS, is_mesh, read_points
from crosspoint.data.io.formats.ply import write_labelled
from crosspoint.data.points import Coordinates, normalise
from crosspoint.data.sets.taxonomy import SHAPENETPART, Taxonomy, parse_taxonomy, read_taxonomy
from crosspoint.data.sources import Source, find_sources
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.inputs import FloatArray
from crosspoint.runtime.jobs.batches import Skipped
from crosspoint.runtime.jobs.request import make_request, open_model
from crosspoint.runtime.manifest import NAME, load_manifest
from crosspoint.runtime.options import Reading, RunOn, Sampling
from crosspoint.runtime.specification import Specification

POINTS = 2048  # per call of a model that takes any number, as in its training
BATCH = 8
PLY = ".ply"
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class PartShare:
    """The share of an object's points that have one part.

    Attributes:
        label: Number of the part, as in the file.
        part: Name of the part.
        share: Share of the points.
    """

    label: int
    part: str
    share: float


@dataclass(frozen=True)
class SegmentedObject:
    """A labelled cloud.

    Attributes:
        name: The path relative to the input folder.
        points: Number of points.
        parts: All parts of the category.
        file: The labelled file.
    """

    name: str
    points: int
    parts: tuple[PartShare, ...]
    file: str


@dataclass(frozen=True)
class SegmentResult(Result):
    """The labelled clouds of all inputs.

    Attributes:
        model: The segmenter.
        category: Category of the objects.
        points: Points per call of the model.
        seed: Random seed of the points.
        objects: In the order of the inputs.
        skipped: Inputs that were left out.
        out: Output file or folder.
        seconds: Run time.
        frame: In which the inputs are stored, and the labelled clouds too; the model saw them y-up.
    """

    schema: ClassVar[str] = "crosspoint.segment/1"

    model: Specification
    category: str
    points: int
    seed: int
    objects: tuple[SegmentedObject, ...]
    skipped: tuple[Skipped, ...]
    out: str
    seconds: float
    frame: Frame | None = field(default=None, metadata=OPTIONAL)


def segment(
    model: Path | str,
    inputs: Sequence[Path],
    *,
    category: str,
    out: Path,
    data: Path | None = None,
    sampling: Sampling = Sampling(),
    run_on: RunOn = RunOn(),
    reading: Reading = Reading(),
) -> SegmentResult:
    """Label every point of clouds with a part, and write the clouds as `.ply` files.

    The model sees the clouds y-up; they are written as they were stored.

    Args:
        model: A part segmenter: run folder, `.safetensors`, bundle, `.onnx` or `.plan`.
        inputs: Mesh and point-cloud files, folders and data sets. From a mesh points are drawn.
        category: Name of the category of all objects; case does not matter.
        out: A `.ply` file for one object, or a folder for any number of them.
        data: Folder with the `taxonomy.json` of the model. None: the names in the model, or those of ShapeNetPart.
        sampling: Points per call of the model, and the random seed. Points None: the model's number if it is fixed,
            else `POINTS`. Larger clouds are split into random subsets of this size. And the axis that points up.
        run_on: Device and backend.
        reading: How files are found; they are read one by one.

    Raises:
        InputError: The model is not a segmenter, the category is unknown, an input is missing, no input could be read,
            or `out` cannot be written.
        CheckFailed: The output of the model has NaN or infinite values.
    """
    start = time.perf_counter()
    single = Path(out).suffix == PLY
    if single:
        check_file(out, kind=PLY, inputs=inputs, within=True)
    else:
        check_folder(out, inputs=inputs)
    request = make_request(model, inputs, sampling=sampling, batch=BATCH, run_on=run_on, reading=reading)
    with open_model(request) as encoder:
        spec = encoder.specification
        taxonomy = find_taxonomy(spec, data)
        label = _find_category(category, taxonomy, spec)
        size = sampling.points or spec.points or POINTS
        spec.check_points(size)
        sources = find_sources(
            list(inputs),
            None,
            seed=sampling.seed,
            reading=reading,
            up=sampling.up,
        )
        if single and len(sources) > 1:
            raise InputError(f"{len(sources)} inputs do not fit into one file; give a folder for --out")
        objects, skipped = list[SegmentedObject](), list[Skipped]()
        for source in track(sources, "Segmenting"):
            try:
                clouds = _read(source, size, sampling.seed)
                spec.check_points(min(size, clouds.shape[1]))
            except InputError as error:
                skipped.append(Skipped(source.name, reason_without(source.origin, error)))
                continue
            if single and len(clouds) > 1:
                raise InputError(f"{source.origin} holds {len(clouds)} clouds; give a folder for --out")
            for number, cloud in enumerate(clouds):
                name = source.name if len(clouds) == 1 else f"{source.name}#{number}"
                parts = label_points(encoder, cloud, taxonomy=taxonomy, category=label, size=size, seed=sampling.seed)
                file = Path(out) if single else Path(out) / f"{name.removesuffix(PLY)}{PLY}"
                stored = from_y_up(cloud, source.frame.up)
                objects.append(_write(file, name, stored, parts, taxonomy, label))
    if not objects:
        raise InputError(
            f"none of {len(sources)} inputs could be segmented; the first: {skipped[0].file}: {skipped[0].reason}"
        )
    return SegmentResult(
        model=spec,
        category=taxonomy.categories[label],
        points=size,
        seed=sampling.seed,
        objects=tuple(objects),
        skipped=tuple(skipped),
        out=str(out),
        seconds=time.perf_counter() - start,
        frame=common_frame(source.frame for source in sources),
    )


def find_taxonomy(spec: Specification, data: Path | None = None) -> Taxonomy:
    """Find the names of a segmenter's categories and parts.

    Args:
        spec: The segmenter.
        data: Folder with `taxonomy.json`; None: the names in the weights or the bundle, or those of ShapeNetPart.

    Raises:
        InputError: The model is not a segmenter, or the names are not known or do not fit it.
    """
    if spec.categories is None:
        raise InputError(f"{spec.path} is not a part segmenter; train one with crosspoint finetune partseg")
    found = read_taxonomy(Path(data)) if data is not None else _stored_taxonomy(Path(spec.path)) or SHAPENETPART
    if (len(found.categories), len(found.parts)) == (spec.categories, spec.dim):
        return found
    if data is not None:
        raise InputError(
            f"{data} has {len(found.categories)} categories and {len(found.parts)} parts, but {spec.path} has "
            f"{spec.categories} and {spec.dim}; give the data that it was trained on"
        )
    raise InputError(
        f"{spec.path} does not name its {spec.categories} categories and {spec.dim} parts; give --data, the folder "
        "with the taxonomy.json that it was trained on"
    )


def _stored_taxonomy(path: Path) -> Taxonomy | None:
    """The names in a file of weights, or in the manifest beside an exported file; None if there are none."""
    if path.suffix == ".safetensors":
        from crosspoint.models.weights import read_weights

        recipe = read_weights(path).recipe
        held = recipe.get("taxonomy") if isinstance(recipe, dict) else None
        return None if held is None else parse_taxonomy(held, path)
    return load_manifest(path.parent).taxonomy if (path.parent / NAME).is_file() else None


def _find_category(category: str, taxonomy: Taxonomy, spec: Specification) -> int:
    names = [name.lower() for name in taxonomy.categories]
    if category.lower() not in names:
        raise InputError(f"{spec.path} has no category {category!r}; give one of {', '.join(taxonomy.categories)}")
    return names.index(category.lower())


def _read(source: Source, size: int, seed: int) -> Coordinates:
    """Clouds `(n, N, 3)`; from a mesh enough points are drawn for one call of the model."""
    if isinstance(source.stored, Path) and is_mesh(source.stored):
        return read_points(source.stored, max(size, MESH_POINTS), seed=seed, up=source.frame.up)
    return source.read()


def label_points(
    encoder: Encoder, cloud: Coordinates, *, taxonomy: Taxonomy, category: int, size: int, seed: int = 0
) -> Labels:
    """Label every point of a cloud with a part of its category.

    A cloud of more than `size` points is split into random subsets of `size` points, each normalised on its own, as in
    training. The last subset is filled up with points of the first; their logits are added.

    Args:
        encoder: A part segmenter.
        cloud: `(N, 3)`.
        taxonomy: Its categories and parts.
        category: Number of the category.
        size: Points per call of the model.
        seed: Random seed of the subsets.

    Returns:
        Numbers of the parts `(N,)`.
    """
    own = np.array(taxonomy.category_parts[category])
    logits = np.zeros((len(cloud), len(own)))
    for rows in _subsets(len(cloud), size, seed):
        one_hot = np.zeros((len(rows), len(taxonomy.categories)), np.float32)
        one_hot[:, category] = 1
        made: FloatArray = encoder.segment(normalise(cloud[rows]), one_hot)[..., own]  # (B, n, parts of the category)
        np.add.at(logits, rows, made)
    labels: Labels = own[logits.argmax(axis=1)]
    return labels


def _subsets(count: int, size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Rows `(B, n)` of a cloud of `count` points in batches; together they hold every point."""
    if count <= size:
        yield np.arange(count)[None]
        return
    order = np.random.default_rng(seed).permutation(count)
    rows = np.resize(order, (-(-count // size), size))
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]


def _write(
    file: Path, name: str, cloud: Coordinates, labels: Labels, taxonomy: Taxonomy, category: int
) -> SegmentedObject:
    names = {part: taxonomy.parts[part] for part in taxonomy.category_parts[category]}
    write_labelled(file, cloud, labels=labels, names=names)
    shares = tuple(PartShare(part, text, float((labels == part).mean())) for part, text in names.items())
    return SegmentedObject(name, len(cloud), shares, str(file))
