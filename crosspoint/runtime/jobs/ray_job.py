"""The parts of an embedding job made on a Ray cluster.

A task is one part, so a worker that dies costs the parts it was at, and Ray gives those to another. Inputs, model and
output have to be at the same place on every machine, as on any shared file system. A worker opens the model and lists
the inputs once and keeps both.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from crosspoint.core.console import track
from crosspoint.core.errors import CheckFailed, CrosspointError, require
from crosspoint.runtime.encoder import parse_device
from crosspoint.runtime.jobs import parts
from crosspoint.runtime.jobs.join import describe, join_job
from crosspoint.runtime.jobs.request import Opened, Request, open_request

RETRIES = 5  # of a part whose worker died
CPUS = 1  # that a worker reserves, and threads of its encoder: there is a worker for each core of a machine


def embed_on_ray(
    request: Request, out: Path, *, shard: tuple[int, int], part: int | None, form: str
) -> tuple[parts.Plan, dict[str, Any], parts.Outcomes, parts.Outcomes]:
    """Make the missing parts of a shard.

    The cluster is the one that this process is connected to, else that of `RAY_ADDRESS`, else one on this machine.

    Returns:
        The plan, `model`, `points` and `dim` of the result, the parts that were there, and those that were made.

    Raises:
        CheckFailed: A part's worker died more than RETRIES times, e.g. for want of memory.
        InputError: As for `embed`.
        MissingDependency: ray is not installed.
    """
    ray: Any = require("ray", "ray", purpose="--ray")
    number, shards = shard
    own = not ray.is_initialized()
    if own:
        ray.init(log_to_driver=False, logging_level="error")
    try:
        out = out.absolute()
        options = {
            "num_cpus": CPUS,
            "num_gpus": int(parse_device(request.run_on.device) is not None),
            "max_retries": RETRIES,
        }
        prepare, make = (ray.remote(work).options(**options) for work in (_prepare, _make))
        plan, described, kept = _result(ray.get(prepare.remote(request, out, shard, part, form)))
        absent = [index for index in parts.shard_of(plan, number, shards=shards) if index not in kept]
        waiting = [make.remote(request, plan, out, index) for index in absent]
        made: parts.Outcomes = {}
        for _ in track(range(len(absent)), "Embedding parts"):
            (done, *_), waiting = ray.wait(waiting)
            made |= _result(ray.get(done))
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckFailed(f"the job failed on the cluster ({reason}); run it again, and it will go on") from error
    finally:
        if own:
            ray.shutdown()
    return plan, described, kept, made


@lru_cache(maxsize=1)
def _opened(request: Request) -> Opened:
    return open_request(request, threads=CPUS)


@lru_cache(maxsize=1)
def _joined(request: Request, plan: parts.Plan, out: Path) -> Opened:
    """As `_opened`, after it is clear that model and inputs are the job's on this machine too."""
    opened = _opened(request)
    join_job(request, opened, out=out, shards=1, part=plan.size, form=plan.format)
    return opened


def _prepare(request: Request, out: Path, shard: tuple[int, int], part: int | None, form: str) -> Any:
    try:
        opened = _opened(request)
        number, shards = shard
        plan = join_job(request, opened, out=out, shards=shards, part=part, form=form)
        return (
            plan,
            describe(opened),
            parts.kept(plan, out, sources=opened.sources, indices=parts.shard_of(plan, number, shards=shards)),
        )
    except CrosspointError as error:
        return error  # a result, because Ray would wrap it


def _make(request: Request, plan: parts.Plan, out: Path, index: int) -> parts.Outcomes | CrosspointError:
    try:
        opened = _joined(request, plan, out)
        return parts.write_parts(
            opened.encoder, plan, folder=out, sources=opened.sources, indices=[index], batch=request.batch, readers=0
        )
    except CrosspointError as error:
        return error


def _result(value: Any) -> Any:
    if isinstance(value, CrosspointError):
        raise value
    return value
