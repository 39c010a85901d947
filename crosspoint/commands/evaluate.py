"""`crosspoint eval`: the paper's protocols."""

from pathlib import Path

import click

from crosspoint.commands.common import (
    Commands,
    PathArgument,
    against_option,
    backend_option,
    cache_option,
    device_option,
    json_option,
    save_result,
    verify_key_option,
)
from crosspoint.commands.partseg import eval_partseg
from crosspoint.core.console import say


@click.group("eval", cls=Commands)
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
@verify_key_option
@cache_option
@against_option
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
    cache: Path | None,
    against: Path | None,
    out: Path | None,
    json_file: Path | None,
) -> None:
    """Linear-SVM accuracy of frozen features (Tables 1 and 2), with C as published and by cross-validation."""
    from crosspoint.commands.tables.eval import print_svm
    from crosspoint.eval.options import RunOn, Sampling
    from crosspoint.eval.svm import svm

    sampling, run_on = Sampling(points, seed, seeds), RunOn(device, backend, cache)
    result = svm(model, data_dir, sampling=sampling, run_on=run_on, against=against, out=out)
    print_svm(result)
    save_result(json_file, result)


@evaluate.command("fewshot")
@click.argument("model", type=PathArgument)
@click.option("--data", "data_dir", required=True, type=PathArgument, help="ModelNet40- or ScanObjectNN-format folder.")
@click.option("--ways", multiple=True, default=(5, 10), show_default=True, help="Classes per task; may be repeated.")
@click.option("--shots", multiple=True, default=(10, 20), show_default=True, help="Support objects; may be repeated.")
@click.option("--queries", default=20, show_default=True, help="Query objects per class.")
@click.option("--runs", default=10, show_default=True, help="Tasks for each pair of ways and shots.")
@click.option("--points", default=1024, show_default=True, help="Points per cloud.")
@click.option("--seed", default=0, show_default=True, help="Seed of the tasks.")
@click.option("--k", type=click.IntRange(min=1), help="Neighbours in a PyTorch model's graphs.  [default: its own]")
@device_option
@backend_option
@verify_key_option
@cache_option
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
    k: int | None,
    device: str,
    backend: str | None,
    cache: Path | None,
    against: Path | None,
    json_file: Path | None,
) -> None:
    """Few-shot accuracy of frozen features (Tables 3 and 4)."""
    from crosspoint.commands.tables.eval import print_fewshot
    from crosspoint.eval.fewshot import fewshot
    from crosspoint.eval.options import RunOn, Sampling

    result = fewshot(
        model,
        data_dir,
        ways=ways,
        shots=shots,
        queries=queries,
        runs=runs,
        k=k,
        sampling=Sampling(points, seed),
        run_on=RunOn(device, backend, cache),
        against=against,
    )
    print_fewshot(result)
    save_result(json_file, result)


@evaluate.command("robustness")
@click.argument("models", nargs=-1, required=True, type=PathArgument, metavar="MODEL...")
@click.option("--data", "data_dir", required=True, type=PathArgument, help="ModelNet40- or ScanObjectNN-format folder.")
@click.option("--corruption", "corruptions", multiple=True, help="One of them; may be repeated.  [default: all]")
@click.option("--points", default=1024, show_default=True, help="Points per cloud.")
@click.option("--seed", default=0, show_default=True, help="Seed of held-out part, folds and corruptions.")
@device_option
@backend_option
@verify_key_option
@cache_option
@against_option
@click.option("--out", type=PathArgument, help="Folder for the picture of the curves.")
@json_option
def eval_robustness(
    models: tuple[Path, ...],
    data_dir: Path,
    corruptions: tuple[str, ...],
    points: int,
    seed: int,
    device: str,
    backend: str | None,
    cache: Path | None,
    against: Path | None,
    out: Path | None,
    json_file: Path | None,
) -> None:
    """Accuracy over rotation, noise, dropped points, occlusion and fewer points, of one or more models."""
    from crosspoint.commands.tables.eval import print_robustness
    from crosspoint.eval.options import RunOn, Sampling
    from crosspoint.eval.robustness import CORRUPTIONS, robustness

    chosen = corruptions or tuple(CORRUPTIONS)
    result = robustness(
        models,
        data_dir,
        corruptions=chosen,
        sampling=Sampling(points, seed),
        run_on=RunOn(device, backend, cache),
        against=against,
        out=out,
    )
    print_robustness(result)
    for remark in result.remarks:
        say(f"note: {remark}")
    save_result(json_file, result)


@evaluate.command("image-fewshot")
@click.argument("model", type=PathArgument)
@click.option("--data", "data_dir", required=True, type=PathArgument, help="Pictures in CIFAR-FS's layout.")
@click.option("--shots", multiple=True, default=(1, 5), show_default=True, help="Support pictures; may be repeated.")
@click.option("--tasks", default=600, show_default=True, help="Tasks of each kind.")
@click.option("--seed", default=0, show_default=True, help="Seed of the tasks.")
@click.option("--method", "methods", multiple=True, help="frozen, rfs or 'pretrained + rfs'.  [default: all]")
@click.option("--rfs", multiple=True, metavar="KEY=VALUE", help="Change a field of the training on base classes.")
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
    """5-way classification of pictures with the image encoder (Table 7): frozen, and after RFS."""
    from crosspoint.commands.tables.eval import print_image_fewshot
    from crosspoint.eval.image.fewshot import METHODS, image_fewshot
    from crosspoint.eval.options import RunOn

    chosen = methods or METHODS
    result = image_fewshot(
        model,
        data_dir,
        shots=shots,
        tasks=tasks,
        seed=seed,
        overrides=rfs,
        methods=chosen,
        run_on=RunOn(device, cache=cache),
        against=against,
    )
    print_image_fewshot(result)
    save_result(json_file, result)


evaluate.add_command(eval_partseg)
