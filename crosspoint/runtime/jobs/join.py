"""A request and the folder that it writes parts to: the plan that they agree on."""

from pathlib import Path

from crosspoint.runtime.jobs import parts
from crosspoint.runtime.jobs.embeddings import FileAbout
from crosspoint.runtime.jobs.request import Opened, Request


def about_job(request: Request, opened: Opened) -> FileAbout:
    """What decides the embeddings of a request, as a plan and a file of embeddings keep it."""
    sampling = request.sampling
    return FileAbout(request.model, opened.points, opened.at_most, sampling.seed, request.base, sampling.draws)


def join_job(request: Request, opened: Opened, *, out: Path, shards: int, part: int | None, form: str) -> parts.Plan:
    """The folder's plan, which becomes that of this request if there is none.

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
