"""`crosspoint export`."""

from pathlib import Path

import click

from crosspoint.commands.common import PathArgument, json_option, sign_option, write_result


@click.command("export")
@click.argument("model", type=PathArgument)
@click.option("--out", required=True, type=PathArgument, help="Folder of the bundle; an earlier bundle is replaced.")
@click.option("--trt", is_flag=True, help="Build a TensorRT engine too; without a GPU a TensorRT-RTX one.")
@click.option("--precision", default="fp32", show_default=True, help="Of the layers: fp32, fp16, bf16 or int8.")
@click.option("--batch", default="1:8:32", show_default=True, metavar="MIN:OPT:MAX", help="Clouds at a time.")
@click.option("--points", default="1024", show_default=True, help="Points of a cloud: a number, min:opt:max or any.")
@click.option("--target", metavar="SM,...", help="GPUs of a TensorRT-RTX engine, e.g. sm86,sm89.  [default: all]")
@click.option("--builder", default="auto", show_default=True, help="Of the engine: auto, tensorrt, rtx or device.")
@click.option("--tf32", is_flag=True, help="Let the engine's matrix products round to TF32.")
@click.option("--workspace", type=click.IntRange(min=1), metavar="MIB", help="Most GPU memory that a layer may take.")
@click.option("--timing-cache", type=PathArgument, metavar="FILE", help="Kernel timings to use and to add to.")
@click.option("--triton", type=PathArgument, metavar="DIR", help="Write the model into this Triton repository too.")
@click.option("--projection", is_flag=True, help="With the projection head that the encoder was trained with.")
@click.option("--calibrate", type=PathArgument, metavar="DIR", help="Clouds that int8 is calibrated with.")
@click.option("--verify-data", type=PathArgument, metavar="DIR", help="On these SVM accuracy or mIoU has to hold.")
@click.option("--verify-clouds", type=click.IntRange(min=1), help="At most this many of them.  [default: all]")
@click.option("--max-drop", type=float, help="Points of it to give up.  [default: 0.2, of int8 0.5]")
@sign_option
@json_option
def export_command(
    model: Path,
    out: Path,
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
    sign: Path | None,
    json_file: Path | None,
) -> None:
    """Export a trained network to ONNX and TensorRT, and prove that it is what was trained.

    MODEL is a run folder or a .safetensors file. The bundle appears only if it passed the parity gate; exit code 1 if
    it did not.
    """
    from crosspoint.core.errors import require

    require("torch", "train", "exporting")
    require("onnx", "train", "exporting")
    from crosspoint.commands.tables.export import print_export
    from crosspoint.export.bundle import Verification, export
    from crosspoint.export.engine.builder import Options

    targets = tuple(filter(None, (target or "").split(",")))
    manifest = export(
        model,
        out,
        trt=trt,
        precision=precision,
        batch=batch,
        points=points,
        target=targets,
        builder=builder,
        options=Options(tf32, workspace, timing_cache),
        triton=triton,
        projection=projection,
        verification=Verification(verify_data, verify_clouds, max_drop, calibrate),
        sign=sign,
    )
    print_export(out, manifest, sign)
    write_result(json_file, "export", {"out": str(out), "manifest": manifest})
