"""A large embedding job as a folder of parts. Every process cuts the job in the same way and writes whole parts.

The inputs, in order, are cut into parts of equal size. `job.json`, the plan, holds this size and everything else that
decides the embeddings. The first process writes it; a process with another job is refused.

A part is kept only if its inputs have not changed: it holds the SHA-256 of each input, which is compared with the
input as it is now. So every run reads its inputs once, either to embed or to compare them. The plan itself holds the
size of every input and the content of at most `SAMPLED` of them, so that machines with different copies of the data
do not work on one job.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import cast

from crosspoint.core.errors import InputError
from crosspoint.core.files import write_once
from crosspoint.core.reading import read_json, reading
from crosspoint.core.results import OPTIONAL, from_json, to_json
from crosspoint.data.frames import Frame
from crosspoint.data.objects.find import ObjectOptions
from crosspoint.data.sources import Source, content_of
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.jobs.batches import Skipped, embed_groups
from crosspoint.runtime.jobs.embeddings import Embeddings, PartAbout, PartOfJob, load, save

JOB, SCHEMA = "job.json", "crosspoint.embed-job/4"
EARLIER = "crosspoint.embed-job/3"  # the same without a frame; still earlier ones drew other points
MOST = 1024  # sources per part; 8 MB of DGCNN's embeddings
SAMPLED = 1024  # number of sources whose content the plan knows; of a smaller job all
FORMATS = ("parquet", "npz")
AGAIN = "remove it and run the job again"
WORDS = {
    "sources_sha256": "the list of inputs",
    "content_sha256": "the content of the inputs or --columns",
    "up": "--up",
}


@dataclass(frozen=True)
class PartOptions:
    """Options of a folder of parts.

    Attributes:
        shard: (i, n): write only every n-th part, beginning with the i-th; None: all parts.
        size: Sources per part; None: 1024, or fewer, so that each shard has a part.
        form: Format of the parts, `"parquet"` or `"npz"`; None: `"parquet"`.
        ray: Make the parts on a Ray cluster.
    """

    shard: tuple[int, int] | None = None
    size: int | None = None
    form: str | None = None
    ray: bool = False


@dataclass(frozen=True)
class Plan:
    """Everything that decides the parts.

    Attributes:
        model_sha256: SHA-256 of the model file.
        model: Name or path of the model, as given.
        points: Points per cloud; None: all.
        at_most: Whether clouds with fewer points are taken as they are.
        seed: Random seed of the points that are drawn.
        base: Folder that names are relative to; it may differ between machines.
        sources: Number of sources.
        sources_sha256: SHA-256 of their names and frames.
        content_sha256: SHA-256 of their sizes, and of the content of at most `SAMPLED` of them.
        size: Sources per part; the last part may have fewer.
        format: `"parquet"` or `"npz"`.
        draws: Of points from each cloud, whose embeddings are averaged.
        frame: In which the inputs are stored; None of an earlier version, which turned nothing and did not say.
        objects: How objects are found in scans; None: each input is one object.
        columns: Columns of text and binary inputs that the user named; `content_sha256` depends on them.
    """

    model_sha256: str
    model: str
    points: int | None
    at_most: bool
    seed: int
    base: str
    sources: int
    sources_sha256: str
    content_sha256: str
    size: int
    format: str
    draws: int
    frame: Frame | None = field(default=None, metadata=OPTIONAL)
    objects: ObjectOptions | None = field(default=None, metadata=OPTIONAL)
    columns: str | None = field(default=None, metadata=OPTIONAL)

    @property
    def up(self) -> str:
        """The axis that points up in the inputs; y if it was not recorded."""
        return "y" if self.frame is None else self.frame.up

    @property
    def count(self) -> int:
        """Number of parts."""
        return -(-self.sources // self.size)

    def part(self, index: int) -> str:
        """File name of a part. `index` counts from 0, the number in the name from 1."""
        return f"part-{index + 1:05d}-of-{self.count:05d}.{self.format}"

    def range(self, index: int) -> slice:
        """The sources of a part, as a slice."""
        return slice(index * self.size, (index + 1) * self.size)

    def about(self, index: int) -> PartOfJob:
        """What a part says of itself besides the hash of its model: its number and its job."""
        own = ("points", "at_most", "seed", "sources_sha256", "content_sha256", "size", "draws", "frame", "objects")
        return PartOfJob(index + 1, **{name: getattr(self, name) for name in own})


@dataclass(frozen=True)
class Outcome:
    """The outcome of a part: how many clouds were embedded, and what was skipped."""

    embedded: int
    skipped: tuple[Skipped, ...]


Outcomes = dict[int, Outcome]  # by part


def names_digest(sources: Iterable[Source]) -> str:
    """SHA-256 of the names of the sources, in order, and of the axis that points up where it is not y."""
    result = hashlib.sha256()
    for source in sources:
        up = source.frame.up
        result.update(source.name.encode() + b"\0" + (b"" if up == "y" else f"{up}\0".encode()))
    return result.hexdigest()


def content_digest(sources: Sequence[Source]) -> str:
    """SHA-256 of the sizes and columns of the sources, and of the content of `SAMPLED` of them, evenly spaced."""
    result = hashlib.sha256()
    for source in sources:
        result.update(source.size().to_bytes(8, "little", signed=True) + (source.columns or "").encode())
    for content in content_of(sources[:: max(1, -(-len(sources) // SAMPLED))]):
        result.update(content.encode() + b"\0")
    return result.hexdigest()


def part_size(asked: int | None, sources: int, *, shards: int, folder: Path) -> int:
    """Sources per part: as asked for, else as in the folder's job, else at most `MOST` and some for every shard."""
    if asked is not None:
        return asked
    if (folder / JOB).is_file():
        return read_plan(folder).size
    return max(1, min(MOST, -(-sources // shards)))


def join(plan: Plan, folder: Path) -> Plan:
    """Store this plan in the folder, or check that the folder has the same plan; returns the plan in the folder.

    Raises:
        InputError: The folder holds another job or other files, or cannot be written to.
    """
    if folder.is_dir() and not (folder / JOB).is_file() and any(not p.name.startswith(".") for p in folder.iterdir()):
        raise InputError(f"{folder} holds files that are not an embedding job; give a new folder for --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_once(folder / JOB, {"schema": SCHEMA, **cast("dict[str, object]", to_json(plan))})
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose another place") from error
    found = read_plan(folder)
    before, now = _decisive(found), _decisive(plan)
    differ = [name for name in now if before.get(name) != now[name]]
    if differ:
        name = differ[0]
        raise InputError(
            f"{folder} holds another job: {WORDS.get(name, name)} was {before.get(name)}, now {now[name]}; "
            "give a new folder for --out, or the same model, inputs and options as before"
        )
    return found


def _decisive(plan: Plan) -> dict[str, object]:
    """Everything that two plans of one job have in common, by name; options of objects by option."""
    apart = ("base", "model", "frame", "objects", "columns")
    values = {name: value for name, value in vars(plan).items() if name not in apart}
    options = {} if plan.objects is None else vars(plan.objects)
    given = {f"--{name.replace('_', '-')}": value for name, value in options.items() if name != "up"}
    return {"--objects": plan.objects is not None, **given, "up": plan.up, **values}


def read_plan(folder: Path) -> Plan:
    """Read the plan of a folder of parts.

    Raises:
        InputError: It is missing or damaged.
    """
    path, advice = folder / JOB, "give a folder that crosspoint embed wrote"
    if not path.is_file():
        raise InputError(f"{folder} holds no {JOB}; {advice}")
    values = read_json(path, "the plan of an embedding job", advice=advice)
    if not isinstance(values, dict) or values.get("schema") not in (SCHEMA, EARLIER):
        schema = values.get("schema") if isinstance(values, dict) else None
        raise InputError(
            f"{path} has the schema {str(schema)[:40]!r}, this version reads {SCHEMA!r}; {advice}, or embed again into "
            "a new folder"
        )
    with reading(path, "the plan of an embedding job", advice=advice):
        unknown = values.keys() - {"schema", *(known.name for known in fields(Plan))}
        if unknown:
            raise ValueError(f"it has the entries {sorted(unknown)}")
        plan = from_json(Plan, values)
        if plan.size < 1 or plan.sources < 1 or plan.format not in FORMATS:
            raise ValueError(f"{plan.sources} sources in parts of {plan.size} as {plan.format!r}")
    return plan


def shard_of(plan: Plan, number: int, *, shards: int) -> range:
    """The parts of shard `number` (from 1) of `shards`: every n-th part, beginning with its own."""
    return range(number - 1, plan.count, shards)


def missing(plan: Plan, folder: Path, *, indices: Iterable[int]) -> list[int]:
    """The parts that do not exist."""
    return [index for index in indices if not (folder / plan.part(index)).is_file()]


def kept(plan: Plan, folder: Path, *, sources: Sequence[Source], indices: Iterable[int]) -> Outcomes:
    """The parts that exist, each compared with the job and with its inputs as they are now.

    Raises:
        InputError: A part is damaged, belongs to another job, or its inputs have changed.
    """
    outcomes: Outcomes = {}
    for index in indices:
        path = folder / plan.part(index)
        if not path.is_file():
            continue
        (part, about), own = _load(plan, path, index), sources[plan.range(index)]
        pairs = zip(about.contents, content_of(own), strict=True)
        changed = [source.name for source, (before, now) in zip(own, pairs, strict=True) if before != now]
        if changed:
            raise InputError(
                f"{path} was made before {changed[0]} changed ({len(changed)} of {len(own)} inputs changed); "
                "give a new folder for --out, or restore the inputs"
            )
        outcomes[index] = Outcome(len(part.names), about.skipped)
    return outcomes


def write_parts(
    encoder: Encoder,
    plan: Plan,
    *,
    folder: Path,
    sources: Sequence[Source],
    indices: Sequence[int],
    batch: int,
    readers: int,
) -> Outcomes:
    """Embed and write parts, each atomically."""
    groups = [sources[plan.range(index)] for index in indices]
    outcomes: Outcomes = {}
    for index, result in zip(indices, embed_groups(encoder, groups, batch=batch, readers=readers), strict=True):
        about = PartAbout(plan.about(index), tuple(result.sources_sha256), tuple(result.skipped))
        save(
            folder / plan.part(index), Embeddings(result.vectors, result.names, plan.model_sha256, about, result.boxes)
        )
        outcomes[index] = Outcome(len(result.names), about.skipped)
    return outcomes


def _load(plan: Plan, path: Path, index: int) -> tuple[Embeddings, PartAbout]:
    """Read a part and its description, and compare them with the plan."""
    part = load(path, AGAIN)
    about, sources = part.about, range(plan.sources)[plan.range(index)]
    own = isinstance(about, PartAbout) and about.job == plan.about(index) and len(about.contents) == len(sources)
    if not isinstance(about, PartAbout) or not own or part.model_sha256 != plan.model_sha256:
        raise InputError(f"{path}: is not part {index + 1} of the job in {JOB}; {AGAIN}")
    return part, about


def load_parts(folder: Path) -> Iterator[Embeddings]:
    """Yield the parts of a finished job in order, one at a time.

    Raises:
        InputError: The job is not finished, or a part is damaged or of another job.
    """
    plan = read_plan(folder)
    there = {path.name for path in folder.glob(f"part-*-of-{plan.count:05d}.{plan.format}")}
    first = next((plan.part(index) for index in range(plan.count) if plan.part(index) not in there), None)
    if first is not None:
        raise InputError(
            f"{folder} is not finished: {plan.count - len(there)} of {plan.count} parts are missing, first {first}; "
            "run crosspoint embed again with the same arguments to continue"
        )
    for index in range(plan.count):
        yield _load(plan, folder / plan.part(index), index)[0]
