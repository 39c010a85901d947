"""`crosspoint eval classify`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crosspoint.commands.common import (
    FILES_UP,
    Command,
    PathArgument,
    against_option,
    json_option,
    reading_options,
    run_on_options,
    sampling_options,
    save_result,
)
from crosspoint.core.errors import CheckFailed

if TYPE_CHECKING:
    from crosspoint.runtime.options import Reading, RunOn, Sampling


@click.command("classify", cls=Command, example="crosspoint eval classify classifier --data parts-to-test/")
@click.argument("model", type=PathArgument, metavar="CLASSIFIER")
@click.option(
    "--data", "data_dir", required=True, type=PathArgument, help="Folder whose sub-folders are classes, or a data set."
)
@click.option("--labels", type=PathArgument, metavar="FILE.csv", help="CSV file with the columns name and label.")
@sampling_options("the objects", FILES_UP, points="Points per cloud.  [default: as the classifier was fitted]", draws=1)
@reading_options()
@run_on_options(trust=True)
@against_option
@click.option("--out", type=PathArgument, help="Folder for pictures of confusion and calibration.")
@json_option
def eval_classify(
    model: Path,
    data_dir: Path,
    labels: Path | None,
    sampling: "Sampling",
    reading: "Reading",
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
