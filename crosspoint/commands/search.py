"""`crosspoint search`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crosspoint.commands.common import (
    FILES_UP,
    Command,
    PathArgument,
    json_option,
    run_on_options,
    save_result,
    up_option,
)
from crosspoint.core.console import say

if TYPE_CHECKING:
    from crosspoint.data.frames import Up

METRICS = ("cosine", "euclidean")  # repeated from crosspoint.runtime.jobs.search; a test compares them


@click.command("search", cls=Command, example="crosspoint search chair.ply --in embeddings.npz --k 3")
@click.argument("query")
@click.option(
    "--in",
    "index",
    required=True,
    type=PathArgument,
    help="Embeddings: an .npz or .parquet file, or a folder of parts.",
)
@click.option("--k", default=5, show_default=True, help="Number of results.")
@up_option("a query that is a file", FILES_UP)
@click.option("--metric", type=click.Choice(METRICS), default="cosine", show_default=True, help="Distance.")
@click.option("--out", type=PathArgument, help="Draw the query and the results to this file, e.g. result.png.")
@click.option("--model", help="Model of the embeddings.  [default: the one that the embeddings name]")
@click.option("--files", type=PathArgument, help="Folder of the embedded files, if it has moved.")
@run_on_options()
@json_option
def search_command(query: str, k: int, up: "Up | None", metric: str, json_file: Path | None, **options: Any) -> None:
    """Find the shapes that are most similar to QUERY.

    QUERY is a point-cloud or mesh file, or one of the names in the embeddings. The embeddings are the output of
    crosspoint embed.
    """
    from crosspoint.core.console import print_table
    from crosspoint.runtime.jobs.search import SearchOptions, search

    result = search(query, options=SearchOptions(k, metric, up), **options)
    save_result(json_file, result=result)
    rows = [(hit.rank, hit.name, f"{hit.distance:.4f}") for hit in result.results]
    print_table(f"Nearest to {query} of {result.size}", ("rank", "name", f"{result.metric} distance"), rows=rows)
    if result.out:
        say(f"picture: {result.out}")
