"""`crosspoint import`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crosspoint.commands.common import FILES_UP, Command, PathArgument, json_option, save_result, up_option
from crosspoint.core.console import say

if TYPE_CHECKING:
    from crosspoint.data.frames import Up


@click.command("import", cls=Command, example="crosspoint import best_model.pth --k 15 --out encoder.safetensors")
@click.argument("checkpoint", type=PathArgument)
@click.option(
    "--out",
    type=PathArgument,
    required=True,
    metavar="FILE.safetensors|FOLDER",
    help=".safetensors file of the encoder; or, for a classifier with its head, folder of a bundle.",
)
@click.option(
    "--k",
    type=click.IntRange(min=1),
    help="Number of neighbours k of a DGCNN; 15 in the official pretraining. PointNet has none.",
)
@click.option(
    "--classes",
    type=PathArgument,
    metavar="FILE",
    help="Class names of a classifier: a text file, one name a line, in the order of its outputs.",
)
@click.option(
    "--data",
    type=PathArgument,
    metavar="DIR",
    help="Labelled clouds on which the exported classifier is compared.  [default: synthetic clouds]",
)
@up_option("the clouds of --data", FILES_UP)
@json_option
def import_command(
    checkpoint: Path,
    out: Path,
    k: int | None,
    classes: Path | None,
    data: Path | None,
    up: "Up | None",
    json_file: Path | None,
) -> None:
    """Convert a public checkpoint of DGCNN or PointNet.

    CHECKPOINT is a file of torch.save with a state dict: DGCNN or DGCNN_partseg of the official CrossPoint, PointNet, a
    PointNet classifier, or DGCNN for S3DIS.
    """
    from crosspoint.core.errors import require

    require("torch", "train", purpose="reading a PyTorch checkpoint")
    from crosspoint.classify.imported import import_checkpoint

    result = import_checkpoint(checkpoint, out, k=k, classes=classes, data=data, up=up)
    say(f"{out}: {result.model}" + (f", {len(result.classes)} classes" if result.classes else ""))
    for name in result.left_out:
        say(f"  left out: {name}")
    save_result(json_file, result)
