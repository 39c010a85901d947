"""A request and the folder that it writes parts to: the plan that they agree on."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crosspoint.runtime.jobs import parts
from crosspoint.runtime.jobs.request import Opened, Request


def about_job(request: Request, opened: Opened) -> dict[str, Any]:
    """What decides the embeddings of a request, as a plan and a file of embeddings keep it."""
    about: dict[str, Any] = {
        "model": request.model,
        "points": opened.points,
        "at_most": opened.at_most,
        "seed": request.sampling.seed,
        "base": request.base,
    }
    if request.objects is not None:
        about["objects"] = json.dumps(asdict(request.objects))
    return about


def describe(opened: Opened) -> dict[str, Any]:
    """`model`, `points` and `dim` of a result."""
    specification = opened.encoder.specification
    return {"model": asdict(specification), "points": opened.points, "dim": specification.dim}


def join_job(request: Request, opened: Opened, *, out: Path, shards: int, part: int | None, form: str) -> parts.Plan:
    """The folder's plan, which becomes that of this request if there is none.

    Raises:
        InputError: The folder holds another job.
    """
    sources = opened.sources
    plan = parts.Plan(
        **about_job(request, opened),
        model_sha256=opened.encoder.specification.sha256,
        sources=len(sources),
        sources_sha256=parts.names_digest(sources),
        content_sha256=parts.content_digest(sources),
        size=parts.part_size(part, len(sources), shards=shards, folder=out),
        format=form,
    )
    return parts.join(plan, out)
