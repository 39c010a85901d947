"""`crosspoint embed`."""

from pathlib import Path

import click

from crosspoint.commands.common import (
    PathArgument,
    backend_option,
    device_option,
    json_option,
    trust_option,
    write_result,
)
from crosspoint.errors import CheckFailed


@click.command("embed")
@click.argument("model", type=PathArgument)
@click.argument("inputs", nargs=-1, required=True, type=PathArgument, metavar="INPUT...")
@click.option("--out", required=True, type=PathArgument, help="File to write: .npz, or .npy for embeddings alone.")
@click.option("--points", type=int, help="Points per cloud.  [default: the model's own number, else all of a cloud]")
@click.option("--seed", default=0, show_default=True, help="Seed of the points that are drawn.")
@click.option("--batch", default=32, show_default=True, help="Most clouds in one pass.")
@device_option
@backend_option
@trust_option
@json_option
def embed_command(
    model: Path,
    inputs: tuple[Path, ...],
    out: Path,
    points: int | None,
    seed: int,
    batch: int,
    device: str,
    backend: str | None,
    trust: bool,
    json_file: Path | None,
) -> None:
    """Embed mesh and point-cloud files, folders of them, and datasets.

    MODEL is a run folder, a .safetensors file, a bundle, an .onnx file, or a .plan with its manifest beside it.
    Exit code 1 if inputs were skipped; they are listed.
    """
    from crosspoint.console import print_table
    from crosspoint.runtime.embed import embed

    result = embed(model, inputs, out, points, seed, batch, device, backend, trust)
    write_result(json_file, "embed", result)
    if result["skipped"]:
        print_table("Skipped", ("file", "reason"), [(bad["file"], bad["reason"]) for bad in result["skipped"]])
    ran = result["model"]
    click.echo(
        f"{out}: {result['embedded']} embeddings of {result['dim']} numbers in {result['seconds']:.1f} s "
        f"({ran['architecture']}, {ran['precision']}, {ran['backend']} on {ran['device']})"
    )
    if result["skipped"]:
        raise CheckFailed(f"{len(result['skipped'])} inputs were skipped; repair or remove them")
