"""The command line: parses, calls one function, prints. Heavy imports happen inside the commands."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from crosspoint import __version__
from crosspoint.errors import CheckFailed, CrosspointError

PathArgument = click.Path(path_type=Path)
SHOWN = 30  # problems printed; the machine-readable result has all
json_option = click.option("--json", "json_file", type=PathArgument, help="Write a machine-readable result here.")
device_option = click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:<index>.")
backend_option = click.option("--backend", help="What runs the model.  [default: what its file is for]")


class Commands(click.Group):
    """A group that lists its commands in the order of the workflow instead of by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order they were added."""
        return list(self.commands)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="crosspoint")
def crosspoint() -> None:
    """Pretrain CrossPoint encoders without labels, export them to TensorRT, and prove that they are the same."""


@crosspoint.command()
@click.option("--out", type=PathArgument, default="quickstart", show_default=True, help="New folder for everything.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of everything.")
@json_option
def quickstart(out: Path, seed: int, json_file: Path | None) -> None:
    """Run the whole flow on built-in shapes: make, train, export, embed, evaluate, report. Minutes on two cores."""
    from crosspoint.quickstart import quickstart as run
    from crosspoint.quickstart import summary_lines

    result = run(out, seed)
    click.echo("\n".join(summary_lines(result)))
    write_result(json_file, "quickstart", result)


@crosspoint.group(cls=Commands)
def data() -> None:
    """Make, render and check data."""


@data.command("list")
@json_option
def data_list(json_file: Path | None) -> None:
    """Say of each known data set what it is, its terms, where it can be had and the expected folder."""
    from dataclasses import asdict

    from crosspoint.data.catalogue import SETS

    write_result(json_file, "data-list", {"sets": [asdict(known) for known in SETS]})
    for known in SETS:
        click.secho(known.name, bold=True)
        for title, text in asdict(known).items():
            if title != "name":
                lead = f"  {title:<9}"
                click.echo(click.wrap_text(text, 110, lead, " " * len(lead)))
        click.echo()


@data.command("verify")
@click.argument("folder", metavar="DIR", type=PathArgument)
@json_option
def data_verify(folder: Path, json_file: Path | None) -> None:
    """Recognise the data sets in a folder and check every file of them.

    Exit code 1 if anything is wrong; it is listed.
    """
    from dataclasses import asdict

    from crosspoint.console import print_table
    from crosspoint.data.verify import verify

    report = verify(folder)
    write_result(json_file, "data-verify", asdict(report))
    print_table(
        f"{folder}: {report.format}",
        ("set", "part", "found", "remark"),
        [(row.set, row.part, row.found, row.remark) for row in report.rows],
    )
    for problem in report.problems[:SHOWN]:
        click.echo(f"  wrong: {problem}")
    if len(report.problems) > SHOWN:
        click.echo(f"  and {len(report.problems) - SHOWN} more; --json FILE lists all")
    if report.problems:
        raise CheckFailed(f"{folder}: {len(report.problems)} problems; repair or replace the files named above")


@data.command("make-shapes")
@click.option("--out", required=True, type=PathArgument, help="New folder, or an earlier result to replace.")
@click.option("--per-class", default=50, show_default=True, help="Training objects per category.")
@click.option("--seed", default=0, show_default=True, help="Seed of shapes, points and viewpoints.")
@click.option("--views", default=4, show_default=True, help="Pictures per training object.")
@click.option("--size", default=64, show_default=True, help="Width and height of the pictures.")
@click.option("--points", default=2048, show_default=True, help="Points per object.")
@click.option("--sheet", type=PathArgument, help="Write a PNG that shows a few objects of every category here.")
@click.option("--jobs", type=int, help="Processes.  [default: all cores]")
@json_option
def data_make_shapes(
    out: Path,
    per_class: int,
    seed: int,
    views: int,
    size: int,
    points: int,
    sheet: Path | None,
    jobs: int | None,
    json_file: Path | None,
) -> None:
    """Make parametric shapes of 41 categories: pretraining pairs, a classification split and a part split."""
    from crosspoint.data.make_shapes import make_shapes

    result = make_shapes(out, per_class, seed, views, size, points, sheet, jobs)
    write_result(json_file, "make-shapes", result)
    click.echo(
        f"{out}: {len(result['categories'])} categories with {result['parts']} parts; {result['train']} objects to "
        f"train, {result['test']} to test, {result['val']} to validate, in {result['seconds']:.1f} s"
    )


@data.command("render")
@click.argument("meshes", nargs=-1, required=True, type=PathArgument)
@click.option("--out", required=True, type=PathArgument, help="Output folder; an unfinished run in it is continued.")
@click.option("--views", default=8, show_default=True, help="Pictures per mesh.")
@click.option("--size", default=224, show_default=True, help="Width and height of the pictures.")
@click.option("--points", default=2048, show_default=True, help="Points per mesh.")
@click.option("--seed", default=0, show_default=True, help="Seed of points and viewpoints.")
@click.option("--jobs", type=int, help="Processes.  [default: all cores]")
@json_option
def data_render(
    meshes: tuple[Path, ...],
    out: Path,
    views: int,
    size: int,
    points: int,
    seed: int,
    jobs: int | None,
    json_file: Path | None,
) -> None:
    """Make training pairs from mesh files and folders of them: ShapeNetRender's layout.

    Exit code 1 if meshes were skipped; they are listed.
    """
    from crosspoint.data.render import render

    result = render(meshes, out, views, size, points, seed, jobs)
    write_result(json_file, "render", result)
    click.echo(
        f"{out}: {result['rendered']} objects rendered in {result['seconds']:.1f} s, {result['kept']} kept from before"
    )
    for bad in result["skipped"]:
        click.echo(f"skipped {bad['file']}: {bad['reason']}", err=True)
    if result["skipped"]:
        raise CheckFailed(f"{len(result['skipped'])} of {result['objects']} meshes were skipped; repair or remove them")


@data.command("pack")
@click.argument("folder", metavar="DIR", type=PathArgument)
@click.option("--out", required=True, type=PathArgument, help="New folder for the packed form.")
@click.option("--size", type=int, help="Resize images to this width and height.  [default: as they are]")
@click.option("--views", type=int, help="Keep the first images of each object.  [default: all]")
@click.option("--shard-mb", default=256, show_default=True, help="Size at which a shard is closed, in megabytes.")
@json_option
def data_pack(
    folder: Path, out: Path, size: int | None, views: int | None, shard_mb: int, json_file: Path | None
) -> None:
    """Pack a folder in ShapeNetRender's layout into checksummed shards that are read many times faster."""
    from crosspoint.data.pack import pack

    result = pack(folder, out, size, views, shard_mb)
    write_result(json_file, "pack", result)
    click.echo(
        f"{out}: {result['objects']} objects, {result['images']} images, {result['shards']} shards, "
        f"{result['bytes'] / 1e6:.1f} MB"
    )


