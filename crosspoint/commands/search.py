"""`crosspoint search`."""

from pathlib import Path
from typing import Any

import click

from crosspoint.commands.common import (
    PathArgument,
    backend_option,
    device_option,
    json_option,
    verify_key_option,
    write_result,
)
from crosspoint.core.console import say


@click.command("search")
@click.argument("query")
@click.option("--in", "index", required=True, type=PathArgument, help="Embeddings: .npz, .parquet, a folder of parts.")
@click.option("--k", default=5, show_default=True, help="How many neighbours.")
@click.option("--metric", default="cosine", show_default=True, help="cosine or euclidean.")
@click.option("--out", type=PathArgument, help="Picture of the query and its neighbours, e.g. a .png.")
@click.option("--model", help="The model of the embeddings, where it is not found by itself.")
@click.option("--files", type=PathArgument, help="Folder of what was embedded, if it has moved.")
@device_option
@backend_option
@verify_key_option
@json_option
def search_command(query: str, json_file: Path | None, **options: Any) -> None:
    """Find the shapes most similar to QUERY, a file or a name in the embeddings that `crosspoint embed` wrote."""
    from crosspoint.core.console import print_table
    from crosspoint.runtime.jobs.search import search

    result = search(query, **options)
    write_result(json_file, "search", result)
    rows = [(hit["rank"], hit["name"], f"{hit['distance']:.4f}") for hit in result["results"]]
    print_table(f"Nearest to {query} of {result['size']}", ("rank", "name", f"{result['metric']} distance"), rows)
    if result["out"]:
        say(f"picture: {result['out']}")
