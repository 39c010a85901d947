"""`crosspoint eval partseg`."""

from pathlib import Path

import click

from crosspoint.commands.common import (
    Command,
    PathArgument,
    backend_option,
    device_option,
    json_option,
    verify_key_option,
    write_result,
)


@click.command("partseg", cls=Command, example="crosspoint eval partseg run --data shapenetpart --out pictures")
@click.argument("model", type=PathArgument)
@click.option("--data", "data_dir", required=True, type=PathArgument, help="Folder in ShapeNetPart's format.")
@click.option("--points", type=click.IntRange(min=1), help="Points per cloud.  [default: the model's own, else 2048]")
@click.option("--seed", default=0, show_default=True, help="Random seed of the points.")
@click.option("--seeds", default=3, show_default=True, help="Number of random point subsets to average over.")
@click.option(
    "--against",
    type=PathArgument,
    metavar="MODEL",
    help="Another segmenter; the labels of both are compared. It runs on the CPU.",
)
@device_option
@backend_option
@verify_key_option
@click.option("--out", type=PathArgument, help="Folder for pictures of predicted and true parts.")
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
    """Report the instance mIoU and class mIoU of a part segmenter (Table 5)."""
    from crosspoint.commands.tables.partseg import print_partseg
    from crosspoint.eval.partseg import partseg

    result = partseg(model, data_dir, points, seed, seeds, device, backend, against, out)
    print_partseg(result)
    write_result(json_file, "partseg", result)