@crosspoint.command()
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
@click.option("--probe-every", default=1, show_default=True, metavar="N", help="Probe every N epochs.")
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
    json_file: Path | None,
    **shorthands: str | None,
) -> None:
    """Pretrain an encoder on pairs of clouds and images, without labels."""
    from crosspoint.errors import require

    require("torch", "train", "training")
    from crosspoint.train.pretrain import train as run

    overrides += tuple(f"{key}={value}" for key, value in shorthands.items() if value is not None)
    result = run(data_dir, out, recipe, overrides, resume, device, workers, probe=probe, probe_every=probe_every)
    click.echo(
        f"{out}: {result['steps']} steps in {result['seconds']} s on {result['device']}, loss {result['loss']:.3f}"
    )
    click.echo(f"next: crosspoint export {out} --out {out}-bundle")
    write_result(json_file, "train", result)


@crosspoint.command("import")
@click.argument("checkpoint", type=PathArgument)
@click.option("--k", type=click.IntRange(min=1), required=True, help="Neighbours; the official pretraining used 15.")
@click.option("--out", type=PathArgument, required=True, help="The .safetensors file to write.")
@json_option
def import_command(checkpoint: Path, k: int, out: Path, json_file: Path | None) -> None:
    """Convert a checkpoint of the official repository (DGCNN or DGCNN_partseg)."""
    from crosspoint.errors import require

    require("torch", "train", "reading a PyTorch checkpoint")
    from crosspoint.models.official import import_official

    imported = import_official(checkpoint, k, out)
    click.echo(f"{out}: {imported.model.config}")
    for name in imported.unused:
        click.echo(f"  left out: {name}")
    write_result(json_file, "import", {"out": str(out), "model": imported.model.config, "left_out": imported.unused})


