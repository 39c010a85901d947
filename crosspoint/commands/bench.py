"""`crosspoint bench`."""

from pathlib import Path

import click

from crosspoint.commands.common import (
    Command,
    PathArgument,
    backend_option,
    json_option,
    save_result,
    trust_option,
    verify_key_option,
)
from crosspoint.core.errors import InputError


@click.command("bench", cls=Command, example="crosspoint bench dgcnn bundle --batch 1 --out bench.png")
@click.argument("models", nargs=-1, required=True, type=PathArgument, metavar="MODEL...")
@click.option("--batch", default=8, show_default=True, type=click.IntRange(min=1), help="Clouds per call.")
@click.option("--points", type=click.IntRange(min=1), help="Points per cloud.  [default: the model's own, else 1024]")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all]")
@click.option(
    "--device",
    "devices",
    multiple=True,
    help="Device: cpu, cuda or cuda:INDEX; can be repeated.  [default: the CPU, and the first GPU if there is one]",
)
@backend_option
@trust_option
@verify_key_option
@click.option(
    "--seconds",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Seconds to measure each model, after its warm-up.",
)
@click.option(
    "--layers",
    is_flag=True,
    help="Also list the layers as they are run: with times by ONNX Runtime, by name in a TensorRT engine.",
)
@click.option("--out", type=PathArgument, help="Draw the result as this .png file.")
@json_option
def bench_command(
    models: tuple[Path, ...],
    batch: int,
    points: int | None,
    threads: int | None,
    devices: tuple[str, ...],
    backend: str | None,
    trust: bool,
    seconds: float,
    layers: bool,
    out: Path | None,
    json_file: Path | None,
) -> None:
    """Measure latency, throughput and memory of models.

    MODEL is a released model (dgcnn, dgcnn-scan, pointnet), a run folder, a .safetensors file, a bundle, or an .onnx or
    .plan file. Each model is measured on every installed backend. All models are open at once and are called in turns.
    The table also shows the shortest time that the hardware allows.
    """
    from crosspoint.commands.tables.bench import draw_bench, print_bench
    from crosspoint.core.outputs import check_file
    from crosspoint.core.plots import require_plots
    from crosspoint.runtime.bench.bench import bench, list_layers

    if out is not None and out.suffix != ".png":
        raise InputError(f"--out {out} does not end in .png; the picture is written as PNG")
    if out is not None:
        check_file(out)
        require_plots()
    result = bench(
        models,
        batch=batch,
        points=points,
        threads=threads,
        devices=devices,
        backend=backend,
        seconds=seconds,
        trust=trust,
    )
    if layers:
        result = list_layers(result, points=points, trust=trust)
    print_bench(result)
    if out is not None:
        draw_bench(result, out)
    save_result(json_file, result)
