r"""What an encoder is worth over the hours of its training: linear SVM, neighbours, few-shot tasks.

    python benchmarks hours measure untrained "joint, 256 points=joint:RUN" --bundles DIR --results DIR \
      --data DIR --out stages.csv
    python benchmarks hours draw stages.csv --out hours.png

`measure` takes the stages of one training in order, each started from the one before (`--init`), as TITLE=NAME:RUN. A
stage of several runs, TITLE=NAME:RUN,RUN, took the time of all; one without a run, TITLE=NAME, took none. NAME may be
left out where the TITLE is the same. Of a stage are read BUNDLES/NAME, RESULTS/svm-NAME-*.json (one file a division)
and RESULTS/fewshot-NAME.json. It writes a row for each stage and measurement, and prints a Markdown table.

`draw` draws those rows: errors in per cent, from 0, so that equal heights are equal errors.
"""

import argparse
import csv
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt


@dataclass(frozen=True)
class Row:
    """One measurement of one stage: accuracy in per cent, and ± what, over what."""

    stage: str
    hours: float
    measure: str
    accuracy: float
    spread: float
    over: str


def neighbours(bundle: Path, data: Path, points: int, cache: Path | None) -> tuple[float, float]:
    """How often the nearest other object by cosine is of the same class, and the standard error of that share."""
    from crosspoint.data.sets.datasets import load_classification
    from crosspoint.eval.features import embed_clouds
    from crosspoint.runtime import load_encoder

    clouds = load_classification(data, points).train
    with load_encoder(bundle) as encoder:
        features = embed_clouds(
            encoder, clouds.points[:, :points], description=f"Embedding, {bundle.name}", cache=cache
        )
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)  # (n, D)
    right = 0
    for start in range(0, len(unit), 512):
        cosine = unit[start : start + 512] @ unit.T  # (512, n)
        own = np.arange(len(cosine))
        cosine[own, start + own] = -np.inf
        right += int(np.sum(clouds.labels[cosine.argmax(axis=1)] == clouds.labels[start + own]))
    share = right / len(unit)
    return share, math.sqrt(share * (1 - share) / len(unit))


def measure(title: str, name: str, hours: float, arguments: argparse.Namespace) -> list[Row]:
    from crosspoint.eval.metrics.statistics import summary

    files = sorted(arguments.results.glob(f"svm-{name}-*.json"))
    svm = summary([json.loads(file.read_text())["clean"]["accuracy"] for file in files])
    near, error = neighbours(arguments.bundles / name, arguments.data, arguments.points, arguments.cache)
    found = [
        ("linear SVM, clean", svm.mean, svm.std, f"std over {len(files)} divisions"),
        ("nearest neighbour", near, error, "standard error"),
    ]
    fewshot = json.loads((arguments.results / f"fewshot-{name}.json").read_text())
    for task in fewshot["tasks"]:
        of = f"{task['ways']}-way {task['shots']}-shot"
        found.append((of, task["mean"], task["std"], f"std over {fewshot['runs']} tasks"))
    return [
        Row(title, round(hours, 3), of, round(100 * (mean or 0), 2), round(100 * (spread or 0), 2), over)
        for of, mean, spread, over in found
    ]


def read(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Row(
                row["stage"],
                float(row["hours"]),
                row["measure"],
                float(row["accuracy"]),
                float(row["spread"]),
                row["over"],
            )
            for row in csv.DictReader(file)
        ]


def write(rows: list[Row], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def draw(rows: list[Row], out: Path) -> None:
    """A panel for each measurement, all with one axis that begins at 0."""
    measures = list(dict.fromkeys(row.measure for row in rows))
    last = max(row.hours for row in rows)
    unit, scale = ("hours", 1) if last >= 1 else ("minutes", 60)
    figure, grid = plt.subplots(2, 3, figsize=(10, 6), sharex=True, sharey=True, constrained_layout=True)
    for axis, name in zip(grid.flat, measures, strict=True):
        own = [row for row in rows if row.measure == name]
        at = [scale * row.hours for row in own]
        errors = [100 - row.accuracy for row in own]
        axis.errorbar(at, errors, [row.spread for row in own], fmt="o-", capsize=4, color="C0", ecolor="0.45")
        for x, error in zip(at, errors, strict=True):
            axis.annotate(f"{error:.1f}", (x, error), (5, 5), textcoords="offset points", fontsize=9)
        axis.set_title(f"{name}\n± {own[0].over}", fontsize=10)
        axis.set_xlim(-0.06 * scale * last, 1.22 * scale * last)
        axis.set_xticks(at, [f"{x:.3g}" for x in at])
        axis.grid(axis="y", alpha=0.3)
    grid[0, 0].set_ylim(bottom=0)  # all share it
    for axis in grid[-1]:
        axis.set_xlabel(f"{unit} of training")
    for axis in grid[:, 0]:
        axis.set_ylabel("errors, per cent")
    figure.savefig(out, dpi=110)


def print_table(rows: list[Row]) -> None:
    measures = list(dict.fromkeys(row.measure for row in rows))
    print(f"| {' | '.join(['stage', 'hours', *measures])} |")
    print(f"|{' --- |' * (len(measures) + 2)}")
    for stage in dict.fromkeys(row.stage for row in rows):
        own = [row for row in rows if row.stage == stage]
        cells = [f"{row.accuracy:.1f} ± {row.spread:.1f}" for row in own]
        print(f"| {stage} | {own[0].hours:.2f} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("stages", nargs="+", metavar="TITLE[=NAME[:RUN,...]]")
    measuring.add_argument("--bundles", type=Path, required=True)
    measuring.add_argument("--results", type=Path, required=True)
    measuring.add_argument("--data", type=Path, required=True)
    measuring.add_argument("--points", type=int, default=1024)
    measuring.add_argument("--cache", type=Path)
    measuring.add_argument("--out", type=Path, required=True)
    drawing = commands.add_parser("draw")
    drawing.add_argument("rows", type=Path)
    drawing.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.command == "draw":
        draw(read(arguments.rows), arguments.out)
        return
    from curves import hours

    rows, spent = [], 0.0
    for stage in arguments.stages:
        title, _, made = stage.partition("=")
        name, _, runs = made.partition(":")
        spent += sum(hours(Path(run)) for run in runs.split(",") if run)
        rows += measure(title, name or title, spent, arguments)
    write(rows, arguments.out)
    print_table(rows)


if __name__ == "__main__":
    main()
