"""`crosspoint build`."""

from pathlib import Path

import click

from crosspoint.commands.common import Command, PathArgument, json_option, sign_option, verify_key_option, write_result


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
    """Build the TensorRT engine of a bundle on this machine, and check it.

    BUNDLE is made by crosspoint export --trt --builder device. The engine is run here and compared with the trained
    network. If it passes, it is added to the bundle; if not, the bundle is left unchanged and the exit code is 1.
    Neither torch nor onnx is needed. An earlier signature of the bundle does not cover the new engine: --sign signs the
    result with a key of this machine.
    """
    from crosspoint.commands.tables.export import print_export
    from crosspoint.export.engine.on_device import build_on_device
    from crosspoint.runtime.signing import SIGNATURE

    bundle, json_file = bundle.absolute(), json_file and json_file.absolute()  # the current folder may be the bundle
    sign, was_signed = sign and sign.absolute(), (bundle / SIGNATURE).exists()
    manifest = build_on_device(bundle, timing_cache and timing_cache.absolute(), workspace=workspace, sign=sign)
    print_export(bundle, manifest, sign=sign)
    if was_signed and sign is None:
        click.echo("note: the bundle was signed and is no longer, because its engine is new; --sign KEY signs it again")
    write_result(json_file, "export", result={"out": str(bundle), "manifest": manifest})
