"""`crosspoint duplicates` and `crosspoint select`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crosspoint.commands.common import (
    FILES_UP,
    Command,
    PathArgument,
    json_option,
    reading_options,
    run_on_options,
    sampling_options,
    save_result,
)
from crosspoint.core.console import say
from crosspoint.core.errors import CheckFailed, InputError

if TYPE_CHECKING:
    from crosspoint.runtime.library.duplicates import DuplicateGroup
    from crosspoint.runtime.options import Reading, RunOn, Sampling

LEVELS = ("copy", "same", "similar")  # as in crosspoint.runtime.library.limits; a test compares them
SHOWN = 20  # rows of a table


@click.command("duplicates", cls=Command, example="crosspoint duplicates shapes/ --within 0.03 --page duplicates.html")
@click.argument("library", nargs=-1, required=True, type=PathArgument, metavar="EMBEDDINGS|FOLDER...")
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="same",
    show_default=True,
    help="copy: one surface up to unit, place and triangles; same: also rotated or mirrored; similar: near embeddings.",
)
@click.option("--out", type=PathArgument, help="Write the groups to this .csv file.")
@click.option("--page", type=PathArgument, help="Write a page with a picture of each object to this .html file.")
@click.option(
    "--within",
    type=float,
    help="Cosine distance up to which pairs are checked.  [default: as measured for the released model]",
)
@click.option("--files", type=PathArgument, help="Folder of the embedded files, if it has moved.")
@click.option("--model", help="Model that embeds a folder.  [default: dgcnn]")
@sampling_options(
    "the objects of a folder",
    FILES_UP,
    points="Points per object of a folder.  [default: as crosspoint embed]",
    draws=1,
)
@reading_options()
@run_on_options()
@json_option
def duplicates_command(
    library: tuple[Path, ...],
    level: str,
    out: Path | None,
    page: Path | None,
    within: float | None,
    files: Path | None,
    model: str | None,
    sampling: "Sampling",
    reading: "Reading",
    run_on: "RunOn",
    json_file: Path | None,
) -> None:
    """Find objects that a library holds more than once.

    Give embeddings of crosspoint embed (one file, or one folder of parts), or folders of meshes and clouds, which are
    embedded first. Copies and same shapes are checked on the objects themselves. Nothing is removed.
    """
    from crosspoint.core.console import print_table
    from crosspoint.core.errors import require
    from crosspoint.core.outputs import check_file
    from crosspoint.runtime.library.duplicates import DuplicatesOptions, duplicates
    from crosspoint.runtime.released import DEFAULT

    if page is not None:
        require("jinja2", "report", purpose="--page")
        check_file(page, "--page", inputs=list(library), within=True, suffixes=(".html",))
        if out is not None and page.resolve() == out.resolve():
            raise InputError(f"--out and --page are both {out}; give two names")
    result = duplicates(
        library,
        DuplicatesOptions(level, within),
        out=out,
        files=files,
        model=model or DEFAULT,
        sampling=sampling,
        run_on=run_on,
        reading=reading,
    )
    save_result(json_file, result=result)
    if page is not None:
        from crosspoint.report.duplicates_page import write_page

        write_page(result, page, files=files)
    rows = [(i, each.kept, len(each.duplicates), _levels(each)) for i, each in enumerate(result.groups[:SHOWN], 1)]
    if rows:
        print_table("Duplicates", ("group", "kept", "others", "levels"), rows=rows)
    removable = sum(len(each.duplicates) for each in result.groups)
    say(f"{removable} of {result.size} objects are duplicates of {len(result.groups)} others (level {level})")
    if result.unread:
        say(f"{result.unread} objects were not checked: their files were not found or not read; give --files", err=True)
    if result.skipped:
        print_table("Skipped", ("file", "reason"), rows=[(bad.file, bad.reason) for bad in result.skipped])
        raise CheckFailed(f"{len(result.skipped)} inputs were skipped; repair or remove them")


def _levels(group: "DuplicateGroup") -> str:
    """Number of duplicates of each level: `"2 copy, 1 same"`."""
    found = [each.level for each in group.duplicates]
    return ", ".join(f"{found.count(level)} {level}" for level in LEVELS if level in found)


@click.command("select", cls=Command, example="crosspoint select embeddings.npz --keep 300 --out selected.csv")
@click.argument("embeddings", type=PathArgument)
@click.option("--keep", required=True, type=int, help="Number of objects to select.")
@click.option("--out", type=PathArgument, help="Write the selected objects to this .csv file.")
@json_option
def select_command(embeddings: Path, keep: int, out: Path | None, json_file: Path | None) -> None:
    """Select the objects that differ most from each other, for example to label them first.

    EMBEDDINGS is an .npz or .parquet file, or a folder of parts, of crosspoint embed.
    """
    from crosspoint.core.console import print_table
    from crosspoint.runtime.library.select import select

    result = select(embeddings, keep, out=out)
    save_result(json_file, result=result)
    rows = [(one.rank, one.name, f"{one.distance:.4f}", one.covers) for one in result.selected[:SHOWN]]
    print_table(f"Selected of {result.size}", ("rank", "name", "distance", "covers"), rows=rows)
    say(f"{len(result.selected)} of {result.size} objects; all others are within {result.radius:.4f} of one of them")
