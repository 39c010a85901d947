"""`crosspoint fit`."""

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

HEADS = ("auto", "nearest", "logistic", "svm")  # as in crosspoint.classify.heads; a test compares them


@click.command("fit", cls=Command, example="crosspoint fit parts/ --out classifier")
@click.argument("data", type=PathArgument)
@click.option("--out", required=True, type=PathArgument, help="Folder of the classifier; an earlier one is replaced.")
@click.option("--model", default="dgcnn", show_default=True, help="Encoder: a name, run folder or .safetensors file.")
@click.option(
    "--labels",
    type=PathArgument,
    metavar="FILE.csv",
    help="CSV file with the columns name and label.  [default: the sub-folder of a file is its class]",
)
@click.option(
    "--head",
    type=click.Choice(HEADS),
    default="auto",
    show_default=True,
    help="Classifier on the embeddings; auto chooses by cross-validation.",
)
@click.option(
    "--turns",
    type=int,
    help="Azimuths at which each object is learnt; 4 or more if objects face any way.  [default: 2, of embeddings 1]",
)
@click.option(
    "--views",
    default=0,
    show_default=True,
    help="Single views of each object to fit to as well, for clouds from a depth camera.",
)
@click.option(
    "--refuse",
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="Largest share of known objects that may become unknown.",
)
@click.option(
    "--suggest",
    type=int,
    default=0,
    show_default=True,
    metavar="N",
    help="Name the N unlabelled objects whose labels would help most.",
)
@click.option(
    "--unlabelled",
    type=PathArgument,
    metavar="FOLDER",
    help="With --suggest: unlabelled objects, or their embeddings.  [default: objects of DATA that --labels lacks]",
)
@sampling_options("the objects", FILES_UP, points="Points per cloud.  [default: as the model was trained]", draws=4)
@reading_options()
@run_on_options()
@json_option
def fit_command(
    data: Path,
    out: Path,
    model: str,
    labels: Path | None,
    head: str,
    turns: int | None,
    views: int,
    refuse: float,
    suggest: int,
    unlabelled: Path | None,
    sampling: "Sampling",
    reading: "Reading",
    run_on: "RunOn",
    json_file: Path | None,
) -> None:
    """Make a classifier from a few labelled objects.

    DATA is a folder whose sub-folders are classes, a folder whose classes are in --labels, embeddings (.npz or
    .parquet) or a data set. The classifier is a bundle of encoder and head for crosspoint predict, eval classify and
    export. Cross-validation measures the expected accuracy. Files that cannot be read are skipped and listed, and the
    exit code is then 1.
    """
    from crosspoint.core.errors import require

    require("torch", "train", purpose="fitting")
    require("onnx", "train", purpose="fitting")
    from crosspoint.classify.fit import FitOptions, fit
    from crosspoint.commands.tables.classify import print_fit

    options = FitOptions(head=head, refuse=refuse, turns=turns, views=views, suggest=suggest, unlabelled=unlabelled)
    result = fit(
        data, out, model=model, labels=labels, options=options, sampling=sampling, run_on=run_on, reading=reading
    )
    save_result(json_file, result)
    print_fit(result)
    if result.skipped:
        raise CheckFailed(f"{len(result.skipped)} inputs were skipped; repair or remove them")