@crosspoint.command("export")
@click.argument("model", type=PathArgument)
@click.option("--out", required=True, type=PathArgument, help="Folder of the bundle; an earlier bundle is replaced.")
@click.option("--trt", is_flag=True, help="Build a TensorRT engine too; without a GPU a TensorRT-RTX one.")
@click.option("--precision", default="fp32", show_default=True, help="Of the exported model: fp32.")
@click.option("--batch", default="1:8:32", show_default=True, metavar="MIN:OPT:MAX", help="Clouds at a time.")
@click.option("--points", default="1024", show_default=True, help="Points of a cloud: a number, min:opt:max or any.")
@click.option("--target", metavar="SM,...", help="GPUs of a TensorRT-RTX engine, e.g. sm86,sm89.  [default: all]")
@json_option
def export_command(
    model: Path,
    out: Path,
    trt: bool,
    precision: str,
    batch: str,
    points: str,
    target: str | None,
    json_file: Path | None,
) -> None:
    """Export a trained network to ONNX and TensorRT, and prove that it is what was trained.

    MODEL is a run folder or a .safetensors file. The bundle appears only if it passed the parity gate; exit code 1 if
    it did not.
    """
    from crosspoint.errors import require

    require("torch", "train", "exporting")
    require("onnx", "train", "exporting")
    from crosspoint.export.bundle import export
    from crosspoint.export.show import print_export

    targets = tuple(filter(None, (target or "").split(",")))
    manifest = export(model, out, trt=trt, precision=precision, batch=batch, points=points, target=targets)
    print_export(out, manifest)
    write_result(json_file, "export", {"out": str(out), "manifest": manifest})


@crosspoint.command("embed")
@click.argument("model", type=PathArgument)
@click.argument("inputs", nargs=-1, required=True, type=PathArgument, metavar="INPUT...")
@click.option("--out", required=True, type=PathArgument, help="File to write: .npz, or .npy for embeddings alone.")
@click.option("--points", type=int, help="Points per cloud.  [default: the model's own number, else all of a cloud]")
@click.option("--seed", default=0, show_default=True, help="Seed of the points that are drawn.")
@click.option("--batch", default=32, show_default=True, help="Most clouds in one pass.")
@device_option
@backend_option
@json_option
def embed_command(
    model: Path,
    inputs: tuple[Path, ...],
    out: Path,
    points: int | None,
    seed: int,
    batch: int,
    device: str,
    backend: str | None,
    json_file: Path | None,
) -> None:
    """Embed mesh and point-cloud files, folders of them, and datasets.

    MODEL is a run folder, a .safetensors file, a bundle, an .onnx file, or a .plan with its manifest beside it.
    Exit code 1 if inputs were skipped; they are listed.
    """
    from crosspoint.console import print_table
    from crosspoint.runtime.embed import embed

    result = embed(model, inputs, out, points, seed, batch, device, backend)
    write_result(json_file, "embed", result)
    if result["skipped"]:
        print_table("Skipped", ("file", "reason"), [(bad["file"], bad["reason"]) for bad in result["skipped"]])
    ran = result["model"]
    click.echo(
        f"{out}: {result['embedded']} embeddings of {result['dim']} numbers in {result['seconds']:.1f} s "
        f"({ran['architecture']}, {ran['precision']}, {ran['backend']} on {ran['device']})"
    )
    if result["skipped"]:
        raise CheckFailed(f"{len(result['skipped'])} inputs were skipped; repair or remove them")


@crosspoint.group("eval", cls=Commands)
def evaluate() -> None:
    """The paper's protocols, from any backend."""


@evaluate.command("svm")
@click.argument("model", type=PathArgument)
@click.option("--data", "data_dir", required=True, type=PathArgument, help="ModelNet40- or ScanObjectNN-format folder.")
@click.option("--points", default=1024, show_default=True, help="Points per cloud.")
@click.option("--seed", default=0, show_default=True, help="Seed of held-out part, folds and choice of points.")
@click.option("--seeds", default=3, show_default=True, help="Choices of points, where more are stored than used.")
@device_option
@backend_option
@click.option("--out", type=PathArgument, help="Folder for the picture of the confusion matrix.")
@json_option
def eval_svm(
    model: Path,
    data_dir: Path,
    points: int,
    seed: int,
    seeds: int,
    device: str,
    backend: str | None,
    out: Path | None,
    json_file: Path | None,
) -> None:
    """Linear-SVM accuracy of frozen features (Table 1), with C as published and by cross-validation."""
    from crosspoint.eval.svm import svm
    from crosspoint.eval.tables import print_svm

    result = svm(model, data_dir, points, seed, seeds, device, backend, out)
    print_svm(result)
    write_result(json_file, "svm", result)


