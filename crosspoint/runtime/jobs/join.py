"""Compares an embedding request with the job in its output folder."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from crosspoint.runtime.jobs import parts
from crosspoint.runtime.jobs.request import Opened, Request


def about_job(request: Request, opened: Opened) -> dict[str, Any]:
    """The settings that decide the embeddings, as stored in a plan and in a file of embeddings."""
    return {
        "model": request.model,
        "points": opened.points,
        "at_most": opened.at_most,
        "seed": request.seed,
        "base": request.base,
    }


def describe(opened: Opened) -> dict[str, Any]:
    """The entries `model`, `points` and `dim` of a result."""
    specification = opened.encoder.specification
    return {"model": asdict(specification), "points": opened.points, "dim": specification.dim}


def join_job(request: Request, opened: Opened, out: Path, shards: int, part: int | None, form: str) -> parts.Plan:
    """The plan in the folder; if there is none, it becomes the plan of this request.

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
        size=parts.part_size(part, len(sources), shards, out),
        format=form,
    )
    return parts.join(plan, out)
