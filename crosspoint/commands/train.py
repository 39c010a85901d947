"""`crosspoint train` and `crosspoint import`."""

from pathlib import Path

import click

from crosspoint.commands.common import PathArgument, json_option, write_result
from crosspoint.core.console import say


@click.command()
@click.option("--data", "data_dir", type=PathArgument, required=True, help="Pairs of clouds and renderings, or a pack.")
@click.option("--recipe", help="clean (the default), official, paper or quick.")
@click.option("--out", type=PathArgument, required=True, help="The run folder.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a field of the recipe.")
@click.option("--objective", help="joint, imid or cmid; short for --set objective=…")
@click.option("--views", help="Images of each object in a step, 1 to 5 in Table 6; short for --set views=…")
@click.option("--negatives", help="global or local, under torchrun; short for --set negatives=…")
@click.option("--precision", help="fp32, bf16 or fp16; short for --set precision=…")
@click.option("--resume", is_flag=True, help="Go on with the run in --out.")
@click.option("--device", help="cpu, cuda or cuda:0; a GPU if there is one.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes that read data; half of the cores.")
@click.option("--probe", type=PathArgument, help="Labelled clouds (ModelNet40's format) for a linear probe.")
@click.option(
    "--probe-every",
    default=1,
    show_default=True,
    metavar="N",
    help="Probe every N epochs, before the first and after the last.",
)
@click.option(
    "--init",
    type=PathArgument,
    metavar="WEIGHTS",
    help="Start the point encoder from a .safetensors file, or all branches from a run folder.",
)
@json_option
def train(
    data_dir: Path,
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
    """Pretrain an encoder on pairs of clouds and images, without labels."""
    from crosspoint.core.errors import require

    require("torch", "train", "training")
    from crosspoint.train.pretrain.pretrain import train as run

    overrides += tuple(f"{key}={value}" for key, value in shorthands.items() if value is not None)
    result = run(
        data_dir, out, recipe, overrides, resume, device, workers, probe=probe, probe_every=probe_every, init=init
    )
    if result["rank"] != 0:
        return  # the leading process speaks for all
    say(f"{out}: {result['steps']} steps in {result['seconds']} s on {result['device']}, loss {result['loss']:.3f}")
    say(f"next: crosspoint export {out} --out {out}-bundle")
    write_result(json_file, "train", result)


@click.command("import")
@click.argument("checkpoint", type=PathArgument)
@click.option("--k", type=click.IntRange(min=1), required=True, help="Neighbours; the official pretraining used 15.")
@click.option("--out", type=PathArgument, required=True, help="The .safetensors file to write.")
@json_option
def import_command(checkpoint: Path, k: int, out: Path, json_file: Path | None) -> None:
    """Convert a checkpoint of the official repository (DGCNN or DGCNN_partseg)."""
    from crosspoint.core.errors import require

    require("torch", "train", "reading a PyTorch checkpoint")
    from crosspoint.models.official import import_official

    imported = import_official(checkpoint, k, out)
    say(f"{out}: {imported.model.config}")
    for name in imported.unused:
        say(f"  left out: {name}")
    write_result(json_file, "import", {"out": str(out), "model": imported.model.config, "left_out": imported.unused})
