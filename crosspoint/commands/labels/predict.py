"""`crosspoint predict`."""

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


@click.command("predict", cls=Command, example="crosspoint predict classifier scans/ --out predictions.csv")
@click.argument("model", type=PathArgument, metavar="CLASSIFIER")
@click.argument("inputs", nargs=-1, required=True, type=PathArgument, metavar="INPUT...")
@click.option("--top", type=click.IntRange(min=1), default=1, show_default=True, help="Number of classes to show.")
@click.option("--out", type=PathArgument, metavar="FILE", help="Write the predictions to this .csv or .json file.")
@sampling_options("the inputs", FILES_UP, points="Points per cloud.  [default: as the classifier was fitted]", draws=1)
@click.option("--batch", default=32, show_default=True, help="Largest number of clouds per call of the model.")
@reading_options()
@run_on_options(trust=True)
@json_option
def predict_command(
    model: Path,
    inputs: tuple[Path, ...],
    top: int,
    out: Path | None,
    sampling: "Sampling",
    batch: int,
    reading: "Reading",
    run_on: "RunOn",
    json_file: Path | None,
) -> None:
    """Predict the class of point clouds and meshes.

    CLASSIFIER is a bundle of crosspoint fit, or an export of one. INPUT is a point-cloud or mesh file, a folder of
    them, or a data set. An object is unknown if the probability of its best class is below the classifier's threshold;
    the best class is shown all the same. Inputs that cannot be read are skipped and listed; the exit code is then 1.
    """
    from crosspoint.commands.tables.classify import print_predictions
    from crosspoint.runtime.jobs.predict import predict

    result = predict(model, inputs, out=out, top=top, sampling=sampling, batch=batch, run_on=run_on, reading=reading)
    save_result(json_file, result)
    print_predictions(result)
    if result.skipped:
        raise CheckFailed(f"{len(result.skipped)} inputs were skipped; repair or remove them")
