"""Makes the parts of an embedding job on a Ray cluster.

A task is one part. If a worker dies, its parts are lost, and Ray gives them to another worker. Inputs, model and output
must have the same path on every machine, as on a shared file system. A worker opens the model and lists the inputs
once.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

from crosspoint.core.console import track
from crosspoint.core.errors import CheckFailed, CrosspointError, require
from crosspoint.runtime.jobs import parts
from crosspoint.runtime.jobs.join import join_job
from crosspoint.runtime.jobs.request import Opened, Request, open_request
from crosspoint.runtime.specification import Specification, parse_device

RETRIES = 5  # tries of a part whose worker died
CPUS = 1  # CPUs of a worker, and threads of its encoder; so a machine runs one worker per core


def embed_on_ray(
    request: Request, out: Path, *, shard: tuple[int, int], part: int | None, form: str
) -> tuple[parts.Plan, Specification, parts.Outcomes, parts.Outcomes]:
    """Make the missing parts of a shard.

    The cluster is the one this process is connected to, else that of `RAY_ADDRESS`, else a new one on this machine.

    Returns:
        The plan; the model; the parts that existed; and the new parts.

    Raises:
        CheckFailed: The worker of a part died more than RETRIES times, e.g. because memory ran out.
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
        plan, model, kept = _result(ray.get(prepare.remote(request, out, shard, part, form)))
        absent = [index for index in parts.shard_of(plan, number, shards=shards) if index not in kept]
        waiting = [make.remote(request, plan, out, index) for index in absent]
        made: parts.Outcomes = {}
        for _ in track(range(len(absent)), "Embedding parts"):
            (done, *_), waiting = ray.wait(waiting)
            made |= _result(ray.get(done))
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckFailed(f"the job failed on the cluster ({reason}); run it again to continue") from error
    finally:
        if own:
            ray.shutdown()
    return plan, model, kept, made


@lru_cache(maxsize=1)
def _opened(request: Request) -> Opened:
    return open_request(request, threads=CPUS)


@lru_cache(maxsize=1)
def _joined(request: Request, plan: parts.Plan, out: Path) -> Opened:
    """Like `_opened`, and checks that model and inputs are the same on this machine."""
    opened = _opened(request)
    join_job(request, opened, out=out, shards=1, part=plan.size, form=plan.format)
    return opened


def _prepare(request: Request, out: Path, shard: tuple[int, int], part: int | None, form: str) -> Any:
    try:
        opened = _opened(request)
        number, shards = shard
        plan = join_job(request, opened, out=out, shards=shards, part=part, form=form)
        kept = parts.kept(plan, out, sources=opened.sources, indices=parts.shard_of(plan, number, shards=shards))
        return plan, opened.encoder.specification, kept
    except CrosspointError as error:
        return error  # returned, because Ray would wrap a raised error


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
