"""The protocols behind the paper's tables, each as rows that hold the paper's number beside ours, in per cent."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crosspoint.eval.fewshot import eligible, fewshot
from crosspoint.eval.metrics.statistics import summary
from crosspoint.eval.paper import published
from crosspoint.eval.paper.published import Number
from crosspoint.eval.paper.roles import Facts
from crosspoint.eval.svm import svm

SVM_POINTS, FEWSHOT_POINTS, QUERIES = 1024, 2048, 20
OFFICIAL_K = 5  # neighbours in the official code's few-shot evaluation
SET_NAMES = {"modelnet40": "ModelNet40", "scanobjectnn": "ScanObjectNN"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """How a protocol is run.

    Attributes:
        points: Points per cloud; None for the paper's number, or all stored ones where there are fewer.
        seed: Of every random choice.
        seeds: Choices of points in `clean`.
        runs: Few-shot tasks.
        tasks: Few-shot tasks with images.
        device: Where models run.
        backend: What runs them; None for the usual one.
        cache: Folder of features.
        rfs: `key=value` for fields of the RFS recipe.
    """

    points: int | None = None
    seed: int = 0
    seeds: int = 3
    runs: int = 10
    tasks: int = 600
    device: str = "cpu"
    backend: str | None = None
    cache: Path | None = None
    rfs: Sequence[str] = ()


@dataclass
class Study:
    """What a protocol is run on, and what it has to say beside its rows.

    Attributes:
        models: By role.
        facts: Of each model.
        sets: Format and folder of each set.
        options: How to run.
        out: Folder for pictures.
        notes: Sentences for the reader.
    """

    models: dict[str, list[Path]]
    facts: dict[Path, Facts]
    sets: list[tuple[str, Path]]
    options: Options
    out: Path
    notes: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        """Say something once."""
        if sentence not in self.notes:
            self.notes.append(sentence)


def row(method: str, setting: str, paper: Number | None, official: Row | None, clean: Row | None) -> Row:
    """One line of a table."""
    number = None if paper is None else paper._asdict()
    return {"method": method, "setting": setting, "paper": number, "official": official, "clean": clean}


def measure(runs: Sequence[Sequence[float]], of: str, interval: Sequence[float] | None = None) -> Row:
    """Mean ± standard deviation, in per cent, of fractions.

    Args:
        runs: For each model its repeated values. Of several models the deviation is that of their means; of one model
            that of its values.
        of: What a model's values are repeated over, in the plural.
        interval: 95 % interval of a single model's value.
    """
    means = [sum(values) / len(values) for values in runs]
    several = len(runs) > 1
    found = summary(means if several else runs[0])
    over = f"{len(runs)} models" if several else f"{len(runs[0])} {of}"
    percent = {name: None if value is None else 100 * value for name, value in found.items()}
    ends = None if several or interval is None else [100 * end for end in interval]
    return {**percent, "over": over, "interval": ends, "values": [[100 * v for v in values] for values in runs]}


def points_of(study: Study, model: Path, stored: int, usual: int) -> int:
    """How many points to use: as asked, as the model fixes, as published, or all that are stored."""
    from crosspoint.runtime.load import load_encoder

    with load_encoder(model, study.options.device, study.options.backend) as encoder:
        fixed = encoder.specification.points
    points = study.options.points or fixed or min(usual, stored)
    if points != usual:
        study.note(f"clouds have {points} points; the published protocol uses {usual}")
    return points


def linear(study: Study, papers: dict[str, dict[str, Number]], names: dict[str, str]) -> list[Row]:
    """Linear SVMs (Tables 1, 2 and 6, Figure 3): each role's models on each set.

    Args:
        study: What to run on.
        papers: The paper's numbers by format and role; roles are the texts of the models' fields.
        names: What a role is called.
    """
    rows, options = [], study.options
    for kind, folder in study.sets:
        for role, models in study.models.items():
            results = [
                svm(
                    model,
                    folder,
                    points_of(study, model, stored_points(folder), SVM_POINTS),
                    options.seed,
                    options.seeds,
                    options.device,
                    options.backend,
                    cache=options.cache,
                )
                for model in models
            ]
            if results[0]["data"]["test_from"] != "the test split":
                study.note(f"{SET_NAMES[kind]}: tested on {results[0]['data']['test_from']}")
            official = measure(
                [[r["official"]["accuracy"]] for r in results], "run", results[0]["official"]["interval"]
            )
            clean = measure(
                [[run["accuracy"] for run in r["clean"]["runs"]] for r in results],
                "choices of points",
                results[0]["clean"]["interval"],
            )
            rows.append(row(names[role], SET_NAMES[kind], papers.get(kind, {}).get(role), official, clean))
    return rows


def stored_points(folder: Path) -> int:
    """Points of each cloud that a classification set stores."""
    from crosspoint.data.sets.datasets import load_classification

    return int(load_classification(folder, None).train.points.shape[1])


def few(study: Study) -> list[Row]:
    """Few-shot tasks (Tables 3 and 4): queries from the training split, as published, and from the test split."""
    from crosspoint.data.sets.datasets import load_classification

    rows = []
    for kind, folder in study.sets:
        whole = load_classification(folder, None)
        if whole.test is None:
            study.note("there is no test split, so `clean`, with queries from it, is not measured")
        for role, models in study.models.items():
            for number, (ways, shots) in enumerate(published.SETTINGS):
                found = {}
                for rule, clouds in (("official", whole.train), ("clean", whole.test)):
                    if clouds is None:
                        continue
                    same = clouds is whole.train
                    enough = eligible(whole.train.labels, clouds.labels, shots, QUERIES, same)
                    if len(enough) >= ways:
                        stored = whole.train.points.shape[1]
                        tasks = [_few(study, model, folder, (ways, shots), stored, same) for model in models]
                        found[rule] = measure(tasks, "tasks")
                    else:
                        study.note(
                            f"{rule}: {ways}-way {shots}-shot needs {ways} classes with {shots} support and {QUERIES} "
                            f"query objects; the set has {len(enough)}"
                        )
                paper = published.FEWSHOT[kind][role][number]
                name = published.BACKBONES[role]
                rows.append(row(name, f"{ways}-way {shots}-shot", paper, found.get("official"), found.get("clean")))
    return rows


def _few(
    study: Study, model: Path, folder: Path, setting: tuple[int, int], stored: int, published_rule: bool
) -> list[float]:
    """Accuracies of one model in the tasks of one kind."""
    options, facts = study.options, study.facts[model]
    k = None
    if published_rule and facts.config.get("architecture") == "dgcnn":
        if "k" in facts.config:  # weights: of an exported model the architecture alone is known
            k = OFFICIAL_K
        else:
            study.note(f"{model}: its number of neighbours is built in; the official code uses {OFFICIAL_K} here")
    result = fewshot(
        model,
        folder,
        setting[:1],
        setting[1:],
        QUERIES,
        options.runs,
        points_of(study, model, stored, FEWSHOT_POINTS),
        options.seed,
        options.device,
        options.backend,
        k,
        options.cache,
        queries_from=("training split" if published_rule else "test split",),
    )
    accuracies: list[float] = result["tasks"][0]["accuracies"]
    return accuracies


def parts(study: Study) -> list[Row]:
    """Part segmentation (Table 5): mean IoU over objects, as published, and over categories."""
    from crosspoint.eval.partseg import partseg

    names = {"pretrained": "DGCNN + CrossPoint", "scratch": "DGCNN, from scratch"}
    rows, options = [], study.options
    ((_, folder),) = study.sets
    for role, models in study.models.items():
        results = [
            partseg(model, folder, options.points, options.seed, options.seeds, options.device, options.backend)
            for model in models
        ]
        for model in models:
            if study.facts[model].recipe.get("selection") == "test":
                study.note(f"{model}: its best epoch was chosen on the test split, as the official code does")
        for key, setting in (("instance_miou", "mean over objects"), ("class_miou", "mean over categories")):
            official = measure([[r["official"][key]] for r in results], "run")
            clean = measure([[run[key] for run in r["clean"]["runs"]] for r in results], "choices of points")
            paper = published.PARTS[role] if key == "instance_miou" else None
            rows.append(row(names[role], setting, paper, official, clean))
    return rows


def images(study: Study) -> list[Row]:
    """Few-shot images (Table 7): frozen features, RFS from scratch, and RFS from the pretrained image encoder."""
    from crosspoint.eval.image.fewshot import image_fewshot

    options = study.options
    ((_, folder),) = study.sets
    names = {"frozen": "CrossPoint", "rfs": "RFS", "pretrained + rfs": "CrossPoint + RFS"}
    results = [
        image_fewshot(
            model,
            folder,
            tasks=options.tasks,
            seed=options.seed,
            overrides=options.rfs,
            device=options.device,
            cache=options.cache,
        )
        for model in study.models["image"]
    ]
    rows = []
    for method, name in names.items():
        for column, shots in enumerate((1, 5)):
            found = [_image_row(result, method, shots) for result in results]
            rules = {
                rule: measure([entry[rule]["accuracies"] for entry in found], "tasks", found[0][rule]["interval"])
                for rule in ("official", "clean")
            }
            paper = published.CIFAR_FS[method][column]
            rows.append(row(name, f"5-way {shots}-shot", paper, rules["official"], rules["clean"]))
    return rows


def _image_row(result: dict[str, Any], method: str, shots: int) -> dict[str, Any]:
    found: dict[str, Any] = next(r for r in result["rows"] if r["method"] == method and r["shots"] == shots)
    return found


def clusters(study: Study, names: dict[str, str]) -> list[Row]:
    """t-SNE (Figure 4), drawn side by side, and how well nearest neighbours in feature space share a class.

    Args:
        study: What to run on.
        names: What each role is called.
    """
    from crosspoint.eval.figures import draw_panels
    from crosspoint.eval.tsne import NEIGHBOURS, panels

    options, ((_, folder),) = study.options, study.sets
    first = {names[role]: models[0] for role, models in study.models.items()}
    points = points_of(study, next(iter(first.values())), stored_points(folder), SVM_POINTS)
    class_names, drawn = panels(first, folder, points, options.seed, options.device, options.backend, options.cache)
    if class_names != published.MODELNET10:
        study.note(f"classes shown: {', '.join(class_names)}; the figure has ModelNet10's")
    draw_panels(drawn, class_names, study.out / "figure4.png")
    return [
        row(panel.title, f"vote of {NEIGHBOURS} neighbours", None, None, measure([[panel.accuracy]], "run"))
        for panel in drawn
    ]
