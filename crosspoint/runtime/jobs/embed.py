"""Embeds point clouds from files, folders, data sets and arrays."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from crosspoint.core.errors import InputError, require
from crosspoint.core.outputs import check_file, check_folder
from crosspoint.core.results import OPTIONAL, Result
from crosspoint.data.frames import Frame, tell_frame
from crosspoint.data.objects.clouds import Boxes
from crosspoint.data.objects.find import Vector
from crosspoint.data.objects.sources import Scans
from crosspoint.runtime.jobs import parts as part_files
from crosspoint.runtime.jobs.batches import Skipped, embed_groups
from crosspoint.runtime.jobs.embeddings import PARQUET, Embeddings, save
from crosspoint.runtime.jobs.join import about_job, join_job
from crosspoint.runtime.jobs.parts import FORMATS, PartOptions
from crosspoint.runtime.jobs.request import Request, make_request, open_request
from crosspoint.runtime.options import Reading, RunOn, Sampling
from crosspoint.runtime.specification import Specification

SUFFIXES = (".npz", ".npy", ".parquet")


@dataclass(frozen=True)
class PartCounts:
    """Parts of a folder: of the whole job, made and kept by this run, and those that are not there yet."""

    total: int
    made: int
    kept: int
    missing: int


@dataclass(frozen=True)
class EmbeddedObject:
    """An object of a scan: its number of points and its box, in the frame of the scan."""

    name: str
    points: int
    lower: Vector
    upper: Vector


@dataclass(frozen=True)
class EmbedResult(Result):
    """What was embedded.

    Attributes:
        model: The model that ran.
        points: Per cloud; None for all.
        dim: Numbers of an embedding.
        shard: Which shard of how many; None of a file.
        parts: Of a folder; None of a file.
        embedded: How many clouds.
        names: Of the clouds; None of a folder.
        skipped: The inputs that were left out.
        out: Where the embeddings are.
        seed: Of the points drawn.
        seconds: What it took.
        draws: Of points from each cloud, whose embeddings were averaged.
        frame: In which the inputs are stored; what was embedded is y-up.
        objects: Of scans, where each object lies; None of other inputs, and of a folder.
    """

    schema: ClassVar[str] = "crosspoint.embed/1"

    model: Specification
    points: int | None
    dim: int
    shard: tuple[int, int] | None = field(metadata=OPTIONAL)
    parts: PartCounts | None = field(metadata=OPTIONAL)
    embedded: int
    names: list[str] | None = field(metadata=OPTIONAL)
    skipped: tuple[Skipped, ...]
    out: str
    seed: int
    seconds: float
    draws: int = 1
    frame: Frame | None = field(default=None, metadata=OPTIONAL)
    objects: tuple[EmbeddedObject, ...] | None = field(default=None, metadata=OPTIONAL)


def embed(
    model: Path | str,
    inputs: Sequence[Path] | Scans,
    *,
    out: Path | str,
    sampling: Sampling = Sampling(),
    batch: int = 32,
    run_on: RunOn = RunOn(),
    parts: PartOptions = PartOptions(),
    reading: Reading = Reading(),
) -> EmbedResult:
    """Embed the clouds of files, folders and data sets into one file or many parts.

    Clouds are turned to y-up and normalised, as in training. Inputs are read in advance; clouds of equal size form
    batches. Inputs that cannot be read, or have too few points, are left out and listed in the result.

    Args:
        model: Whatever `load_encoder` opens.
        inputs: Mesh and point-cloud files, folders of them, folders of data sets. An array `(N, 3)` is one cloud,
            `(n, N, 3)` is n clouds. `Scans`: each object of each scan is embedded; boxes and numbers of points are
            stored beside the embeddings.
        out: `.npz` or `.parquet` for embeddings, names and the model's SHA-256; `.npy` for the embeddings only. A name
            without a suffix, or one that ends in a slash, is a folder of parts. Each part is written as a whole, and
            parts that exist are kept.
        sampling: Points per cloud, the seed, the axis that points up in the inputs, and the number of draws whose
            embeddings are averaged. Points None: the model's own number if it is fixed; for a released model at most
            the number that it was trained with; else all points. The draw depends only on the seed and on the number
            of points of a cloud or the faces of a mesh. Axis None: the one that the format states, else y, of `Scans`
            z; standard error names it.
        batch: Most clouds per call of the model.
        run_on: Device and backend of the model.
        parts: Options of a folder of parts.
        reading: How files are found and read.

    Returns:
        What was embedded, and what was skipped.

    Raises:
        InputError: The model or an option cannot be used, an input is missing, the folder holds another job, or no
            cloud could be read; then nothing is written.
    """
    start = time.perf_counter()
    request = make_request(model, inputs, sampling=sampling, batch=batch, run_on=run_on, reading=reading)
    places = inputs.inputs if isinstance(inputs, Scans) else inputs
    if reading.readers < 0:
        raise InputError(f"--readers is {reading.readers}; give 0 or more")
    if _is_folder(out):
        check_folder(Path(out), inputs=places)
        result = _embed_folder(request, Path(out), parts, reading.readers)
    elif parts != PartOptions():
        raise InputError(f"--shard, --part, --format and --ray need a folder of parts, not {out}; give --out FOLDER/")
    else:
        result = _embed_file(request, Path(out), reading.readers)
    return replace(result, out=str(out), seconds=time.perf_counter() - start)


def _is_folder(out: Path | str) -> bool:
    suffix = Path(out).suffix
    return str(out).endswith("/") or not suffix or (Path(out).is_dir() and suffix not in SUFFIXES)


def _embed_file(request: Request, out: Path, readers: int) -> EmbedResult:
    if out.suffix not in SUFFIXES or out.is_dir():
        raise InputError(f"{out} has an unknown suffix; give a name that ends in {', '.join(SUFFIXES)}, or a folder")
    check_file(out, inputs=request.inputs)
    if out.suffix == ".parquet":
        require("pyarrow.parquet", "parquet", purpose=PARQUET)
    opened = open_request(request)
    with opened.encoder as encoder:
        (result,) = embed_groups(encoder, [opened.sources], batch=request.batch, readers=readers)
        if not result.names:
            first = f"; the first: {bad.file}: {bad.reason}" if (bad := next(iter(result.skipped), None)) else ""
            raise InputError(f"none of {len(opened.sources)} inputs could be embedded{first}")
        model = encoder.specification
        save(out, Embeddings(result.vectors, result.names, model.sha256, about_job(request, opened), result.boxes))
    return EmbedResult(
        model=model,
        points=opened.points,
        dim=model.dim,
        shard=None,
        parts=None,
        embedded=len(result.names),
        names=result.names,
        skipped=tuple(result.skipped),
        out=str(out),
        seed=request.sampling.seed,
        seconds=0.0,
        draws=request.sampling.draws,
        frame=opened.frame,
        objects=None if result.boxes is None else _objects(result.names, result.boxes),
    )


def _objects(names: list[str], boxes: Boxes) -> tuple[EmbeddedObject, ...]:
    rows = zip(names, boxes.counts.tolist(), boxes.corners.tolist(), strict=True)
    return tuple(EmbeddedObject(name, count, tuple(low), tuple(high)) for name, count, (low, high) in rows)


def _embed_folder(request: Request, out: Path, options: PartOptions, readers: int) -> EmbedResult:
    number, shards = options.shard or (1, 1)
    size, form = options.size, options.form or FORMATS[0]
    if not 1 <= number <= shards:
        raise InputError(f"shard {number}/{shards} does not exist; give 1/{shards} to {shards}/{shards}")
    if size is not None and size < 1:
        raise InputError(f"--part is {size}; give 1 or more")
    if form not in FORMATS:
        raise InputError(f"--format {form} is not known; give {' or '.join(FORMATS)}")
    if form == "parquet":
        require("pyarrow.parquet", "parquet", purpose=PARQUET)
    if options.ray:
        from crosspoint.runtime.jobs.ray_job import embed_on_ray

        plan, model, kept, made = embed_on_ray(request, out, shard=(number, shards), part=size, form=form)
        if plan.frame is not None:
            tell_frame(plan.frame)  # the workers' own lines are not shown
    else:
        opened = open_request(request)
        with opened.encoder as encoder:
            plan, model = join_job(request, opened, out=out, shards=shards, part=size, form=form), encoder.specification
            mine = part_files.shard_of(plan, number, shards=shards)
            kept = part_files.kept(plan, out, sources=opened.sources, indices=mine)
            absent = [index for index in mine if index not in kept]
            made = part_files.write_parts(
                encoder, plan, folder=out, sources=opened.sources, indices=absent, batch=request.batch, readers=readers
            )
    outcomes = [outcome for _, outcome in sorted((kept | made).items())]
    absent = part_files.missing(plan, out, indices=range(plan.count))
    return EmbedResult(
        model=model,
        points=plan.points,
        dim=model.dim,
        shard=(number, shards),
        parts=PartCounts(plan.count, len(made), len(kept), len(absent)),
        embedded=sum(outcome.embedded for outcome in outcomes),
        names=None,
        skipped=tuple(bad for outcome in outcomes for bad in outcome.skipped),
        out=str(out),
        seed=request.sampling.seed,
        seconds=0.0,
        draws=request.sampling.draws,
        frame=plan.frame,
    )
