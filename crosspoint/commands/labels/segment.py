"""`crosspoint segment`."""

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
from crosspoint.core.errors import CheckFailed

if TYPE_CHECKING:
    from crosspoint.runtime.options import Reading, RunOn, Sampling


@click.command(
    "segment", cls=Command, example="crosspoint segment bundle chair.ply --category chair --out labelled.ply"
)
@click.argument("model", type=PathArgument)
@click.argument("inputs", nargs=-1, required=True, type=PathArgument, metavar="INPUT...")
@click.option("--category", required=True, help="Category of the objects, e.g. chair.")
@click.option("--out", required=True, type=PathArgument, help="A .ply file for one object, or a folder.")
@click.option(
    "--data",
    type=PathArgument,
    help="Folder with the taxonomy.json of the model.  [default: the names in the model, or those of ShapeNetPart]",
)
@sampling_options(
    "the inputs",
    FILES_UP,
    points="Points per call of the model; larger clouds are split.  [default: as the model takes, or 2048]",
)
@reading_options()
@run_on_options(trust=True)
@json_option
def segment_command(
    model: Path,
    inputs: tuple[Path, ...],
    category: str,
    out: Path,
    data: Path | None,
    sampling: "Sampling",
    reading: "Reading",
    run_on: "RunOn",
    json_file: Path | None,
) -> None:
    """Label the points of clouds with the parts of their category.

    MODEL is a part segmenter of crosspoint finetune partseg, or an export of one. INPUT is a point-cloud or mesh file,
    a folder of them, or a data set. The output has all points of a cloud, or points drawn from a mesh, each with a
    label and a colour, and lie as in the input. Inputs that cannot be read are skipped and listed, and the exit code is
    then 1.
    """
    from crosspoint.commands.tables.classify import print_segmented
    from crosspoint.runtime.jobs.segment import segment

    result = segment(
        model, inputs, category=category, out=out, data=data, sampling=sampling, run_on=run_on, reading=reading
    )
    save_result(json_file, result)
    print_segmented(result)
    if result.skipped:
        raise CheckFailed(f"{len(result.skipped)} inputs were skipped; repair or remove them")
