"""`crosspoint eval classify`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crosspoint.commands.common import (
    FILES_UP,
    Command,
    PathArgument,
    against_option,
    columns_option,
    exclude_option,
    include_option,
    json_option,
    run_on_options,
    save_result,
    up_option,
)
from crosspoint.core.errors import CheckFailed

if TYPE_CHECKING:
    from crosspoint.data.frames import Up
    from crosspoint.runtime.options import RunOn


@click.command("classify", cls=Command, example="crosspoint eval classify classifier --data parts-to-test/")
@click.argument("model", type=PathArgument, metavar="CLASSIFIER")
@click.option(
    "--data", "data_dir", required=True, type=PathArgument, help="Folder whose sub-folders are classes, or a data set."
)
@click.option("--labels", type=PathArgument, metavar="FILE.csv", help="CSV file with the columns name and label.")
@click.option("--draws", default=1, show_default=True, help="Random point subsets of each object to average over.")
@click.option("--points", type=int, help="Points per cloud.  [default: as the classifier was fitted]")
@click.option("--seed", default=0, show_default=True, help="Random seed of the points.")
@up_option("the objects", FILES_UP)
@columns_option
@include_option
@exclude_option
@run_on_options(trust=True)
@against_option
@click.option("--out", type=PathArgument, help="Folder for pictures of confusion and calibration.")
@json_option
def eval_classify(
    model: Path,
    data_dir: Path,
    labels: Path | None,
    draws: int,
    points: int | None,
    seed: int,
    up: "Up | None",
    columns: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    run_on: "RunOn",
    against: Path | None,
    out: Path | None,
    json_file: Path | None,
) -> None:
    """Report the accuracy and the calibration of a classifier of crosspoint fit.

    Objects of other classes are strangers; the report says how many of them are unknown.
    """
    from crosspoint.commands.tables.classify import print_classify
    from crosspoint.eval.classify import classify
    from crosspoint.runtime.options import Reading, Sampling

    sampling = Sampling(points, seed, up=up, draws=draws)
    reading = Reading(columns, include, exclude)
    result = classify(
        model,
        data_dir,
        labels=labels,
        sampling=sampling,
        run_on=run_on,
        against=against,
        out=out,
        reading=reading,
    )
    save_result(json_file, result)
    print_classify(result)
    if result.skipped:
        raise CheckFailed(f"{len(result.skipped)} inputs were skipped; repair or remove them")
