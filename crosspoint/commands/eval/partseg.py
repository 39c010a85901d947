"""`crosspoint eval partseg`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crosspoint.commands.common import (
    SET_UP,
    Command,
    PathArgument,
    json_option,
    run_on_options,
    save_result,
    up_option,
)

if TYPE_CHECKING:
    from crosspoint.data.frames import Up
    from crosspoint.runtime.options import RunOn


@click.command("partseg", cls=Command, example="crosspoint eval partseg run --data shapenetpart --out pictures")
@click.argument("model", type=PathArgument)
@click.option("--data", "data_dir", required=True, type=PathArgument, help="Folder in ShapeNetPart's format.")
@click.option("--points", type=click.IntRange(min=1), help="Points per cloud.  [default: the model's own, else 2048]")
@click.option("--seed", default=0, show_default=True, help="Random seed of the points.")
@up_option("the data", SET_UP)
@click.option("--seeds", default=3, show_default=True, help="Number of random point subsets to average over.")
@click.option(
    "--against",
    type=PathArgument,
    metavar="MODEL",
    help="Another segmenter; the labels of both are compared. It runs on the CPU.",
)
@run_on_options()
@click.option("--out", type=PathArgument, help="Folder for pictures of predicted and true parts.")
@json_option
def eval_partseg(
    model: Path,
    data_dir: Path,
    points: int | None,
    seed: int,
    up: "Up | None",
    seeds: int,
    against: Path | None,
    run_on: "RunOn",
    out: Path | None,
    json_file: Path | None,
) -> None:
    """Report the instance mIoU and class mIoU of a part segmenter (Table 5)."""
    from crosspoint.commands.tables.partseg import print_partseg
    from crosspoint.eval.partseg import partseg
    from crosspoint.runtime.options import Sampling

    sampling = Sampling(points, seed, seeds, up)
    result = partseg(model, data_dir, sampling=sampling, run_on=run_on, against=against, out=out)
    print_partseg(result)
    save_result(json_file, result)
