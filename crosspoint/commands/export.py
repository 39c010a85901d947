"""`crosspoint export`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crosspoint.commands.common import (
    FILES_UP,
    Command,
    PathArgument,
    json_option,
    save_result,
    sign_option,
    up_option,
    write_result,
)

if TYPE_CHECKING:
    from crosspoint.data.frames import Up

# Repeated from crosspoint.export, which --help does not import; a test compares them.
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
BUILDERS = ("auto", "tensorrt", "rtx", "device")


@click.command("export", cls=Command, example="crosspoint export run --trt --precision fp16 --out bundle")
@click.argument("model", type=PathArgument)
@click.option("--out", type=PathArgument, help="Folder of the bundle; an earlier bundle is replaced.")
@click.option(
    "--hub", type=PathArgument, metavar="DIR", help="Write a folder for a model hub: card, weights, ONNX file in fp32."
)
@click.option("--trt", is_flag=True, help="Also build a TensorRT engine.")
@click.option(
    "--precision", type=click.Choice(PRECISIONS), default="fp32", show_default=True, help="Precision of the layers."
)
@click.option(
    "--batch",
    default="1:8:32",
    show_default=True,
    metavar="MIN:OPT:MAX",
    help="Batch sizes of the engine: smallest, optimal, largest.",
)
@click.option(
    "--points",
    default="1024",
    show_default=True,
    metavar="N",
    help="Points per cloud: a number, a range MIN:OPT:MAX, or any.",
)
@click.option("--target", metavar="SM,...", help="GPUs of a TensorRT-RTX engine, e.g. sm86,sm89.  [default: all]")
@click.option(
    "--builder",
    type=click.Choice(BUILDERS),
    default="auto",
    show_default=True,
    help="Engine builder: tensorrt; rtx (TensorRT-RTX, which needs no GPU); device (write a script that builds the "
    "engine on the target machine); auto: tensorrt if it can run here, else rtx.",
)
@click.option("--tf32", is_flag=True, help="Allow TF32 in the engine's matrix products.")
@click.option(
    "--workspace",
    type=click.IntRange(min=1),
    metavar="MIB",
    help="Largest GPU workspace of one layer, in MiB.  [default: TensorRT's own]",
)
@click.option(
    "--timing-cache",
    type=PathArgument,
    metavar="FILE",
    help="TensorRT timing cache to read and update; it makes the next build faster.",
)
@click.option("--triton", type=PathArgument, metavar="DIR", help="Also write the model to this Triton repository.")
@click.option("--projection", is_flag=True, help="Append the projection head of pretraining to the encoder.")
@click.option("--calibrate", type=PathArgument, metavar="DIR", help="Point clouds for int8 calibration.")
@click.option(
    "--verify-data",
    type=PathArgument,
    metavar="DIR",
    help="Labelled data; export fails if accuracy (SVM or mIoU) drops by more than --max-drop.",
)
@click.option(
    "--verify-clouds", type=click.IntRange(min=1), help="Largest number of clouds from --verify-data.  [default: all]"
)
@click.option(
    "--max-drop",
    type=float,
    metavar="POINTS",
    help="Largest accuracy loss allowed, in percentage points.  [default: 0.2; for int8 0.5]",
)
@click.option(
    "--keep-fp32",
    metavar="LAYER,...",
    help="Layers of an int8 export that stay in fp32, e.g. edge4 or edge4/near.  [default: chosen by the check]",
)
@click.option(
    "--k", type=click.IntRange(min=1), help="Number of neighbours k, if MODEL is the .pth checkpoint of a DGCNN."
)
@up_option("the clouds of --verify-data and --calibrate", FILES_UP)
@click.option(
    "--dry-run",
    is_flag=True,
    help="With --trt: print the equivalent command lines of trtexec and polygraphy, with shapes, and write nothing.",
)
@sign_option
@json_option
def export_command(
    model: Path,
    out: Path | None,
    hub: Path | None,
    trt: bool,
    precision: str,
    batch: str,
    points: str,
    target: str | None,
    builder: str,
    tf32: bool,
    workspace: int | None,
    timing_cache: Path | None,
    triton: Path | None,
    projection: bool,
    calibrate: Path | None,
    verify_data: Path | None,
    verify_clouds: int | None,
    max_drop: float | None,
    keep_fp32: str | None,
    k: int | None,
    up: "Up | None",
    dry_run: bool,
    sign: Path | None,
    json_file: Path | None,
) -> None:
    """Export a trained network to ONNX and TensorRT, and check it.

    MODEL is a released model (dgcnn, dgcnn-scan, pointnet), a run folder, a .safetensors file, a bundle, or a .pth
    checkpoint that crosspoint import reads. The result is a bundle: a folder with the ONNX file, the engine and a
    manifest. If the outputs do not match the trained network, the export fails, writes no files, and the exit code is
    1.
    """
    from crosspoint.core.errors import InputError, require

    if out is None and hub is None:
        raise click.UsageError("Missing option '--out': the folder of the bundle; or give --hub, or both.")
    require("torch", "train", purpose="exporting")
    require("onnx", "train", purpose="exporting")
    from crosspoint.commands.tables.export import print_commands, print_export
    from crosspoint.core.results import to_json
    from crosspoint.export.bundle import Verification, export
    from crosspoint.export.dry_run import equivalent_commands
    from crosspoint.export.engine.builder import Options
    from crosspoint.export.options import ExportOptions

    targets, kept = (tuple(filter(None, (words or "").split(","))) for words in (target, keep_fp32))
    options = ExportOptions(
        builder, targets, Options(tf32, workspace, timing_cache), projection, triton, sign, keep_fp32=kept, k=k
    )
    if dry_run:
        if not trt or out is None:
            raise InputError("--dry-run is for engines; give --trt and --out with it, or leave it out")
        commands = equivalent_commands(model, out, precision=precision, batch=batch, points=points, options=options)
        print_commands(commands)
        write_result(json_file, "export", result={"out": str(out), "commands": to_json(commands)})
        return
    if hub is not None:
        _write_hub(model, hub, json_file=json_file if out is None else None)
    if out is None:
        return
    manifest = export(
        model,
        out,
        trt=trt,
        precision=precision,
        batch=batch,
        points=points,
        verification=Verification(verify_data, verify_clouds, max_drop, calibrate, up),
        options=options,
    )
    print_export(out, manifest, sign=sign)
    write_result(json_file, "export", result={"out": str(out), "manifest": manifest.to_json()})


def _write_hub(model: Path, hub: Path, json_file: Path | None) -> None:
    from crosspoint.core.console import say
    from crosspoint.export.hub import write_hub

    config = write_hub(model, hub)
    save_result(json_file, config)
    say(f"{hub}: {config.name} for a model hub: README.md, config.json, encoder.safetensors and onnx/, opened again")
