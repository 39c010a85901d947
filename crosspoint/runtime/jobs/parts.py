"""A large embedding job as a folder of parts: cut the same way by everyone who works on it, each part whole or absent.

The inputs, in their order, are cut into parts of equal size. `job.json` says how, and what else decides the numbers in
them; whoever comes first writes it, and whoever comes with another job is refused.

A part is kept only if its inputs still are what it was made of: it holds the SHA-256 of each input as it was read, and
these are compared with the inputs at hand. So every run reads its inputs once, to embed them or to compare them. The
plan itself holds the size of every input and the content of at most `SAMPLED` of them, which is what keeps shards on
machines with different copies of the data apart.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_type_hints

from crosspoint.core.errors import InputError
from crosspoint.core.files import write_once
from crosspoint.core.reading import read_json, reading
from crosspoint.data.sources import Source, content_of
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.jobs.batches import Skipped, embed_groups
from crosspoint.runtime.jobs.embeddings import Embeddings, PartAbout, PartOfJob, load, save

JOB, SCHEMA = "job.json", "crosspoint.embed-job/3"
MOST = 1024  # sources of a part, 8 MB of DGCNN's embeddings
SAMPLED = 1024  # sources whose content the plan knows: all of a smaller job's
FORMATS = ("parquet", "npz")
AGAIN = "remove it and run the job again"
WORDS = {"sources_sha256": "the list of inputs", "content_sha256": "the content of the inputs"}


@dataclass(frozen=True)
class PartOptions:
    """How a folder of parts is made.

    Attributes:
        shard: i and n: make only every n-th part, from the i-th on; None for all parts.
        size: Sources of a part; None for 1024, or fewer where there would not be a part for each shard.
        form: `"parquet"` or `"npz"`; None for `"parquet"`.
        ray: Make the parts on a Ray cluster.
    """

    shard: tuple[int, int] | None = None
    size: int | None = None
    form: str | None = None
    ray: bool = False


@dataclass(frozen=True)
class Plan:
    """What decides the parts.

    Attributes:
        model_sha256: Of the file that is run.
        model: As it was named.
        points: Per cloud, None for all.
        at_most: Whether smaller clouds are taken whole.
        seed: Of the points drawn.
        base: Folder that names are relative to; may differ between machines.
        sources: How many there are.
        sources_sha256: Of their names.
        content_sha256: Of their sizes, and of the content of at most `SAMPLED` of them.
        size: Sources of a part; the last may have fewer.
        format: `"parquet"` or `"npz"`.
        draws: Of points from each cloud, whose embeddings are averaged.
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

    @property
    def count(self) -> int:
        """Number of parts."""
        return -(-self.sources // self.size)

    def part(self, index: int) -> str:
        """File name of a part, counted from 0 here and from 1 in the name."""
        return f"part-{index + 1:05d}-of-{self.count:05d}.{self.format}"

    def range(self, index: int) -> slice:
        """The sources of a part."""
        return slice(index * self.size, (index + 1) * self.size)

    def about(self, index: int) -> PartOfJob:
        """What a part says of itself besides its model's hash: which one it is, of which job."""
        own = ("points", "at_most", "seed", "sources_sha256", "content_sha256", "size", "draws")
        return PartOfJob(index + 1, **{name: getattr(self, name) for name in own})


@dataclass(frozen=True)
class Outcome:
    """What became of the sources of a part: how many clouds were embedded, and what was skipped."""

    embedded: int
    skipped: tuple[Skipped, ...]


Outcomes = dict[int, Outcome]  # by part


def names_digest(sources: Iterable[Source]) -> str:
    """SHA-256 of the sources' names in their order."""
    result = hashlib.sha256()
    for source in sources:
        result.update(source.name.encode() + b"\0")
    return result.hexdigest()


def content_digest(sources: Sequence[Source]) -> str:
    """SHA-256 of the sources' sizes, and of the content of `SAMPLED` of them at equal distances."""
    result = hashlib.sha256()
    for source in sources:
        result.update(source.size().to_bytes(8, "little", signed=True))
    for content in content_of(sources[:: max(1, -(-len(sources) // SAMPLED))]):
        result.update(content.encode() + b"\0")
    return result.hexdigest()


def part_size(asked: int | None, sources: int, *, shards: int, folder: Path) -> int:
    """Sources of a part: as asked, else as the folder's job has it, else so that every shard has some, at most MOST."""
    if asked is not None:
        return asked
    if (folder / JOB).is_file():
        return read_plan(folder).size
    return max(1, min(MOST, -(-sources // shards)))


def join(plan: Plan, folder: Path) -> Plan:
    """Make the folder's job this plan, or find that it is already; returns the folder's own plan.

    Raises:
        InputError: The folder holds another job or other files, or cannot be written to.
    """
    if folder.is_dir() and not (folder / JOB).is_file() and any(not p.name.startswith(".") for p in folder.iterdir()):
        raise InputError(f"{folder} holds files that are no embedding job; give a new folder for --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_once(folder / JOB, {"schema": SCHEMA, **asdict(plan)})
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose another place") from error
    found = read_plan(folder)
    decisive = [name for name in asdict(plan) if name not in ("base", "model")]
    differ = [name for name in decisive if getattr(found, name) != getattr(plan, name)]
    if differ:
        name = differ[0]
        raise InputError(
            f"{folder} holds another job: {WORDS.get(name, name)} was {getattr(found, name)} and is "
            f"{getattr(plan, name)} now; give a new folder for --out, or the same model, inputs and options as before"
        )
    return found


def read_plan(folder: Path) -> Plan:
    """The plan in a folder of parts.

    Raises:
        InputError: There is none, or it is damaged.
    """
    path, advice = folder / JOB, "give a folder that crosspoint embed wrote"
    if not path.is_file():
        raise InputError(f"{folder} holds no {JOB}; {advice}")
    values = read_json(path, "the plan of an embedding job", advice=advice)
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        schema = values.get("schema") if isinstance(values, dict) else None
        raise InputError(
            f"{path} has the schema {str(schema)[:40]!r}, this version reads {SCHEMA!r}; {advice}, or embed again into "
            "a new one"
        )
    with reading(path, "the plan of an embedding job", advice=advice):
        plan = Plan(**{name: value for name, value in values.items() if name != "schema"})
        for name, kind in get_type_hints(Plan).items():
            if not isinstance(getattr(plan, name), kind):
                raise TypeError(f"{name} is {getattr(plan, name)!r}")
        if plan.size < 1 or plan.sources < 1 or plan.format not in FORMATS:
            raise ValueError(f"{plan.sources} sources in parts of {plan.size} as {plan.format!r}")
    return plan


def shard_of(plan: Plan, number: int, *, shards: int) -> range:
    """The parts of shard `number` of `shards`, counted from 1: every n-th from its own on."""
    return range(number - 1, plan.count, shards)


def missing(plan: Plan, folder: Path, *, indices: Iterable[int]) -> list[int]:
    """Those of the parts that are not there."""
    return [index for index in indices if not (folder / plan.part(index)).is_file()]


def kept(plan: Plan, folder: Path, *, sources: Sequence[Source], indices: Iterable[int]) -> Outcomes:
    """Those of the parts that are there, each compared with the job and with its inputs as they are now.

    Raises:
        InputError: A part is damaged, is another one, or was made of other content.
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
                f"{path} was made when {changed[0]} held something else ({len(changed)} of {len(own)} inputs changed); "
                "give a new folder for --out, or the inputs as they were"
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
        save(folder / plan.part(index), Embeddings(result.vectors, result.names, plan.model_sha256, about))
        outcomes[index] = Outcome(len(result.names), about.skipped)
    return outcomes


def _load(plan: Plan, path: Path, index: int) -> tuple[Embeddings, PartAbout]:
    """A part, and what it says of itself, after it has been compared with the plan."""
    part = load(path, AGAIN)
    about, sources = part.about, range(plan.sources)[plan.range(index)]
    own = isinstance(about, PartAbout) and about.job == plan.about(index) and len(about.contents) == len(sources)
    if not isinstance(about, PartAbout) or not own or part.model_sha256 != plan.model_sha256:
        raise InputError(f"{path}: is not part {index + 1} of the job in {JOB}; {AGAIN}")
    return part, about


def load_parts(folder: Path) -> Iterator[Embeddings]:
    """The parts of a finished job, in order, one at a time.

    Raises:
        InputError: The job is not finished, or a part is damaged or another one.
    """
    plan = read_plan(folder)
    there = {path.name for path in folder.glob(f"part-*-of-{plan.count:05d}.{plan.format}")}
    first = next((plan.part(index) for index in range(plan.count) if plan.part(index) not in there), None)
    if first is not None:
        raise InputError(
            f"{folder} is not finished: {plan.count - len(there)} of {plan.count} parts are not there, first {first}; "
            "run crosspoint embed again with the same arguments, and it will go on"
        )
    for index in range(plan.count):
        yield _load(plan, folder / plan.part(index), index)[0]
