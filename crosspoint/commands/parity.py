"""`crosspoint parity`."""

from pathlib import Path

import click

from crosspoint.commands.common import (
    PathArgument,
    backend_option,
    device_option,
    json_option,
    verify_key_option,
    write_result,
)
from crosspoint.core.errors import CheckFailed


@click.command("parity")
@click.argument("reference", type=PathArgument)
@click.argument("candidate", type=PathArgument)
@click.option(
    "--data", "data_dir", required=True, type=PathArgument, help="A dataset, or a folder of clouds or meshes."
)
@click.option("--points", type=click.IntRange(min=1), help="Points per cloud.  [default: the models' own, else 1024]")
@click.option("--clouds", type=click.IntRange(min=1), help="Use at most this many clouds.  [default: all]")
@click.option("--seed", default=0, show_default=True, help="Seed of every random choice.")
@device_option
@backend_option
@verify_key_option
@click.option("--reference-device", default="cpu", show_default=True, help="Where the reference runs.")
@click.option("--by-interval", is_flag=True, help="Judge accuracy by the worse end of the difference's 95 % interval.")
@json_option
def parity_command(
    reference: Path,
    candidate: Path,
    data_dir: Path,
    points: int | None,
    clouds: int | None,
    seed: int,
    device: str,
    backend: str | None,
    reference_device: str,
    by_interval: bool,
    json_file: Path | None,
) -> None:
    """Compare two models: accuracy, and embeddings on real and hostile clouds. Exit code 1 if they differ too much.

    --device and --backend are the candidate's; its precision decides the gate.
    """
    from crosspoint.commands.tables.eval import print_parity, print_skipped_files
    from crosspoint.parity.parity import parity

    result = parity(
        reference,
        candidate,
        data_dir,
        points=points,
        clouds=clouds,
        seed=seed,
        device=device,
        backend=backend,
        reference_device=reference_device,
        by_interval=by_interval,
    )
    print_skipped_files(result.data.skipped)
    print_parity(result)
    write_result(json_file, "parity", result.to_json())
    if not result.passed:
        raise CheckFailed(str(result.gate))
    click.echo(str(result.gate))
