"""`crosspoint eval`: the paper's protocols."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from crosspoint.commands.common import (
    SET_UP,
    Command,
    Commands,
    PathArgument,
    against_option,
    cache_option,
    device_option,
    json_option,
    run_on_options,
    save_result,
    up_option,
)
from crosspoint.commands.eval.classify import eval_classify
from crosspoint.commands.eval.partseg import eval_partseg
from crosspoint.core.console import say

if TYPE_CHECKING:
    from crosspoint.data.frames import Up
    from crosspoint.runtime.options import RunOn

# Repeated from crosspoint.eval, which --help does not import; a test compares them.
CORRUPTIONS = ("rotation", "noise", "dropped", "occlusion", "fewer", "view", "view-elevation")
METHODS = ("frozen", "rfs", "pretrained + rfs")


@click.group("eval", cls=Commands, example="crosspoint eval svm dgcnn --data modelnet40_ply_hdf5_2048")
def evaluate() -> None:
    """Measure accuracy with the protocols of the paper."""


@evaluate.command("svm", cls=Command, example="crosspoint eval svm dgcnn --data modelnet40_ply_hdf5_2048")
@click.argument("model", type=PathArgument)
@click.option(
    "--data", "data_dir", required=True, type=PathArgument, help="Folder in ModelNet40's or ScanObjectNN's format."
)
@click.option("--points", default=1024, show_default=True, help="Points per cloud.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the split, the folds and the points.")
@up_option("the data", SET_UP)
@click.option("--seeds", default=3, show_default=True, help="Number of random point subsets to average over.")
@run_on_options(cache=True)
@against_option
@click.option("--out", type=PathArgument, help="Folder for a picture of the confusion matrix.")
@json_option
def eval_svm(
    model: Path,
    data_dir: Path,
    points: int,
    seed: int,
    up: "Up | None",
    seeds: int,
    run_on: "RunOn",
    against: Path | None,
    out: Path | None,
    json_file: Path | None,
) -> None:
    """Train a linear SVM on frozen features and report its accuracy (Tables 1 and 2).

    Two accuracies are reported: with C = 0.1, as published, and with C from cross-validation.
    """
    from crosspoint.commands.tables.eval import print_svm
    from crosspoint.eval.svm import svm
    from crosspoint.runtime.options import Sampling

    sampling = Sampling(points, seed, seeds, up)
    result = svm(model, data_dir, sampling=sampling, run_on=run_on, against=against, out=out)
    print_svm(result)
    save_result(json_file, result)


@evaluate.command(
    "fewshot", cls=Command, example="crosspoint eval fewshot dgcnn --data modelnet40_ply_hdf5_2048 --ways 5 --shots 10"
)
@click.argument("model", type=PathArgument)
@click.option(
    "--data", "data_dir", required=True, type=PathArgument, help="Folder in ModelNet40's or ScanObjectNN's format."
)
@click.option("--ways", multiple=True, default=(5, 10), show_default=True, help="Classes per task; can be repeated.")
@click.option(
    "--shots", multiple=True, default=(10, 20), show_default=True, help="Training objects per class; can be repeated."
)
@click.option("--queries", default=20, show_default=True, help="Test objects per class.")
@click.option("--runs", default=10, show_default=True, help="Tasks for each pair of --ways and --shots.")
@click.option("--points", default=1024, show_default=True, help="Points per cloud.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the tasks.")
@up_option("the data", SET_UP)
@click.option("--k", type=click.IntRange(min=1), help="Number of neighbours k of a PyTorch model.  [default: its own]")
@run_on_options(cache=True)
@against_option
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
    up: "Up | None",
    k: int | None,
    run_on: "RunOn",
    against: Path | None,
    json_file: Path | None,
) -> None:
    """Report the accuracy of frozen features with few labelled objects per class (Tables 3 and 4)."""
    from crosspoint.commands.tables.eval import print_fewshot
    from crosspoint.eval.fewshot import TaskOptions, fewshot
    from crosspoint.runtime.options import Sampling

    result = fewshot(
        model,
        data_dir,
        tasks=TaskOptions(ways, shots, queries, runs),
        k=k,
        sampling=Sampling(points, seed, up=up),
        run_on=run_on,
        against=against,
    )
    print_fewshot(result)
    save_result(json_file, result)


@evaluate.command(
    "robustness",
    cls=Command,
    example="crosspoint eval robustness dgcnn pointnet --data modelnet40_ply_hdf5_2048 --corruption noise",
)
@click.argument("models", nargs=-1, required=True, type=PathArgument, metavar="MODEL...")
@click.option(
    "--data", "data_dir", required=True, type=PathArgument, help="Folder in ModelNet40's or ScanObjectNN's format."
)
@click.option(
    "--corruption",
    "corruptions",
    multiple=True,
    type=click.Choice(CORRUPTIONS),
    help="Corruption of the clouds; can be repeated.  [default: all]",
)
@click.option("--points", default=1024, show_default=True, help="Points per cloud.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the split, the folds and the corruptions.")
@up_option("the data", SET_UP)
@run_on_options(cache=True)
@against_option
@click.option("--out", type=PathArgument, help="Folder for a picture of the curves.")
@json_option
def eval_robustness(
    models: tuple[Path, ...],
    data_dir: Path,
    corruptions: tuple[str, ...],
    points: int,
    seed: int,
    up: "Up | None",
    run_on: "RunOn",
    against: Path | None,
    out: Path | None,
    json_file: Path | None,
) -> None:
    """Report the accuracy of models on rotated, noisy, incomplete and sparse point clouds, and on single views."""
    from crosspoint.commands.tables.eval import print_robustness
    from crosspoint.eval.robustness import robustness
    from crosspoint.runtime.options import Sampling

    chosen = corruptions or CORRUPTIONS
    result = robustness(
        models,
        data_dir,
        corruptions=chosen,
        sampling=Sampling(points, seed, up=up),
        run_on=run_on,
        against=against,
        out=out,
    )
    print_robustness(result)
    for remark in result.remarks:
        say(f"note: {remark}")
    save_result(json_file, result)


@evaluate.command(
    "image-fewshot", cls=Command, example="crosspoint eval image-fewshot run --data cifar-fs --method frozen"
)
@click.argument("model", type=PathArgument)
@click.option("--data", "data_dir", required=True, type=PathArgument, help="Images in CIFAR-FS's layout.")
@click.option(
    "--shots", multiple=True, default=(1, 5), show_default=True, help="Training images per class; can be repeated."
)
@click.option("--tasks", default=600, show_default=True, help="Tasks for each method and number of shots.")
@click.option("--seed", default=0, show_default=True, help="Random seed of the tasks.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    type=click.Choice(METHODS),
    help="Use the image encoder as it is (frozen), train one with RFS from random weights (rfs), or from the image "
    "encoder (pretrained + rfs); can be repeated.  [default: all]",
)
@click.option("--rfs", multiple=True, metavar="KEY=VALUE", help="Set a field of RFS training, e.g. epochs=10.")
@device_option
@cache_option
@against_option
@json_option
def eval_image_fewshot(
    model: Path,
    data_dir: Path,
    shots: tuple[int, ...],
    tasks: int,
    seed: int,
    methods: tuple[str, ...],
    rfs: tuple[str, ...],
    device: str,
    cache: Path | None,
    against: Path | None,
    json_file: Path | None,
) -> None:
    """Report the 5-way few-shot accuracy of the image encoder on pictures (Table 7).

    MODEL is a run folder with image_encoder.safetensors, or that file.
    """
    from crosspoint.commands.tables.eval import print_image_fewshot
    from crosspoint.eval.image.fewshot import ImageTaskOptions, image_fewshot
    from crosspoint.runtime.options import RunOn

    chosen = methods or METHODS
    result = image_fewshot(
        model,
        data_dir,
        options=ImageTaskOptions(shots, tasks, seed),
        overrides=rfs,
        methods=chosen,
        run_on=RunOn(device, cache=cache),
        against=against,
    )
    print_image_fewshot(result)
    save_result(json_file, result)


evaluate.add_command(eval_classify)
evaluate.add_command(eval_partseg)
