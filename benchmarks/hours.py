"""What an encoder is worth over the hours of its training: neighbours, few-shot tasks, linear SVM.

    python benchmarks/hours.py untrained joint=RUN joint512=RUN --bundles DIR --results DIR --data DIR --out hours.png

The stages of one training in order, each started from the one before (`--init`); a stage without a run took no time,
one of several runs, `NAME=RUN,RUN`, took that of all.
Of a stage NAME are read BUNDLES/NAME, RESULTS/svm-NAME-*.json (one file a division) and RESULTS/fewshot-NAME.json.
Prints a Markdown table. Nearest neighbours: how often the nearest other object by cosine is of the same class.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from curves import hours

from crosspoint.data.sets.datasets import Clouds, load_classification
from crosspoint.eval.features import embed_clouds
from crosspoint.eval.metrics.statistics import summary
from crosspoint.runtime import load_encoder

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def neighbours(bundle: Path, clouds: Clouds, points: int, cache: Path | None) -> float:
    with load_encoder(bundle) as encoder:
        features = embed_clouds(encoder, clouds.points[:, :points], f"Embedding, {bundle.name}", cache=cache)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)  # (n, D)
    right = 0
    for start in range(0, len(unit), 512):
        cosine = unit[start : start + 512] @ unit.T  # (512, n)
        own = np.arange(len(cosine))
        cosine[own, start + own] = -np.inf
        right += int(np.sum(clouds.labels[cosine.argmax(axis=1)] == clouds.labels[start + own]))
    return right / len(unit)


def measure(name: str, results: Path) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation by title: over divisions for the SVM, over tasks for few-shot."""
    files = sorted(results.glob(f"svm-{name}-*.json"))
    found = summary([json.loads(file.read_text())["clean"]["accuracy"] for file in files])
    rows: dict[str, dict[str, Any]] = {f"linear SVM, clean, {len(files)} divisions": found}
    for row in json.loads((results / f"fewshot-{name}.json").read_text())["tasks"]:
        rows[f"{row['ways']}-way {row['shots']}-shot"] = row
    return {title: (row["mean"], row["std"] or 0.0) for title, row in rows.items()}


def draw(curves: dict[str, list[tuple[float, float, float]]], names: list[str], out: Path) -> None:
    figure, axis = plt.subplots(figsize=(8, 5), constrained_layout=True)
    last = max(stage[0] for stages in curves.values() for stage in stages)
    unit, scale = ("hours", 1) if last >= 1 else ("minutes", 60)
    for title, stages in curves.items():
        at, mean, _ = np.array(stages).T
        wide = title.startswith(("linear", "nearest"))
        axis.plot(scale * at, 100 * mean, "o-" if wide else "o:", lw=2 if wide else 1, ms=5 if wide else 3, label=title)
    for at, name in zip([stage[0] for stage in stages], names, strict=True):
        axis.axvline(scale * at, color="0.85", lw=0.8, zorder=0)
        axis.annotate(name, (scale * at, 1), xycoords=("data", "axes fraction"), fontsize=8, rotation=30, va="bottom")
    axis.set_xlabel(f"{unit} of training")
    axis.set_ylabel("per cent")
    axis.grid(axis="y", alpha=0.3)
    axis.legend(fontsize=8, loc="lower right")
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", metavar="NAME[=RUN,...]")
    parser.add_argument("--bundles", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--points", type=int, default=1024)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    clouds = load_classification(arguments.data, arguments.points).train
    curves: dict[str, list[tuple[float, float, float]]] = {}
    names, spent = [], 0.0
    for stage in arguments.stages:
        name, _, run = stage.partition("=")
        names.append(name)
        spent += sum(hours(Path(each)) for each in run.split(",") if each)
        near = neighbours(arguments.bundles / name, clouds, arguments.points, arguments.cache)
        for title, (mean, std) in {"nearest neighbour": (near, 0.0), **measure(name, arguments.results)}.items():
            curves.setdefault(title, []).append((spent, mean, std))
    draw(curves, names, arguments.out)
    print(f"| {' | '.join(['stage', 'hours', *curves])} |")
    print(f"|{' --- |' * (len(curves) + 2)}")
    for number, name in enumerate(names):
        cells = [
            f"{100 * mean:.1f}" + (f" ± {100 * std:.1f}" if std else "")
            for _, mean, std in (stages[number] for stages in curves.values())
        ]
        print(f"| {name} | {next(iter(curves.values()))[number][0]:.2f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
