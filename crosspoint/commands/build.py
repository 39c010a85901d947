"""`crosspoint build` and `crosspoint operators`: what a bundle needs where it runs."""

from pathlib import Path

import click

from crosspoint.commands.common import (
    Command,
    PathArgument,
    json_option,
    save_result,
    sign_option,
    verify_key_option,
    write_result,
)


@click.command("build", cls=Command, example="crosspoint build bundle --timing-cache timings.cache")
@click.argument("bundle", type=PathArgument)
@click.option(
    "--timing-cache",
    type=PathArgument,
    metavar="FILE",
    help="TensorRT timing cache to read and update; it makes the next build faster.",
)
@click.option(
    "--workspace",
    type=click.IntRange(min=1),
    metavar="MIB",
    help="Largest GPU workspace of one layer, in MiB.  [default: TensorRT's own]",
)
@sign_option
@verify_key_option
@json_option
def build_command(
    bundle: Path, timing_cache: Path | None, workspace: int | None, sign: Path | None, json_file: Path | None
) -> None:
    """Build a bundle's TensorRT engine on this machine; check it.

    BUNDLE is made by crosspoint export --trt --builder device. The engine runs on this machine's GPU and is compared
    with the trained network. If it passes, it is added to the bundle. If not, the bundle stays unchanged and the exit
    code is 1. This needs TensorRT and cuda-python, but not PyTorch. A new engine makes an earlier signature of the
    bundle invalid; --sign signs the bundle again with a key of this machine.
    """
    from crosspoint.commands.tables.export import print_export
    from crosspoint.export.engine.on_device import build_on_device
    from crosspoint.runtime.signing import SIGNATURE

    bundle, json_file = (
        bundle.absolute(),
        json_file and json_file.absolute(),
    )  # the bundle, which is replaced, may be `.`
    sign, was_signed = sign and sign.absolute(), (bundle / SIGNATURE).exists()
    manifest = build_on_device(bundle, timing_cache and timing_cache.absolute(), workspace=workspace, sign=sign)
    print_export(bundle, manifest, sign=sign)
    if was_signed and sign is None:
        click.echo("note: the new engine made the bundle's signature invalid; sign it again with --sign KEY")
    write_result(json_file, "export", result={"out": str(bundle), "manifest": manifest.to_json()})


@click.command("operators", cls=Command, example="crosspoint operators --onnx bundle --out fast")
@click.option(
    "--onnx",
    "model",
    required=True,
    type=PathArgument,
    metavar="BUNDLE",
    help="Bundle, .onnx file of crosspoint export, or name of a released model.",
)
@click.option("--out", required=True, type=PathArgument, help="Folder to write; an earlier result there is replaced.")
@verify_key_option
@json_option
def operators_command(model: Path, out: Path, json_file: Path | None) -> None:
    """Write a graph with CPU operators, for other programs.

    The package runs DGCNN on the CPU with operators of its own. This command writes the graph with these operators, and
    their library for this platform, so that C++, C#, Triton and other programs with ONNX Runtime run as fast. The
    outputs are compared with the standard graph; if they differ, nothing is written and the exit code is 1.
    """
    from crosspoint.runtime.backends.kernels.operators import write_operators

    result = write_operators(model, out)
    save_result(json_file, result)
    nodes = ", ".join(f"{count} {name}" for name, count in result.operators.items())
    print(f"{out / result.graph}: {nodes}; relative L2 to the standard graph {result.relative_l2:.1e}")
    print(f"{out / result.library}: the operators; register it before the graph is opened")
