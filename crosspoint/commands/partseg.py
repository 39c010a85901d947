"""`crosspoint eval partseg`."""

from pathlib import Path

import click

from crosspoint.commands.common import (
    PathArgument,
    backend_option,
    device_option,
    json_option,
    save_result,
    verify_key_option,
)


@click.command("partseg")
@click.argument("model", type=PathArgument)
@click.option("--data", "data_dir", required=True, type=PathArgument, help="ShapeNetPart-format folder.")
@click.option("--points", type=click.IntRange(min=1), help="Points per cloud.  [default: the model's own, else 2048]")
@click.option("--seed", default=0, show_default=True, help="Seed of the first choice of points.")
@click.option("--seeds", default=3, show_default=True, help="Choices of points, where more are stored than used.")
@click.option("--against", type=PathArgument, metavar="MODEL", help="Compare the labels with this model's, on the CPU.")
@device_option
@backend_option
@verify_key_option
@click.option("--out", type=PathArgument, help="Folder for pictures of predictions beside the truth.")
@json_option
def eval_partseg(
    model: Path,
    data_dir: Path,
    points: int | None,
    seed: int,
    seeds: int,
    against: Path | None,
    device: str,
    backend: str | None,
    out: Path | None,
    json_file: Path | None,
) -> None:
    """Instance and class mIoU of a part segmenter (Table 5), and its labels against another model's."""
    from crosspoint.commands.tables.partseg import print_partseg
    from crosspoint.eval.options import RunOn, Sampling
    from crosspoint.eval.partseg import partseg

    sampling, run_on = Sampling(points, seed, seeds), RunOn(device, backend)
    result = partseg(model, data_dir, sampling=sampling, run_on=run_on, against=against, out=out)
    print_partseg(result)
    save_result(json_file, result)
