"""`crosspoint quickstart`."""

from pathlib import Path

import click

from crosspoint.commands.common import PathArgument, json_option, write_result


@click.command()
@click.option("--out", type=PathArgument, default="quickstart", show_default=True, help="New folder for everything.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of everything.")
@json_option
def quickstart(out: Path, seed: int, json_file: Path | None) -> None:
    """Run the whole flow on built-in shapes: make, train, export, embed, evaluate, report. Minutes on two cores."""
    from crosspoint.quickstart import quickstart as run
    from crosspoint.quickstart import summary_lines

    result = run(out, seed)
    click.echo("\n".join(summary_lines(result)))
    write_result(json_file, "quickstart", result)
