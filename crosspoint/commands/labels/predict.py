"""`crosspoint predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crosspoint.commands.common import (
    FILES_UP,
    Command,
    PathArgument,
    json_option,
    object_options,
    parse_object_options,
    reading_options,
    run_on_options,
    sampling_options,
    save_result,
)
from crosspoint.core.errors import CheckFailed, InputError

if TYPE_CHECKING:
    from crosspoint.runtime.options import Reading, RunOn, Sampling


@click.command("predict", cls=Command, example="crosspoint predict classifier scans/ --out predictions.csv")
@click.argument("model", type=PathArgument, metavar="CLASSIFIER")
@click.argument("inputs", nargs=-1, required=True, type=PathArgument, metavar="INPUT...")
@click.option("--top", type=click.IntRange(min=1), default=1, show_default=True, help="Number of classes to show.")
@click.option("--out", type=PathArgument, metavar="FILE", help="Write the predictions to this .csv or .json file.")
@sampling_options(
    "the inputs",
    FILES_UP + "; z with --objects",
    points="Points per cloud.  [default: as the classifier was fitted]",
    draws=1,
)
@click.option("--batch", default=32, show_default=True, help="Largest number of clouds per call of the model.")
@reading_options()
@click.option("--objects", is_flag=True, help="Inputs are scans of many objects: find the objects and classify each.")
@object_options
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
    objects: bool,
    run_on: "RunOn",
    json_file: Path | None,
    **how: Any,
) -> None:
    """Predict the class of point clouds and meshes.

    CLASSIFIER is a bundle of crosspoint fit, or an export of one. INPUT is a point-cloud or mesh file, a folder of
    them, or a data set. An object is unknown if it is less like the labelled objects than the classifier's threshold
    allows; the best class is shown all the same. Inputs that cannot be read are skipped and listed; the exit code is
    then 1.
    """
    from crosspoint.commands.tables.classify import print_predictions
    from crosspoint.data.objects.sources import Scans
    from crosspoint.runtime.jobs.predict import predict

    given = [name for name, value in how.items() if value is not None]
    if given and not objects:
        raise InputError(f"--{given[0].replace('_', '-')} needs --objects; give both, or neither")
    found = Scans(inputs, parse_object_options(up=sampling.up, **how)) if objects else inputs
    result = predict(model, found, out=out, top=top, sampling=sampling, batch=batch, run_on=run_on, reading=reading)
    save_result(json_file, result)
    print_predictions(result)
    if result.skipped:
        raise CheckFailed(f"{len(result.skipped)} inputs were skipped; repair or remove them")
