"""`crosspoint data`: list, verify, make-shapes, render, pack."""

from pathlib import Path

import click

from crosspoint.commands.common import Commands, PathArgument, json_option, save_result, write_result
from crosspoint.core.console import say
from crosspoint.core.errors import CheckFailed

SHOWN = 30  # problems printed; the machine-readable result has all


@click.group(cls=Commands)
def data() -> None:
    """Make, render and check data."""


@data.command("list")
@json_option
def data_list(json_file: Path | None) -> None:
    """Say of each known data set what it is, its terms, where it can be had and the expected folder."""
    from crosspoint.data.sets.catalogue import SETS, Catalogue

    save_result(json_file, Catalogue())
    for known in SETS:
        click.secho(known.name, bold=True)
        for title, text in vars(known).items():
            if title != "name":
                lead = f"  {title:<9}"
                click.echo(click.wrap_text(text, 110, lead, " " * len(lead)))
        click.echo()


@data.command("verify")
@click.argument("folder", metavar="DIR", type=PathArgument)
@json_option
def data_verify(folder: Path, json_file: Path | None) -> None:
    """Recognise the data sets in a folder and check every file of them.

    Exit code 1 if anything is wrong; it is listed.
    """
    from crosspoint.core.console import print_table
    from crosspoint.data.sets.verify import verify

    report = verify(folder)
    save_result(json_file, report)
    print_table(
        f"{folder}: {report.format}",
        ("set", "part", "found", "remark"),
        [(row.set, row.part, row.found, row.remark) for row in report.rows],
    )
    for problem in report.problems[:SHOWN]:
        say(f"  wrong: {problem}")
    if len(report.problems) > SHOWN:
        click.echo(f"  and {len(report.problems) - SHOWN} more; --json FILE lists all")
    if report.problems:
        raise CheckFailed(f"{folder}: {len(report.problems)} problems; repair or replace the files named above")


@data.command("make-shapes")
@click.option("--out", required=True, type=PathArgument, help="New folder, or an earlier result to replace.")
@click.option("--per-class", default=50, show_default=True, help="Training objects per category.")
@click.option("--seed", default=0, show_default=True, help="Seed of shapes, points and viewpoints.")
@click.option("--views", default=4, show_default=True, help="Pictures per training object.")
@click.option("--size", default=64, show_default=True, help="Width and height of the pictures.")
@click.option("--points", default=2048, show_default=True, help="Points per object.")
@click.option("--sheet", type=PathArgument, help="Write a PNG that shows a few objects of every category here.")
@click.option("--jobs", type=int, help="Processes.  [default: all cores]")
@json_option
def data_make_shapes(
    out: Path,
    per_class: int,
    seed: int,
    views: int,
    size: int,
    points: int,
    sheet: Path | None,
    jobs: int | None,
    json_file: Path | None,
) -> None:
    """Make parametric shapes of 41 categories: pretraining pairs, a classification split and a part split."""
    from crosspoint.data.shapes.make_shapes import make_shapes

    result = make_shapes(out, per_class, seed, views, size, points, sheet, jobs)
    write_result(json_file, "make-shapes", result)
    say(
        f"{out}: {len(result['categories'])} categories with {result['parts']} parts; {result['train']} objects to "
        f"train, {result['test']} to test, {result['val']} to validate, in {result['seconds']:.1f} s"
    )


@data.command("render")
@click.argument("meshes", nargs=-1, required=True, type=PathArgument)
@click.option("--out", required=True, type=PathArgument, help="Output folder; an unfinished run in it is continued.")
@click.option("--views", default=8, show_default=True, help="Pictures per mesh.")
@click.option("--size", default=224, show_default=True, help="Width and height of the pictures.")
@click.option("--points", default=2048, show_default=True, help="Points per mesh.")
@click.option("--seed", default=0, show_default=True, help="Seed of points and viewpoints.")
@click.option("--jobs", type=int, help="Processes.  [default: all cores]")
@json_option
def data_render(
    meshes: tuple[Path, ...],
    out: Path,
    views: int,
    size: int,
    points: int,
    seed: int,
    jobs: int | None,
    json_file: Path | None,
) -> None:
    """Make training pairs from mesh files and folders of them: ShapeNetRender's layout.

    Exit code 1 if meshes were skipped; they are listed.
    """
    from crosspoint.data.rendering.render import render

    result = render(meshes, out, views, size, points, seed, jobs)
    write_result(json_file, "render", result)
    say(f"{out}: {result['rendered']} objects rendered in {result['seconds']:.1f} s, {result['kept']} kept from before")
    for bad in result["skipped"]:
        say(f"skipped {bad['file']}: {bad['reason']}", err=True)
    if result["skipped"]:
        raise CheckFailed(f"{len(result['skipped'])} of {result['objects']} meshes were skipped; repair or remove them")


@data.command("pack")
@click.argument("folder", metavar="DIR", type=PathArgument)
@click.option("--out", required=True, type=PathArgument, help="New folder for the packed form.")
@click.option("--size", type=int, help="Resize images to this width and height.  [default: as they are]")
@click.option("--views", type=int, help="Keep the first images of each object.  [default: all]")
@click.option("--shard-mb", default=256, show_default=True, help="Size at which a shard is closed, in megabytes.")
@json_option
def data_pack(
    folder: Path, out: Path, size: int | None, views: int | None, shard_mb: int, json_file: Path | None
) -> None:
    """Pack a folder in ShapeNetRender's layout into checksummed shards that are read many times faster."""
    from crosspoint.data.sets.pack import pack

    result = pack(folder, out, size, views, shard_mb)
    write_result(json_file, "pack", result)
    say(
        f"{out}: {result['objects']} objects, {result['images']} images, {result['shards']} shards, "
        f"{result['bytes'] / 1e6:.1f} MB"
    )
