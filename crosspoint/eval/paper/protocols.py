"""The protocols of the paper's tables. Each returns rows with the paper's number beside ours, in per cent."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from crosspoint.eval.fewshot import TaskOptions, eligible, fewshot
from crosspoint.eval.metrics.statistics import Summary, summary
from crosspoint.eval.paper import published
from crosspoint.eval.paper.published import Number
from crosspoint.eval.paper.results import Cell, TableRow
from crosspoint.eval.paper.roles import ModelFacts
from crosspoint.eval.svm import svm
from crosspoint.runtime.options import RunOn, Sampling

SVM_POINTS, FEWSHOT_POINTS, QUERIES = 1024, 2048, 20
OFFICIAL_K = 5  # number of neighbours in the official few-shot evaluation
SET_NAMES = {"modelnet40": "ModelNet40", "scanobjectnn": "ScanObjectNN"}


@dataclass(frozen=True)
class StudyOptions:
    """Options of a protocol.

    Attributes:
        sampling: Points per cloud (default: the paper's number, or all stored ones if there are fewer), the seed, and
            the number of random point subsets in `clean`.
        run_on: Device, backend and cache.
        runs: Few-shot tasks.
        tasks: Few-shot tasks with images.
        rfs: `key=value` for fields of the RFS recipe.
    """

    sampling: Sampling = Sampling()
    run_on: RunOn = RunOn()
    runs: int = 10
    tasks: int = 600
    rfs: Sequence[str] = ()


@dataclass
class Study:
    """The models and data of a protocol, and its notes.

    Attributes:
        models: Models, by role.
        facts: What is known of each model.
        sets: Format and folder of each data set.
        options: Options of the protocol.
        out: Folder for pictures.
        notes: Sentences for the reader of the result.
    """

    models: dict[str, list[Path]]
    facts: dict[Path, ModelFacts]
    sets: list[tuple[str, Path]]
    options: StudyOptions
    out: Path
    notes: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        """Add a sentence, unless it was added before."""
        if sentence not in self.notes:
            self.notes.append(sentence)


def measure(runs: Sequence[Sequence[float]], of: str, *, interval: tuple[float, float] | None = None) -> Cell:
    """Mean ± standard deviation of fractions, in per cent.

    Args:
        runs: The repeated values of each model. With several models the deviation is that of their means; with one
            model, that of its values.
        of: What the values are repeated over, in the plural, e.g. `"tasks"`.
        interval: 95 % interval of the value of a single model.
    """
    means = [sum(values) / len(values) for values in runs]
    several = len(runs) > 1
    found = summary(means if several else runs[0])
    over = f"{len(runs)} models" if several else f"{len(runs[0])} {of}"
    percent = (None if value is None else 100 * value for value in (found.std, found.standard_error))
    ends = None if several or interval is None else (100 * interval[0], 100 * interval[1])
    values = [[100 * value for value in values] for values in runs]
    return Cell(Summary(100 * found.mean, *percent), over, ends, values)


def points_of(study: Study, model: Path, *, stored: int, usual: int) -> int:
    """Number of points: as asked for, else as the model requires, else as published, else all that are stored."""
    from crosspoint.runtime.load import load_encoder

    run_on = study.options.run_on
    with load_encoder(model, run_on.device, backend=run_on.backend) as encoder:
        fixed = encoder.specification.points
    points = study.options.sampling.points or fixed or min(usual, stored)
    if points != usual:
        study.note(f"clouds have {points} points; the published protocol uses {usual}")
    return points


def linear(study: Study, papers: dict[str, dict[str, Number]], *, names: dict[str, str]) -> list[TableRow]:
    """Linear SVMs (Tables 1, 2 and 6, Figure 3): each role's models on each set.

    Args:
        study: What to run on.
        papers: The paper's numbers, by format and role.
        names: Name of each role.
    """
    rows, options = [], study.options
    for kind, folder in study.sets:
        for role, models in study.models.items():
            results = [
                svm(
                    model,
                    folder,
                    sampling=replace(
                        options.sampling, points=points_of(study, model, stored=stored_points(folder), usual=SVM_POINTS)
                    ),
                    run_on=options.run_on,
                )
                for model in models
            ]
            _note_picked(study, models)
            first = results[0]
            if first.data.test_from != "the test split":
                study.note(f"{SET_NAMES[kind]}: tested on {first.data.test_from}")
            official = measure([[r.official.accuracy] for r in results], "run", interval=first.official.interval)
            runs = [[run.accuracy for run in r.clean.runs] for r in results]
            clean = measure(runs, "choices of points", interval=first.clean.interval)
            rows.append(TableRow(names[role], SET_NAMES[kind], papers.get(kind, {}).get(role), official, clean))
    return rows


def _note_picked(study: Study, models: list[Path]) -> None:
    """Say of each model that was chosen by test accuracy that it was."""
    for model in models:
        if study.facts[model].recipe.get("picked"):
            study.note(f"{model}: its step was chosen by accuracy on the test split, as the official code does")


def stored_points(folder: Path) -> int:
    """Number of points per cloud in a classification set."""
    from crosspoint.data.sets.datasets import load_classification

    return int(load_classification(folder, None).train.points.shape[1])


def few(study: Study) -> list[TableRow]:
    """Few-shot tasks (Tables 3 and 4): queries from the training split, as published, and from the test split."""
    from crosspoint.data.sets.datasets import load_classification

    rows = []
    for kind, folder in study.sets:
        whole = load_classification(folder, None)
        if whole.test is None:
            study.note("there is no test split, so `clean`, with queries from it, is not measured")
        for role, models in study.models.items():
            _note_picked(study, models)
            for number, (ways, shots) in enumerate(published.SETTINGS):
                found = {}
                for rule, clouds in (("official", whole.train), ("clean", whole.test)):
                    if clouds is None:
                        continue
                    same = clouds is whole.train
                    enough = eligible(whole.train.labels, clouds.labels, shots=shots, queries=QUERIES, same=same)
                    if len(enough) >= ways:
                        stored = whole.train.points.shape[1]
                        tasks = [_few(study, model, folder, (ways, shots), stored, same) for model in models]
                        found[rule] = measure(tasks, "tasks")
                        if rule == "official" and len(models) == 1:
                            found[rule] = replace(found[rule], std_n=100 * float(np.std(tasks[0])))
                    else:
                        study.note(
                            f"{rule}: {ways}-way {shots}-shot needs {ways} classes with {shots} support and {QUERIES} "
                            f"query objects; the set has {len(enough)}"
                        )
                paper = published.FEWSHOT[kind][role][number]
                name = published.BACKBONES[role]
                rows.append(
                    TableRow(name, f"{ways}-way {shots}-shot", paper, found.get("official"), found.get("clean"))
                )
    return rows


def _few(
    study: Study, model: Path, folder: Path, setting: tuple[int, int], stored: int, published_rule: bool
) -> list[float]:
    """Accuracies of one model in the tasks of one kind."""
    options, facts = study.options, study.facts[model]
    k = None
    if published_rule and facts.config.get("architecture") == "dgcnn":
        if "k" in facts.config:  # only weights; an exported model does not record it
            k = OFFICIAL_K
        else:
            study.note(f"{model}: its number of neighbours is built in; the official code uses {OFFICIAL_K} here")
    source = "training split" if published_rule else "test split"
    result = fewshot(
        model,
        folder,
        tasks=TaskOptions(setting[:1], setting[1:], QUERIES, options.runs, (source,)),
        k=k,
        sampling=replace(options.sampling, points=points_of(study, model, stored=stored, usual=FEWSHOT_POINTS)),
        run_on=options.run_on,
    )
    return result.tasks[0].accuracies


def parts(study: Study) -> list[TableRow]:
    """Part segmentation (Table 5): mean IoU over objects, as published, and over categories."""
    from crosspoint.eval.partseg import partseg

    names = {"pretrained": "DGCNN + CrossPoint", "scratch": "DGCNN, from scratch"}
    rows, options = [], study.options
    ((_, folder),) = study.sets
    for role, models in study.models.items():
        results = [partseg(model, folder, sampling=options.sampling, run_on=options.run_on) for model in models]
        for model in models:
            if study.facts[model].recipe.get("selection") == "test":
                study.note(f"{model}: its best epoch was chosen on the test split, as the official code does")
        for key, setting in (("instance_miou", "mean over objects"), ("class_miou", "mean over categories")):
            official = measure([[getattr(r.official.scores, key)] for r in results], "run")
            clean = measure([[getattr(run, key) for run in r.clean.runs] for r in results], "choices of points")
            paper = published.PARTS[role] if key == "instance_miou" else None
            rows.append(TableRow(names[role], setting, paper, official, clean))
    return rows


def images(study: Study) -> list[TableRow]:
    """Few-shot images (Table 7): frozen features, RFS from scratch, and RFS from the pretrained image encoder."""
    from crosspoint.eval.image.fewshot import ImageTaskOptions, image_fewshot

    options = study.options
    ((_, folder),) = study.sets
    names = {"frozen": "CrossPoint", "rfs": "RFS", "pretrained + rfs": "CrossPoint + RFS"}
    results = [
        image_fewshot(
            model,
            folder,
            options=ImageTaskOptions(tasks=options.tasks, seed=options.sampling.seed),
            overrides=options.rfs,
            run_on=replace(options.run_on, backend=None),
        )
        for model in study.models["image"]
    ]
    rows = []
    for method, name in names.items():
        for column, shots in enumerate((1, 5)):
            found = [next(r for r in result.rows if (r.method, r.shots) == (method, shots)) for result in results]
            official, clean = (
                measure([rule.accuracies for rule in rules], "tasks", interval=rules[0].interval)
                for rules in ([row.official for row in found], [row.clean for row in found])
            )
            paper = published.CIFAR_FS[method][column]
            rows.append(TableRow(name, f"5-way {shots}-shot", paper, official, clean))
    return rows


def clusters(study: Study, names: dict[str, str]) -> list[TableRow]:
    """t-SNE (Figure 4), drawn side by side, and how often nearest neighbours in feature space have the same class.

    Args:
        study: What to run on.
        names: What each role is called.
    """
    from crosspoint.eval.figures import draw_panels
    from crosspoint.eval.tsne import NEIGHBOURS, panels

    options, ((_, folder),) = study.options, study.sets
    first = {names[role]: models[0] for role, models in study.models.items()}
    points = points_of(study, next(iter(first.values())), stored=stored_points(folder), usual=SVM_POINTS)
    class_names, drawn = panels(first, folder, points=points, seed=options.sampling.seed, run_on=options.run_on)
    if class_names != published.MODELNET10:
        study.note(f"classes shown: {', '.join(class_names)}; the figure has ModelNet10's")
    draw_panels(drawn, class_names, path=study.out / "figure4.png")
    return [
        TableRow(panel.title, f"vote of {NEIGHBOURS} neighbours", None, None, measure([[panel.accuracy]], "run"))
        for panel in drawn
    ]