@evaluate.command("fewshot")
@click.argument("model", type=PathArgument)
@click.option("--data", "data_dir", required=True, type=PathArgument, help="ModelNet40- or ScanObjectNN-format folder.")
@click.option("--ways", multiple=True, default=(5, 10), show_default=True, help="Classes per task; may be repeated.")
@click.option("--shots", multiple=True, default=(10, 20), show_default=True, help="Support objects; may be repeated.")
@click.option("--queries", default=20, show_default=True, help="Query objects per class.")
@click.option("--runs", default=10, show_default=True, help="Tasks for each pair of ways and shots.")
@click.option("--points", default=1024, show_default=True, help="Points per cloud.")
@click.option("--seed", default=0, show_default=True, help="Seed of the tasks.")
@device_option
@backend_option
@json_option
def eval_fewshot(
    model: Path,
    data_dir: Path,
    ways: tuple[int, ...],
    shots: tuple[int, ...],
    queries: int,
    runs: int,
    points: int,
    seed: int,
    device: str,
    backend: str | None,
    json_file: Path | None,
) -> None:
    """Few-shot accuracy of frozen features (Table 2)."""
    from crosspoint.eval.fewshot import fewshot
    from crosspoint.eval.tables import print_fewshot

    result = fewshot(model, data_dir, ways, shots, queries, runs, points, seed, device, backend)
    print_fewshot(result)
    write_result(json_file, "fewshot", result)


@crosspoint.command("parity")
@click.argument("reference", type=PathArgument)
@click.argument("candidate", type=PathArgument)
@click.option(
    "--data", "data_dir", required=True, type=PathArgument, help="A dataset, or a folder of clouds or meshes."
)
@click.option("--points", type=click.IntRange(min=1), help="Points per cloud.  [default: the models' own, else 1024]")
@click.option("--clouds", type=click.IntRange(min=1), help="Use at most this many clouds.  [default: all]")
@click.option("--seed", default=0, show_default=True, help="Seed of every random choice.")
@device_option
@backend_option
@click.option("--reference-device", default="cpu", show_default=True, help="Where the reference runs.")
@json_option
def parity_command(
    reference: Path,
    candidate: Path,
    data_dir: Path,
    points: int | None,
    clouds: int | None,
    seed: int,
    device: str,
    backend: str | None,
    reference_device: str,
    json_file: Path | None,
) -> None:
    """Compare two models: accuracy, and embeddings on real and hostile clouds. Exit code 1 if they differ too much.

    --device and --backend are the candidate's; its precision decides the gate.
    """
    from crosspoint.eval.parity import parity
    from crosspoint.eval.tables import print_parity, print_skipped, verdict

    result = parity(reference, candidate, data_dir, points, clouds, seed, device, backend, reference_device)
    print_skipped(result)
    print_parity(result)
    write_result(json_file, "parity", result)
    if not result["passed"]:
        raise CheckFailed(verdict(result["gate"]))
    click.echo(verdict(result["gate"]))


@crosspoint.command("report")
@click.argument("run", type=PathArgument)
@click.option("--out", type=PathArgument, help="The page to write.  [default: report.html in RUN]")
@json_option
def report_command(run: Path, out: Path | None, json_file: Path | None) -> None:
    """Show all results in a folder on one self-contained HTML page.

    RUN is the folder of a training run, of the quickstart, or any with results written by --json.
    """
    from crosspoint.eval.report import report

    result = report(run, out)
    write_result(json_file, "report", result)
    for missing in result["missing"]:
        click.echo(f"not in it: {missing['what']}; add it with: {missing['command']}")
    for remark in result["remarks"]:
        click.echo(f"left out: {remark}", err=True)
    click.echo(f"{result['out']}: {len(result['sections'])} sections, {result['bytes'] / 1e6:.1f} MB")


def write_result(json_file: Path | None, kind: str, result: dict[str, Any]) -> None:
    """Write `result` to `json_file`, if one was asked for, under the schema name `crosspoint.<kind>/1`."""
    if json_file is not None:
        from crosspoint.artefacts import write_json

        write_json(json_file, {"schema": f"crosspoint.{kind}/1", **result})


def main() -> None:
    """Run the command line; a mistake of the user ends in one line and exit code 1 or 2, a bug keeps its trace."""
    try:
        code = crosspoint.main(standalone_mode=False)
    except CrosspointError as error:
        click.echo(f"crosspoint: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("crosspoint: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
