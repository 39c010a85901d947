"""`crosspoint finetune`: train a network for a task, from a pretrained backbone."""

from pathlib import Path

import click

from crosspoint.commands.common import Command, Commands, PathArgument, json_option, save_result
from crosspoint.core.console import say

EXAMPLE = "crosspoint finetune partseg --data shapenetpart --from run --out segmenter"
RECIPES = ("clean", "official", "quick")  # as in crosspoint.train.partseg.recipes; a test compares them


@click.group(cls=Commands, example=EXAMPLE)
def finetune() -> None:
    """Train a network for a task, from pretrained weights."""


@finetune.command("partseg", cls=Command, example=EXAMPLE)
@click.option("--data", "data_dir", type=PathArgument, required=True, help="Folder in ShapeNetPart's format.")
@click.option("--out", type=PathArgument, required=True, help="Run folder to create.")
@click.option(
    "--from",
    "start",
    type=PathArgument,
    metavar="MODEL",
    help="Pretrained backbone dgcnn_seg: a run folder, a .safetensors file or a released model.  "
    "[default: random weights]",
)
@click.option("--recipe", type=click.Choice(RECIPES), help="Training recipe.  [default: clean]")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a field of the recipe, e.g. epochs=10."
)
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
@click.option("--device", help="Device: cpu, cuda or cuda:INDEX.  [default: the GPU if there is one]")
@json_option
def finetune_partseg(
    data_dir: Path,
    out: Path,
    start: Path | None,
    recipe: str | None,
    overrides: tuple[str, ...],
    resume: bool,
    device: str | None,
    json_file: Path | None,
) -> None:
    """Train a part segmenter (Table 5) with the published schedule.

    All weights are trained. --from takes a backbone of the architecture dgcnn_seg; the released models dgcnn and
    pointnet do not fit. Pretrain a backbone with crosspoint train --set backbone=dgcnn_seg.
    """
    from crosspoint.core.errors import require

    require("torch", "train", purpose="training")
    from crosspoint.train.partseg.finetune import partseg

    result = partseg(data_dir, out, start=start, recipe=recipe, overrides=overrides, resume=resume, device=device)
    if result.rank != 0:
        return  # only the main process prints
    say(f"{out}: {result.steps} steps in {result.seconds} s on {result.device}")
    if (best := result.best) is not None:
        click.echo(
            f"best epoch {best.epoch + 1} of {result.epochs}, by {result.selected_on}: "
            f"instance mIoU {best.instance_miou:.2%}, class mIoU {best.class_miou:.2%}"
        )
    say(f"next: crosspoint eval partseg {out} --data {data_dir}; crosspoint export {out} --out {out}-bundle")
    save_result(json_file, result)
