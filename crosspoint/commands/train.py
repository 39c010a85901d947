"""`crosspoint train` and `crosspoint import`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crosspoint.commands.common import (
    FILES_UP,
    RECIPES,
    Command,
    PathArgument,
    json_option,
    save_result,
    up_option,
)
from crosspoint.core.console import say

if TYPE_CHECKING:
    from crosspoint.data.frames import Up

# Repeated from crosspoint.train.pretrain.recipes, which --help does not import; a test compares them.
OBJECTIVES = ("joint", "imid", "cmid", "distil")
NEGATIVES = ("global", "local")
PRECISIONS = ("fp32", "bf16", "fp16")


@click.command(cls=Command, example="crosspoint train --data pairs --recipe quick --out run")
@click.option(
    "--data", "data_dir", type=PathArgument, required=True, help="Pairs of point clouds and images, or a packed set."
)
@click.option(
    "--scans",
    type=PathArgument,
    metavar="DIR",
    help="Scans of the same objects by `crosspoint data scan`: the single views of --set single_view=true.  [default: "
    "they are cut from the clouds]",
)
@click.option("--recipe", type=click.Choice(RECIPES), help="Training recipe.  [default: clean]")
@click.option("--out", type=PathArgument, required=True, help="Run folder to create.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a field of the recipe, e.g. epochs=10."
)
@click.option(
    "--objective",
    type=click.Choice(OBJECTIVES),
    help="Loss: within the point clouds (imid), between clouds and images (cmid), both (joint), or the distance from "
    "the embeddings of --init (distil).  [default: the recipe's]",
)
@click.option("--views", help="Images of each object per step, e.g. 2.  [default: the recipe's]")
@click.option(
    "--negatives",
    type=click.Choice(NEGATIVES),
    help="Negative pairs: from the whole batch (global), or from its part on the same GPU (local).  [default: the "
    "recipe's]",
)
@click.option("--precision", type=click.Choice(PRECISIONS), help="Precision of training.  [default: the recipe's]")
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
@click.option("--device", help="Device: cpu, cuda or cuda:INDEX.  [default: the GPU if there is one]")
@click.option(
    "--workers", type=click.IntRange(min=0), help="Processes that read data.  [default: half of the CPU cores]"
)
@click.option(
    "--probe", type=PathArgument, metavar="DIR", help="Labelled data in ModelNet40's format for a linear probe."
)
@click.option(
    "--probe-every",
    default=1,
    show_default=True,
    metavar="N",
    help="Run the linear probe every N epochs, before the first and after the last.",
)
@click.option(
    "--init",
    type=PathArgument,
    metavar="MODEL",
    help="Initial weights: a released model (dgcnn, dgcnn-scan, pointnet) or a .safetensors file for the point "
    "encoder, or a run folder for all branches.  [default: random weights]",
)
@json_option
def train(
    data_dir: Path,
    scans: Path | None,
    recipe: str | None,
    out: Path,
    overrides: tuple[str, ...],
    resume: bool,
    device: str | None,
    workers: int | None,
    probe: Path | None,
    probe_every: int,
    init: Path | None,
    json_file: Path | None,
    **shorthands: str | None,
) -> None:
    """Pretrain an encoder without labels.

    It learns from pairs of point clouds and images. To train on several GPUs, start it with torchrun.
    """
    from crosspoint.core.errors import require

    require("torch", "train", purpose="training")
    from crosspoint.train.pretrain.options import RunOptions
    from crosspoint.train.pretrain.pretrain import train as run
    from crosspoint.train.pretrain.scans import TrainingSet

    overrides += tuple(f"{key}={value}" for key, value in shorthands.items() if value is not None)
    result = run(
        TrainingSet(data_dir, scans),
        out,
        recipe=recipe,
        overrides=overrides,
        resume=resume,
        device=device,
        init=init,
        options=RunOptions(workers, probe=probe, probe_every=probe_every),
    )
    if result.rank != 0:
        return  # only the main process prints
    say(f"{out}: {result.steps} steps in {result.seconds} s on {result.device}, loss {result.last['loss']:.3f}")
    if result.picked is not None:
        say(
            f"kept: the encoders after step {result.picked.step}, which had the best accuracy on the test split, "
            f"{result.picked.accuracy:.2%}, as in the published code; that accuracy is no independent measurement"
        )
    say(f"next: crosspoint export {out} --out {out}-bundle")
    save_result(json_file, result)


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
