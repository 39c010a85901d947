"""Reading rate of loose ShapeNetRender files against their packed form, and of the loader against training steps.

    python benchmarks loader DIR PACK [--items 2000] [--rounds 7] [--recipe quick] [--set KEY=VALUE]

All forms are interleaved in one process. DIR holds `ShapeNet` and `ShapeNetRendering`; PACK is what
`crosspoint data pack DIR --out PACK` made of it. One item is the points of a random object and one of its images,
decoded. Both forms read the same items and must return the same bytes; the files are in the page cache after the first,
untimed round. The loader with one worker is then timed without training, and training steps of the recipe on batches
that are in memory: the device starves where the first is slower.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from results import Series, add_json, write
from turns import in_turns

from crosspoint.data.sets.datasets import PairedRenders
from crosspoint.data.sets.pack import PackedRenders
from crosspoint.train.engine.distributed import ProcessGroup
from crosspoint.train.pretrain.pairs import StepSampler, make_loader
from crosspoint.train.pretrain.pretrain import PretrainRun
from crosspoint.train.pretrain.recipes import Recipe, make_recipe

BATCHES = 40  # read in one timing, more than the workers hold ready

PairSource = PairedRenders | PackedRenders


def read(source: PairSource, items: Sequence[tuple[int, int]]) -> None:
    """Read all items."""
    for i, view in items:
        source.points(i)
        source.image(i, view)


def check(loose: PairSource, packed: PairSource, items: Sequence[tuple[int, int]]) -> None:
    for i, view in items:
        np.testing.assert_array_equal(loose.points(i), packed.points(i))
        np.testing.assert_array_equal(loose.image(i, view), packed.image(i, view))


def loader_and_step(packed: PackedRenders, recipe: Recipe, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds in which the loader yields a batch with one worker, and in which the CPU trains on one, by round."""
    run = PretrainRun(recipe, packed, out=Path("unused"), device=torch.device("cpu"), group=ProcessGroup())
    batches = iter(make_loader(packed, recipe, steps=StepSampler(len(packed), recipe), workers=1))
    batch = next(batches)

    def load() -> None:
        nonlocal batch
        for _ in range(BATCHES):
            batch = next(batches)

    def train() -> None:
        run.train_step(batch, recipe.learning_rate)

    train()
    times = in_turns({"loading": load, "training": train}, rounds, warm=0)
    return [spent / 1e3 / BATCHES for spent in times["loading"]], [spent / 1e3 for spent in times["training"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loose", type=Path)
    parser.add_argument("packed", type=Path)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--recipe", default="quick")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    add_json(parser)
    arguments = parser.parse_args()
    loose, packed = PairedRenders(arguments.loose), PackedRenders(arguments.packed)
    generator = np.random.default_rng(0)
    objects = generator.integers(0, len(loose), arguments.items).tolist()
    items = [(i, int(generator.integers(0, loose.views(i)))) for i in objects]
    check(loose, packed, items)
    works = {"loose": partial(read, loose, items), "packed": partial(read, packed, items)}
    times = in_turns(works, arguments.rounds, warm=0)
    of_items = {name: np.array(each) * 1e3 / len(items) for name, each in times.items()}  # µs, by round
    for name, each in of_items.items():
        print(f"{name:7}{1e6 / np.median(each):9.0f} items/s {np.median(each):9.1f} µs")
    print(f"ratio of medians {np.median(of_items['loose']) / np.median(of_items['packed']):.1f}")
    recipe = make_recipe(arguments.recipe, arguments.set)
    seconds_each = loader_and_step(packed, recipe, arguments.rounds)
    loading, training = (recipe.batch / float(np.median(each)) for each in seconds_each)
    print(
        f"loader {loading:.0f} objects/s with one worker, step {training:.1f} objects/s: {loading / training:.0f} times"
    )
    series = (
        Series("loose files", "µs", tuple(of_items["loose"])),
        Series("packed", "µs", tuple(of_items["packed"]), "loose files"),
        Series("training step", "s", tuple(seconds_each[1])),
        Series("loader", "s", tuple(seconds_each[0]), "training step"),
    )
    write("loader", arguments, series)
