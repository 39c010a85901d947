"""`crosspoint quickstart`."""

from pathlib import Path

import click

from crosspoint.commands.common import Command, PathArgument, json_option, save_result


@click.command(cls=Command, example="crosspoint quickstart --out quickstart")
@click.option("--out", type=PathArgument, default="quickstart", show_default=True, help="New folder for all results.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed.")
@json_option
def quickstart(out: Path, seed: int, json_file: Path | None) -> None:
    """Run all steps once on generated shapes.

    The steps: make data, train, export, embed, evaluate, report. It needs no data of yours and takes some minutes on
    two CPU cores.
    """
    from crosspoint.core.errors import require

    require("torch", "train", purpose="the quickstart")  # first: it brings what the report needs
    from crosspoint.quickstart import quickstart as run
    from crosspoint.quickstart import summary_lines

    result = run(out, seed)
    click.echo("\n".join(summary_lines(result)))
    save_result(json_file, result=result)
