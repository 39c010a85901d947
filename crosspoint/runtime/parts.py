"""A large embedding job as a folder of parts: cut the same way by everyone who works on it, each part whole or absent.

The inputs, in their order, are cut into parts of equal size. `job.json` says how, and what else decides the numbers in
them; whoever comes first writes it, and whoever comes with another job is refused. A part that is there is done.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crosspoint.core.files import write_once
from crosspoint.errors import InputError
from crosspoint.runtime.batches import Embedded, Skipped, embed_groups
from crosspoint.runtime.embeddings import Embeddings, load, read_about, save
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.sources import Source

JOB, SCHEMA = "job.json", "crosspoint.embed-job/1"
MOST = 1024  # sources of a part, 8 MB of DGCNN's embeddings
FORMATS = ("parquet", "npz")


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
        size: Sources of a part; the last may have fewer.
        format: `"parquet"` or `"npz"`.
    """

    model_sha256: str
    model: str
    points: int | None
    at_most: bool
    seed: int
    base: str
    sources: int
    sources_sha256: str
    size: int
    format: str

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

    def about(self) -> dict[str, Any]:
        """What each part says of itself besides its model's hash."""
        return {name: getattr(self, name) for name in ("points", "at_most", "seed", "sources_sha256", "size")}


def digest(sources: Iterable[Source]) -> str:
    """SHA-256 of the sources' names in their order."""
    result = hashlib.sha256()
    for source in sources:
        result.update(source.name.encode() + b"\0")
    return result.hexdigest()


def part_size(asked: int | None, sources: int, shards: int, folder: Path) -> int:
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
    fields = [name for name in asdict(plan) if name not in ("base", "model")]
    differ = [name for name in fields if getattr(found, name) != getattr(plan, name)]
    if differ:
        name = differ[0]
        raise InputError(
            f"{folder} holds another job: {name} was {getattr(found, name)} and is {getattr(plan, name)} now; give a "
            "new folder for --out, or the same model, inputs and options as before"
        )
    return found


def read_plan(folder: Path) -> Plan:
    """The plan in a folder of parts.

    Raises:
        InputError: There is none, or it is damaged.
    """
    path = folder / JOB
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        schema = values.pop("schema")
        if schema != SCHEMA:
            raise ValueError(f"its schema is {schema!r}, this version reads {SCHEMA!r}")
        return Plan(**values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} cannot be read ({error}); give a folder that crosspoint embed wrote") from error


def shard_of(plan: Plan, number: int, shards: int) -> range:
    """The parts of shard `number` of `shards`, counted from 1: every n-th from its own on."""
    return range(number - 1, plan.count, shards)


def missing(plan: Plan, folder: Path, indices: Iterable[int]) -> list[int]:
    """Those of the parts that are not there."""
    return [index for index in indices if not (folder / plan.part(index)).is_file()]


def write_parts(
    encoder: Encoder,
    plan: Plan,
    folder: Path,
    sources: Sequence[Source],
    indices: Sequence[int],
    batch: int,
    readers: int,
) -> None:
    """Embed and write parts, each atomically."""
    groups = [sources[plan.range(index)] for index in indices]
    for index, result in zip(indices, embed_groups(encoder, groups, batch, readers), strict=True):
        save(folder / plan.part(index), _part(plan, result))


def _part(plan: Plan, result: Embedded) -> Embeddings:
    about = {**plan.about(), "embedded": len(result.names), "skipped": result.skipped}
    return Embeddings(result.vectors, result.names, plan.model_sha256, about)


def outcome(plan: Plan, folder: Path, indices: Iterable[int]) -> tuple[int, list[Skipped]]:
    """How many clouds the parts hold, and what was skipped.

    Raises:
        InputError: A part is damaged, or of another job.
    """
    about = [_about(plan, folder / plan.part(index)) for index in indices]
    return sum(part["embedded"] for part in about), [bad for part in about for bad in part["skipped"]]


def _about(plan: Plan, path: Path) -> dict[str, Any]:
    try:
        about = read_about(path)
    except Exception as error:  # what a damaged file brings out of a library
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is damaged ({reason}); remove it and run the job again") from error
    wanted = {"model_sha256": plan.model_sha256, **plan.about()}
    if any(about.get(name) != value for name, value in wanted.items()):
        raise InputError(f"{path} is not a part of the job in {JOB}; remove it and run the job again")
    return about


def load_parts(folder: Path) -> Iterator[Embeddings]:
    """The parts of a finished job, in order, one at a time.

    Raises:
        InputError: The job is not finished, or a part is damaged or of another job.
    """
    plan = read_plan(folder)
    if absent := missing(plan, folder, range(plan.count)):
        raise InputError(
            f"{folder} is not finished: {len(absent)} of {plan.count} parts are not there, first "
            f"{plan.part(absent[0])}; run crosspoint embed again with the same arguments, and it will go on"
        )
    for index in range(plan.count):
        _about(plan, folder / plan.part(index))
        yield load(folder / plan.part(index))
