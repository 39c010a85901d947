"""Compares an embedding request with the job in its output folder."""

from pathlib import Path

from crosspoint.runtime.jobs import parts
from crosspoint.runtime.jobs.embeddings import FileAbout
from crosspoint.runtime.jobs.request import Opened, Request


def about_job(request: Request, opened: Opened) -> FileAbout:
    """The settings that decide the embeddings, as stored in a plan and in a file of embeddings."""
    sampling = request.sampling
    return FileAbout(
        request.model,
        opened.points,
        opened.at_most,
        sampling.seed,
        request.base,
        sampling.draws,
        opened.frame,
        request.objects,
        request.reading.columns,
    )


def join_job(request: Request, opened: Opened, *, out: Path, shards: int, part: int | None, form: str) -> parts.Plan:
    """The plan in the folder; if there is none, it becomes the plan of this request.

    Raises:
        InputError: The folder holds another job.
    """
    sources = opened.sources
    plan = parts.Plan(
        **vars(about_job(request, opened)),
        model_sha256=opened.encoder.specification.sha256,
        sources=len(sources),
        sources_sha256=parts.names_digest(sources),
        content_sha256=parts.content_digest(sources),
        size=parts.part_size(part, len(sources), shards=shards, folder=out),
        format=form,
    )
    return parts.join(plan, out)
