"""`crosspoint diagnose`."""

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
from crosspoint.core.errors import CheckFailed, require

if TYPE_CHECKING:
    from crosspoint.data.frames import Up
    from crosspoint.runtime.options import RunOn


@click.command("diagnose", cls=Command, example="crosspoint diagnose run bundle --out layers.png")
@click.argument("reference", type=PathArgument)
@click.argument("candidate", type=PathArgument)
@click.option(
    "--data",
    "data_dir",
    type=PathArgument,
    help="Data set, or folder of clouds or meshes.  [default: synthetic clouds]",
)
@click.option("--points", type=click.IntRange(min=1), help="Points per cloud.  [default: the models' own, else 1024]")
@click.option(
    "--clouds", type=click.IntRange(min=1), default=16, show_default=True, help="Largest number of clouds from --data."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Random seed.")
@up_option("the clouds of --data", FILES_UP)
@click.option("--out", type=PathArgument, help="Draw the error of each layer to this .png file.")
@run_on_options()
@click.option("--reference-device", default="cpu", show_default=True, help="Device of the reference.")
@json_option
def diagnose_command(
    reference: Path,
    candidate: Path,
    data_dir: Path | None,
    points: int | None,
    clouds: int,
    seed: int,
    up: "Up | None",
    out: Path | None,
    run_on: "RunOn",
    reference_device: str,
    json_file: Path | None,
) -> None:
    """Find the layer at which two models differ, and why.

    The models are compared layer by layer. REFERENCE is a trained network: a released model (dgcnn, dgcnn-scan,
    pointnet), a run folder or a .safetensors file. CANDIDATE is the model to check, for example the bundle exported
    from it. --device and --backend apply to CANDIDATE. The exit code is 1 if the models differ.
    """
    require("torch", "train", purpose="diagnosing")
    require("onnx", "train", purpose="diagnosing")
    from crosspoint.commands.tables.diagnose import print_diagnosis
    from crosspoint.parity.layers.diagnose import diagnose
    from crosspoint.runtime.options import Sampling

    result = diagnose(
        reference,
        candidate,
        data=data_dir,
        clouds=clouds,
        sampling=Sampling(points, seed, up=up),
        run_on=run_on,
        reference_device=reference_device,
        out=out,
    )
    print_diagnosis(result)
    save_result(json_file, result)
    if out is not None:
        say(f"{out}: drawn")
    if not result.passed:
        raise CheckFailed(result.advice)
    click.echo(result.advice)
