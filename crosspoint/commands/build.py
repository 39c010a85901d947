"""`crosspoint build`."""

from pathlib import Path

import click

from crosspoint.commands.common import PathArgument, json_option, write_result


@click.command("build")
@click.argument("bundle", type=PathArgument)
@click.option("--timing-cache", type=PathArgument, metavar="FILE", help="Kernel timings to use and to add to.")
@click.option("--workspace", type=click.IntRange(min=1), metavar="MIB", help="Most GPU memory that a layer may take.")
@json_option
def build_command(bundle: Path, timing_cache: Path | None, workspace: int | None, json_file: Path | None) -> None:
    """Build the TensorRT engine of a bundle on this machine, run it, and compare it with the trained network.

    BUNDLE comes from export --trt --builder device. It gains its engine if that passed, and stays as it is if it did
    not (exit code 1). Needs neither torch nor onnx.
    """
    from crosspoint.export.on_device import build_on_device
    from crosspoint.export.show import print_export

    bundle, json_file = bundle.absolute(), json_file and json_file.absolute()  # the current folder may be the bundle
    manifest = build_on_device(bundle, timing_cache and timing_cache.absolute(), workspace)
    print_export(bundle, manifest)
    write_result(json_file, "export", {"out": str(bundle), "manifest": manifest})
