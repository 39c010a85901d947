"""`crosspoint bench`."""

from pathlib import Path

import click

from crosspoint.commands.common import (
    PathArgument,
    backend_option,
    json_option,
    save_result,
    trust_option,
    verify_key_option,
)
from crosspoint.core.errors import InputError


@click.command("bench")
@click.argument("models", nargs=-1, required=True, type=PathArgument)
@click.option("--batch", default=8, show_default=True, type=click.IntRange(min=1), help="Clouds of a call.")
@click.option("--points", type=click.IntRange(min=1), help="Points of a cloud.  [default: the model's own, else 1024]")
@click.option("--threads", type=click.IntRange(min=1), help="On the CPU.  [default: all]")
@click.option(
    "--device", "devices", multiple=True, help="cpu, cuda or cuda:<index>; may be repeated.  [default: all there are]"
)
@backend_option
@trust_option
@verify_key_option
@click.option(
    "--seconds", default=5.0, show_default=True, type=click.FloatRange(min=0), help="For each, after warm-up."
)
@click.option("--out", type=PathArgument, help="Draw the result to this PNG.")
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
    out: Path | None,
    json_file: Path | None,
) -> None:
    """Measure how fast models are, on every backend that is there, beside what the computation takes at least.

    MODELS are run folders, .safetensors, bundles, .onnx or .plan files. All are open at once and called in turns.
    """
    from crosspoint.commands.tables.bench import draw_bench, print_bench
    from crosspoint.core.outputs import check_file
    from crosspoint.core.plots import require_plots
    from crosspoint.runtime.bench.bench import bench

    if out is not None and out.suffix != ".png":
        raise InputError(f"--out {out} is no .png; the picture is written as PNG")
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
    print_bench(result)
    if out is not None:
        draw_bench(result, out)
    save_result(json_file, result)
