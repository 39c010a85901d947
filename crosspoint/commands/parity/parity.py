"""`crosspoint parity`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crosspoint.commands.common import (
    FILES_UP,
    Command,
    PathArgument,
    json_option,
    run_on_options,
    save_result,
    up_option,
)
from crosspoint.core.console import say
from crosspoint.core.errors import CheckFailed

if TYPE_CHECKING:
    from crosspoint.data.frames import Up
    from crosspoint.runtime.options import RunOn


@click.command("parity", cls=Command, example="crosspoint parity dgcnn bundle --data modelnet40_ply_hdf5_2048")
@click.argument("reference", type=PathArgument)
@click.argument("candidate", type=PathArgument)
@click.option("--data", "data_dir", required=True, type=PathArgument, help="Data set, or folder of clouds or meshes.")
@click.option("--points", type=click.IntRange(min=1), help="Points per cloud.  [default: the models' own, else 1024]")
@click.option("--clouds", type=click.IntRange(min=1), help="Largest number of clouds from --data.  [default: all]")
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@up_option("the clouds of --data", FILES_UP)
@run_on_options()
@click.option("--reference-device", default="cpu", show_default=True, help="Device of the reference.")
@click.option(
    "--by-interval",
    is_flag=True,
    help="Judge the accuracy by the worse end of the 95 % interval of its difference, not by the difference itself.",
)
@json_option
def parity_command(
    reference: Path,
    candidate: Path,
    data_dir: Path,
    points: int | None,
    clouds: int | None,
    seed: int,
    up: "Up | None",
    run_on: "RunOn",
    reference_device: str,
    by_interval: bool,
    json_file: Path | None,
) -> None:
    """Check that two models give equal embeddings and accuracy.

    REFERENCE is a trained network: a released model (dgcnn, dgcnn-scan, pointnet), a run folder or a .safetensors file.
    CANDIDATE is the model to check, for example the bundle exported from it. The precision of CANDIDATE decides the
    limits. --device and --backend apply to CANDIDATE. The exit code is 1 if the models differ by more than the limits.
    """
    from crosspoint.commands.tables.eval import print_parity, print_skipped_files
    from crosspoint.parity.parity import parity
    from crosspoint.runtime.options import Sampling

    result = parity(
        reference,
        candidate,
        data=data_dir,
        clouds=clouds,
        sampling=Sampling(points, seed, up=up),
        run_on=run_on,
        reference_device=reference_device,
        by_interval=by_interval,
    )
    for role, model in (("reference", result.reference), ("candidate", result.candidate)):
        say(f"{role}: {model.path} ({model.precision}, {model.backend} on {model.device})")
    print_skipped_files(result.data.skipped)
    print_parity(result)
    save_result(json_file, result)
    if not result.passed:
        raise CheckFailed(str(result.gate))
    click.echo(str(result.gate))
