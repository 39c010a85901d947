"""`crosspoint finetune`: from a pretrained backbone to a task."""

from pathlib import Path

import click

from crosspoint.commands.common import Commands, PathArgument, json_option, save_result
from crosspoint.core.console import say


@click.group(cls=Commands)
def finetune() -> None:
    """Train a network for a task, from a pretrained backbone or from scratch."""


@finetune.command("partseg")
@click.option("--data", "data_dir", type=PathArgument, required=True, help="ShapeNetPart-format folder.")
@click.option("--out", type=PathArgument, required=True, help="The run folder.")
@click.option(
    "--from", "start", type=PathArgument, help="Run folder or .safetensors of a backbone.  [default: scratch]"
)
@click.option("--recipe", help="clean (the default), official or quick.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a field of the recipe.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--device", help="cpu, cuda or cuda:0; a GPU if there is one.")
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
    """Train a part segmenter (Table 5), end to end, with the published schedule."""
    from crosspoint.core.errors import require

    require("torch", "train", "training")
    from crosspoint.train.partseg.finetune import partseg

    result = partseg(data_dir, out, start, recipe, overrides, resume, device)
    if result.rank != 0:
        return  # the leading process speaks for all
    say(f"{out}: {result.steps} steps in {result.seconds} s on {result.device}")
    if (best := result.best) is not None:
        click.echo(
            f"best epoch {best.epoch + 1} of {result.epochs}, by {result.selected_on}: "
            f"instance mIoU {best.instance_miou:.2%}, class mIoU {best.class_miou:.2%}"
        )
    say(f"next: crosspoint eval partseg {out} --data {data_dir}; crosspoint export {out} --out {out}-bundle")
    save_result(json_file, result)
