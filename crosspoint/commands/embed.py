"""`crosspoint embed`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crosspoint.commands.common import (
    FILES_UP,
    Command,
    PathArgument,
    json_option,
    object_options,
    parse_object_options,
    reading_options,
    run_on_options,
    sampling_options,
    save_result,
)
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.printable import printable

if TYPE_CHECKING:
    from crosspoint.runtime.jobs.embed import EmbedResult
    from crosspoint.runtime.options import Reading, RunOn, Sampling

FORMATS = ("parquet", "npz")


@click.command("embed", cls=Command, example="crosspoint embed dgcnn scans/ --out embeddings.npz")
@click.argument("given", nargs=-1, required=True, type=PathArgument, metavar="[MODEL] INPUT...")
@click.option("--model", help="Model; all arguments are then inputs.  [default: dgcnn]")
@click.option(
    "--out",
    default="embeddings.npz",
    show_default=True,
    help="Output file (.npz, .parquet or .npy), or a folder that receives the embeddings in parts.",
)
@sampling_options(
    "the inputs",
    FILES_UP + "; z with --objects",
    points="Points per cloud, drawn at random.  [default: the model's own number, else all points of the cloud]",
    draws=1,
)
@click.option("--batch", default=32, show_default=True, help="Largest number of clouds per call of the model.")
@click.option("--shard", metavar="I/N", help="Write only the parts of shard I of N; I counts from 1.")
@click.option("--part", type=int, help="Inputs per part.  [default: 1024, or fewer if there are many shards]")
@click.option("--format", "form", type=click.Choice(FORMATS), help="File format of the parts.  [default: parquet]")
@click.option("--ray", is_flag=True, help="Compute the parts on a Ray cluster.")
@reading_options(readers=True)
@click.option("--objects", is_flag=True, help="Inputs are scans of many objects: find the objects and embed each one.")
@object_options
@click.option("--picture", type=PathArgument, help="With --objects: draw the scan from above to this .png file.")
@run_on_options(trust=True)
@json_option
def embed_command(
    given: tuple[Path, ...],
    model: str | None,
    out: str,
    sampling: "Sampling",
    batch: int,
    shard: str | None,
    part: int | None,
    form: str | None,
    ray: bool,
    reading: "Reading",
    run_on: "RunOn",
    json_file: Path | None,
    objects: bool,
    picture: Path | None,
    **how: Any,
) -> None:
    """Compute an embedding for each point cloud or mesh.

    INPUT is a point-cloud or mesh file, a folder of them, or a data set. MODEL is a released model (dgcnn, dgcnn-scan,
    pointnet), a run folder, a .safetensors file, a bundle, an .onnx file, or a .plan file with its manifest.json. If
    MODEL is left out, dgcnn is used. Inputs that cannot be read are skipped and listed, and the exit code is then 1.
    """
    from crosspoint.core.console import print_table
    from crosspoint.data.objects.scan import check_picture, draw_scan, read_scan
    from crosspoint.data.objects.sources import Scans
    from crosspoint.runtime.jobs.embed import embed
    from crosspoint.runtime.jobs.parts import PartOptions

    chosen, inputs = (model, given) if model else split_model(given)
    given_options = [name for name, value in {**how, "picture": picture}.items() if value is not None]
    if given_options and not objects:
        raise InputError(f"--{given_options[0].replace('_', '-')} needs --objects; give both, or neither")
    scans = Scans(inputs, parse_object_options(up=sampling.up, **how)) if objects else None
    shown = None
    if scans is not None and picture is not None:
        check_picture(picture, scans.inputs)
        shown = read_scan(scans.inputs[0], seed=sampling.seed, columns=reading.columns)
    result = embed(
        chosen,
        scans or inputs,
        out=out,
        sampling=sampling,
        batch=batch,
        run_on=run_on,
        parts=PartOptions(parse_shard(shard), part, form, ray),
        reading=reading,
    )
    save_result(json_file, result=result)
    if scans is not None and picture is not None and shown is not None:
        draw_scan(scans.inputs[0], shown, picture=picture, options=scans.options)
    if result.skipped:
        print_table("Skipped", ("file", "reason"), rows=[(bad.file, bad.reason) for bad in result.skipped])
    click.echo(summary(result))
    if result.skipped:
        raise CheckFailed(f"{len(result.skipped)} inputs were skipped; repair or remove them")


def split_model(given: tuple[Path, ...]) -> tuple[str, tuple[Path, ...]]:
    """Split the arguments into model and inputs. The first is the model if it is one, or looks like a missing one."""
    from crosspoint.runtime.load import is_model
    from crosspoint.runtime.released import DEFAULT, find_release, names

    first = given[0]
    if is_model(first) or find_release(first) is not None:
        return str(first), given[1:]
    if not first.exists() and not first.suffix and "::" not in str(first):
        raise InputError(f"{first} does not exist and is not the name of a model; give a file, a folder or {names()}")
    return DEFAULT, given


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """`"3/100"` as the numbers 3 and 100."""
    if text is None:
        return None
    number, slash, shards = text.partition("/")
    if not (slash and number.isdecimal() and shards.isdecimal()):
        raise InputError(f"--shard {text} is not of the form I/N; give for example 3/100, the third of 100 shards")
    return int(number), int(shards)


def summary(result: "EmbedResult") -> str:
    """The result in one or two lines."""
    ran, parts = result.model, result.parts
    counted = "1 embedding" if result.embedded == 1 else f"{result.embedded} embeddings"
    text = (
        f"{printable(result.out)}: {counted} of {result.dim} numbers in {result.seconds:.1f} s "
        f"({ran.architecture}, {ran.precision}, {ran.backend} on {ran.device})"
    )
    if parts is None:
        return text
    rest = "none is missing" if not parts.missing else f"{parts.missing} are missing: run the other shards"
    return f"{text}\n{parts.made} parts written, {parts.kept} kept from before; of {parts.total} parts {rest}"
