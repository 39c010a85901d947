"""Curves of several training runs side by side: losses, linear probe, spread and speed over the steps.

    python benchmarks curves RUN... --out curves.png

Prints a Markdown table: the probe before, during and after, steps, objects per second (median) and hours.
"""

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

WINDOW = 25  # steps in a running mean
PANELS = {
    "loss_imid": "L_imid (eq. 2)",
    "loss_cmid": "L_cmid (eq. 5)",
    "probe_accuracy": "linear probe, held-out objects right",
    "spread": "spread of the projections",
}


def read(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def column(lines: list[dict[str, float]], name: str) -> tuple[np.ndarray, np.ndarray]:
    rows = [(line["step"], line[name]) for line in lines if name in line]
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows])


def hours(run: Path) -> float:
    """Of the steps of a run, without probes and checkpoints."""
    batch = json.loads((run / "config.json").read_text())["recipe"]["batch"]
    return float(np.sum(batch / column(read(run), "objects_per_second")[1])) / 3600


def smooth(values: np.ndarray) -> np.ndarray:
    """Running mean over the last steps, of fewer at the start."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    last = np.arange(1, len(values) + 1)
    first = np.maximum(last - WINDOW, 0)
    means: np.ndarray = (sums[last] - sums[first]) / (last - first)
    return means


def draw(runs: dict[str, list[dict[str, float]]], out: Path) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(10, 6.5), constrained_layout=True)
    for axis, (name, title) in zip(axes.flat, PANELS.items(), strict=True):
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
        for run, lines in runs.items():
            steps, values = column(lines, name)
            if len(steps) == 0:
                continue
            probe = name == "probe_accuracy"
            axis.plot(steps, values if probe else smooth(values), marker="o" if probe else None, ms=4, label=run)
        axis.legend(fontsize=8)
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    runs = {run.name: read(run) for run in arguments.runs}
    spent = {run.name: hours(run) for run in arguments.runs}
    draw(runs, arguments.out)
    print("| run | steps | objects/s | hours | linear probe, before → after |")
    print("| --- | --- | --- | --- | --- |")
    for name, lines in runs.items():
        speed = column(lines, "objects_per_second")[1]
        probes = " → ".join(f"{value:.1%}" for value in column(lines, "probe_accuracy")[1])
        print(f"| {name} | {int(lines[-1]['step'])} | {np.median(speed):.1f} | {spent[name]:.2f} | {probes} |")


if __name__ == "__main__":
    main()
