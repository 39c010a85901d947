"""`crosspoint data`: list, verify, make-shapes, render, scan, pack, objects."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crosspoint.commands.common import (
    FILES_UP,
    UPS,
    Command,
    Commands,
    PathArgument,
    columns_option,
    exclude_option,
    include_option,
    json_option,
    object_options,
    parse_object_options,
    save_result,
    up_option,
)
from crosspoint.core.console import say
from crosspoint.core.errors import CheckFailed

if TYPE_CHECKING:
    from crosspoint.data.frames import Up

PATTERNS = ("camera", "lidar")  # as in crosspoint.data.rendering.sensor; a test compares them
SHOWN = 30  # problems that are printed; the JSON has all of them


@click.group(cls=Commands, example="crosspoint data verify modelnet40_ply_hdf5_2048")
def data() -> None:
    """Make, render, pack and check data sets."""


@data.command("list", cls=Command, example="crosspoint data list --json sets.json")
@json_option
def data_list(json_file: Path | None) -> None:
    """List the known data sets and where to get them."""
    from crosspoint.data.sets.catalogue import SETS, Catalogue

    save_result(json_file, Catalogue())
    for known in SETS:
        click.secho(known.name, bold=True)
        for title, text in vars(known).items():
            if title != "name":
                lead = f"  {title:<9}"
                click.echo(click.wrap_text(text, 110, lead, " " * len(lead)))
        click.echo()


@data.command("verify", cls=Command, example="crosspoint data verify ShapeNetRender")
@click.argument("folder", metavar="DIR", type=PathArgument)
@json_option
def data_verify(folder: Path, json_file: Path | None) -> None:
    """Check every file of the data sets in the folder DIR.

    The format is recognised. If there are problems, they are listed and the exit code is 1.
    """
    from crosspoint.core.console import print_table
    from crosspoint.data.sets.verify import verify

    report = verify(folder)
    save_result(json_file, report)
    print_table(
        f"{folder}: {report.format}",
        ("set", "part", "found", "remark"),
        rows=[(row.set, row.part, row.found, row.remark) for row in report.rows],
    )
    for problem in report.problems[:SHOWN]:
        say(f"  wrong: {problem}")
    if len(report.problems) > SHOWN:
        click.echo(f"  and {len(report.problems) - SHOWN} more; --json FILE lists all")
    if report.problems:
        raise CheckFailed(f"{folder}: {len(report.problems)} problems; repair or replace the files named above")


@data.command("make-shapes", cls=Command, example="crosspoint data make-shapes --out shapes --per-class 20")
@click.option("--out", required=True, type=PathArgument, help="New folder, or an earlier result, which is replaced.")
@click.option("--per-class", default=50, show_default=True, help="Training objects per category.")
@click.option("--seed", default=0, show_default=True, help="Random seed of shapes, points and viewpoints.")
@click.option("--views", default=4, show_default=True, help="Images per training object.")
@click.option("--size", default=64, show_default=True, help="Width and height of the images, in pixels.")
@click.option("--points", default=2048, show_default=True, help="Points per object.")
@click.option(
    "--edition",
    default=1,
    show_default=True,
    help="1: 41 categories, as the released encoders were trained on; 2: 72, with more variation.",
)
@click.option("--sheet", type=PathArgument, help="Also draw some objects of each category to this .png file.")
@click.option("--jobs", type=int, help="Number of processes.  [default: one per core]")
@json_option
def data_make_shapes(
    out: Path,
    per_class: int,
    seed: int,
    views: int,
    size: int,
    points: int,
    edition: int,
    sheet: Path | None,
    jobs: int | None,
    json_file: Path | None,
) -> None:
    """Make training data from parametric shapes of 41 or 72 categories.

    The folder holds pairs for pretraining, a classification set and a part-segmentation set.
    """
    from crosspoint.data.shapes.make_shapes import ShapesSettings, make_shapes

    settings = ShapesSettings(per_class, seed, views, size, points, edition)
    result = make_shapes(out, settings, sheet=sheet, jobs=jobs)
    save_result(json_file, result=result)
    say(
        f"{out}: {len(result.categories)} categories with {result.parts} parts; {result.train} objects to train, "
        f"{result.test} to test, {result.val} to validate, in {result.seconds:.1f} s"
    )


@data.command("render", cls=Command, example="crosspoint data render meshes/ --out pairs --views 8")
@click.argument("meshes", nargs=-1, required=True, type=PathArgument, metavar="MESHES...")
@click.option("--out", required=True, type=PathArgument, help="Output folder; an unfinished run in it is continued.")
@click.option("--views", default=8, show_default=True, help="Images per mesh.")
@click.option("--size", default=224, show_default=True, help="Width and height of the images, in pixels.")
@click.option("--points", default=2048, show_default=True, help="Points per mesh.")
@click.option("--seed", default=0, show_default=True, help="Random seed of points and viewpoints.")
@up_option("the meshes", FILES_UP)
@click.option("--jobs", type=int, help="Number of processes.  [default: one per core]")
@include_option
@exclude_option
@json_option
def data_render(
    meshes: tuple[Path, ...],
    out: Path,
    views: int,
    size: int,
    points: int,
    seed: int,
    up: "Up | None",
    jobs: int | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    json_file: Path | None,
) -> None:
    """Turn meshes into pairs of point clouds and images.

    MESHES are mesh files or folders of them. The result has the layout of ShapeNetRender. Meshes that cannot be read
    are skipped and listed, and the exit code is then 1.
    """
    from crosspoint.data.io.folders import Patterns
    from crosspoint.data.rendering.render import Settings, render

    settings = Settings(views, size, points, seed, up)
    result = render(meshes, out, settings=settings, jobs=jobs, patterns=Patterns(include, exclude))
    save_result(json_file, result=result)
    say(f"{out}: {result.rendered} objects rendered in {result.seconds:.1f} s, {result.kept} kept from before")
    for bad in result.skipped:
        say(f"skipped {bad.file}: {bad.reason}", err=True)
    if result.skipped:
        raise CheckFailed(f"{len(result.skipped)} of {result.objects} meshes were skipped; repair or remove them")


@data.command("scan", cls=Command, example="crosspoint data scan meshes/ --out scans --views 4 --noise 0.0007")
@click.argument("meshes", nargs=-1, required=True, type=PathArgument, metavar="MESHES...")
@click.option("--out", required=True, type=PathArgument, help="Output folder; an unfinished run in it is continued.")
@click.option("--views", default=4, show_default=True, help="Scans per mesh.")
@click.option("--points", default=2048, show_default=True, help="Points per scan.")
@click.option(
    "--pattern",
    type=click.Choice(PATTERNS),
    default="camera",
    show_default=True,
    help="Sensor: depth camera with square pixels, or LiDAR with rings 0.4° apart.",
)
@click.option(
    "--distance",
    type=float,
    help="Distance of the sensor from the object's centre, in radii of the object.  [default: 3 for a camera, 8 for a "
    "LiDAR]",
)
@click.option(
    "--noise",
    default=0.0,
    show_default=True,
    help="Depth noise c: the standard deviation is c·z² at depth z, both in radii of the object.",
)
@click.option("--size", default=224, show_default=True, help="Width and height of the images, in pixels.")
@click.option("--seed", default=0, show_default=True, help="Random seed of viewpoints, rays and noise.")
@up_option("the meshes", FILES_UP)
@click.option("--jobs", type=int, help="Number of processes.  [default: one per core]")
@include_option
@exclude_option
@json_option
def data_scan(
    meshes: tuple[Path, ...],
    out: Path,
    views: int,
    points: int,
    pattern: str,
    distance: float | None,
    noise: float,
    size: int,
    seed: int,
    up: "Up | None",
    jobs: int | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    json_file: Path | None,
) -> None:
    """Turn meshes into single views: the points that a depth camera or a LiDAR sees from one side.

    MESHES are mesh files and folders of them. The result has ShapeNetRender's layout, each scan with its pose and an
    image, and a labelled set by category. Meshes that cannot be read are skipped and listed, and the exit code is then
    1.
    """
    from crosspoint.data.io.folders import Patterns
    from crosspoint.data.rendering.scan import ScanSettings, scan

    settings = ScanSettings(
        views=views, points=points, pattern=pattern, distance=distance, noise=noise, size=size, seed=seed, up=up
    )
    result = scan(meshes, out, settings=settings, jobs=jobs, patterns=Patterns(include, exclude))
    save_result(json_file, result)
    say(
        f"{out}: {result.scanned} objects scanned from {views} sides in {result.seconds:.1f} s, {result.kept} kept "
        f"from before; {result.train} scans to train, {result.test} to test"
    )
    for bad in result.skipped:
        say(f"skipped {bad.file}: {bad.reason}", err=True)
    if result.skipped:
        raise CheckFailed(f"{len(result.skipped)} of {result.objects} meshes were skipped; repair or remove them")


@data.command("pack", cls=Command, example="crosspoint data pack ShapeNetRender --out packed --size 224")
@click.argument("folder", metavar="DIR", type=PathArgument)
@click.option("--out", required=True, type=PathArgument, help="New folder for the shards.")
@click.option("--size", type=int, help="Resize images to this width and height, in pixels.  [default: keep their size]")
@click.option("--views", type=int, help="Keep only the first images of each object.  [default: all]")
@click.option("--shard-mb", default=256, show_default=True, help="Size of a shard, in megabytes.")
@json_option
def data_pack(
    folder: Path, out: Path, size: int | None, views: int | None, shard_mb: int, json_file: Path | None
) -> None:
    """Pack pretraining pairs into shards with checksums.

    DIR is a folder in the layout of ShapeNetRender. crosspoint train reads shards faster than single files.
    """
    from crosspoint.data.sets.pack import pack

    result = pack(folder, out, size=size, views=views, shard_mb=shard_mb)
    save_result(json_file, result=result)
    say(f"{out}: {result.objects} objects, {result.images} images, {result.shards} shards, {result.bytes / 1e6:.1f} MB")


@data.command("objects", cls=Command, example="crosspoint data objects sweep.pcd --out objects --picture above.png")
@click.argument("scan", metavar="SCAN", type=PathArgument)
@click.option("--out", required=True, type=PathArgument, help="New folder, or an earlier result, which is replaced.")
@click.option(
    "--up",
    type=click.Choice(UPS),
    help="Axis that points up in the scan; the objects are not turned.  [default: what the format says, else z]",
)
@object_options
@click.option("--picture", type=PathArgument, help="Also draw the scan from above, with the boxes, to this .png file.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the points that are drawn from a mesh.")
@columns_option
@json_option
def data_objects(
    scan: Path, out: Path, picture: Path | None, seed: int, columns: str | None, json_file: Path | None, **how: Any
) -> None:
    """Find the objects in a scan and write each to a file.

    SCAN is a point-cloud or mesh file in metres. The ground is removed, and each cluster of the other points is an
    object: a .ply file, with its box and its number of points in objects.json. Objects have no class; objects that
    touch become one.
    """
    from crosspoint.data.objects.folder import write_objects

    options = parse_object_options(**how)
    result = write_objects(scan, out, options=options, picture=picture, seed=seed, columns=columns)
    save_result(json_file, result)
    ground = 100 * result.ground_points / result.points
    more = f"; {result.left_out}" if result.left_out else ""
    say(f"{out}: {len(result.objects)} objects in {result.points} points, {ground:.0f} % of them ground{more}")
