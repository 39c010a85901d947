"""`crosspoint build`."""

from pathlib import Path

import click

from crosspoint.commands.common import PathArgument, json_option, sign_option, verify_key_option, write_result


@click.command("build")
@click.argument("bundle", type=PathArgument)
@click.option("--timing-cache", type=PathArgument, metavar="FILE", help="Kernel timings to use and to add to.")
@click.option("--workspace", type=click.IntRange(min=1), metavar="MIB", help="Most GPU memory that a layer may take.")
@sign_option
@verify_key_option
@json_option
def build_command(
    bundle: Path, timing_cache: Path | None, workspace: int | None, sign: Path | None, json_file: Path | None
) -> None:
    """Build the TensorRT engine of a bundle on this machine, run it, and compare it with the trained network.

    BUNDLE comes from export --trt --builder device. It gains its engine if that passed, and stays as it is if it did
    not (exit code 1). Needs neither torch nor onnx. A signature of the bundle does not cover the new engine: --sign
    signs the result, with a key of this machine.
    """
    from crosspoint.commands.tables.export import print_export
    from crosspoint.export.engine.on_device import build_on_device
    from crosspoint.runtime.signing import SIGNATURE

    bundle, json_file = bundle.absolute(), json_file and json_file.absolute()  # the current folder may be the bundle
    sign, was_signed = sign and sign.absolute(), (bundle / SIGNATURE).exists()
    manifest = build_on_device(bundle, timing_cache and timing_cache.absolute(), workspace, sign)
    print_export(bundle, manifest, sign)
    if was_signed and sign is None:
        click.echo("note: the bundle was signed and is no longer, because its engine is new; --sign KEY signs it again")
    write_result(json_file, "export", {"out": str(bundle), "manifest": manifest})
