"""`crosspoint reproduce`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crosspoint.commands.common import RECIPES, Command, PathArgument, json_option, run_on_options, save_result
from crosspoint.core.console import say
from crosspoint.core.errors import InputError

if TYPE_CHECKING:
    from crosspoint.eval.paper.reproduce import Target
    from crosspoint.runtime.options import RunOn


TARGETS = ("table1", "table2", "table3", "table4", "table5", "table6", "table7", "figure3", "figure4")


@dataclass(frozen=True)
class Training:
    """How models that are missing are trained.

    Attributes:
        pairs: Pairs of clouds and renderings; None for no training.
        recipe: Name of the recipe; None for the usual one.
        overrides: `key=value` for fields of the recipe.
        seeds: Trainings of each model.
        yes: Whether to begin without asking.
        out: Folder of the run folders.
        device: Where to train.
    """

    pairs: Path | None
    recipe: str | None
    overrides: tuple[str, ...]
    seeds: int
    yes: bool
    out: Path
    device: str


@click.command(
    "reproduce", cls=Command, example="crosspoint reproduce table1 --data modelnet40_ply_hdf5_2048 --model dgcnn"
)
@click.argument("target", type=click.Choice(TARGETS))
@click.option("--data", "data_dir", type=PathArgument, help="Folder of the data set, or a folder that contains it.")
@click.option("--needs", is_flag=True, help="Only list the data and models that are needed, and where to get them.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="[ROLE=]PATH",
    help="Model, with its role in the table if needed; can be repeated.",
)
@click.option("--pairs", type=PathArgument, help="Pretraining pairs; missing models are trained on them.")
@click.option("--recipe", type=click.Choice(RECIPES), help="Recipe of trained models.  [default: clean]")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set a field of that recipe, e.g. epochs=10."
)
@click.option(
    "--train-seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Trainings of each model."
)
@click.option("--yes", is_flag=True, help="Train without asking first.")
@click.option("--points", type=click.IntRange(min=1), help="Points per cloud.  [default: the paper's]")
@click.option("--seed", default=0, show_default=True, help="Random seed.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Number of random point subsets to average over.",
)
@click.option(
    "--runs", type=click.IntRange(min=1), default=10, show_default=True, help="Few-shot tasks of tables 3 and 4."
)
@click.option("--tasks", type=click.IntRange(min=2), default=600, show_default=True, help="Few-shot tasks of table 7.")
@click.option(
    "--rfs", multiple=True, metavar="KEY=VALUE", help="Set a field of RFS training in table 7, e.g. epochs=10."
)
@run_on_options(cache=True)
@click.option("--out", type=PathArgument, default="reproduction", show_default=True, help="Output folder.")
@json_option
def reproduce_command(
    target: str,
    data_dir: Path | None,
    needs: bool,
    models: tuple[str, ...],
    pairs: Path | None,
    recipe: str | None,
    overrides: tuple[str, ...],
    train_seeds: int,
    yes: bool,
    out: Path,
    run_on: "RunOn",
    json_file: Path | None,
    **options: Any,
) -> None:
    """Repeat a table or figure of the paper.

    The results are compared with the published numbers. The role of a model, such as joint or pointnet, is read from
    its file. An exported model does not record it: give --model joint=BUNDLE. Several models of one role count as
    repetitions with other seeds.
    """
    from crosspoint.commands.tables.eval import print_comparison
    from crosspoint.eval.paper.protocols import StudyOptions
    from crosspoint.eval.paper.reproduce import TARGETS as known
    from crosspoint.eval.paper.reproduce import reproduce
    from crosspoint.runtime.options import Sampling

    if needs or data_dir is None:
        _print_needs(known[target])
        if not needs:
            raise InputError(f"{target} needs data: give --data ROOT")
        return

    training = Training(pairs, recipe, overrides, train_seeds, yes, out / "runs", run_on.device)

    def provide(name: str, about: "Target", missing: list[str]) -> dict[str, list[str]]:
        return _train(about, missing, training)

    chosen = StudyOptions(
        Sampling(options["points"], options["seed"], options["seeds"]),
        replace(run_on, cache=run_on.cache or out / "features"),
        options["runs"],
        options["tasks"],
        options["rfs"],
    )
    made = None if pairs is None else provide
    result = reproduce(target, data_dir, models=models, out=out, options=chosen, provide=made)
    print_comparison(result)
    for note in result.notes:
        say(f"note: {note}")
    say(f"written: {', '.join(result.files)}")
    save_result(json_file, result)


def _print_needs(target: "Target") -> None:
    from crosspoint.eval.paper.reproduce import needs

    wanted = needs(target)
    click.secho(target.title, bold=True)
    for known in wanted.sets:
        for title, text in vars(known).items():
            click.echo(click.wrap_text(f"{title}: {text}", 110, "  ", "      "))
    click.echo(click.wrap_text(f"then: {wanted.then}", 110, "  ", "      "))


def _train(
    target: "Target",
    missing: list[str],
    training: "Training",
) -> dict[str, list[str]]:
    """Train the missing models, after showing how long that will take."""
    from crosspoint.core.errors import require

    if not target.pretrained:
        raise InputError(f"--pairs cannot train the models of this table; {target.advice.partition('models: ')[2]}")
    require("torch", "train", purpose="training")
    from crosspoint.train.pretrain.missing import plan, seconds_of, train_all
    from crosspoint.train.pretrain.pairs import open_source

    assert training.pairs is not None
    planned = plan(
        missing,
        target.trained_by,
        recipe=training.recipe,
        overrides=training.overrides,
        seeds=training.seeds,
        out=training.out,
    )
    source, device = open_source(training.pairs), training.device
    whole = 0.0
    for run in planned:
        seconds = seconds_of(run.recipe, source, device=device)
        whole += seconds
        say(f"to train: {run.out.name}, {run.recipe.epochs} epochs, about {duration(seconds)}", err=True)
    question = f"{len(planned)} models on {len(source)} pairs, about {duration(whole)} on {device}: train them?"
    if not training.yes and not click.confirm(question, err=True):
        raise InputError("nothing was trained; shorten it with --set epochs=…, or give trained models with --model")
    return train_all(planned, training.pairs, device=device, workers=None)


def duration(seconds: float) -> str:
    """Seconds in a readable unit: `40 s`, `12 min`, `3.5 h`, `2.1 days`."""
    for size, unit in ((86400.0, "days"), (3600.0, "h")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
