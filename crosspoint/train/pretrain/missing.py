"""Pretraining the models that a comparison lacks, and how long that will take."""

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from crosspoint.train.engine.distributed import ProcessGroup
from crosspoint.train.pretrain.options import RunOptions
from crosspoint.train.pretrain.pairs import Source, Steps, make_loader
from crosspoint.train.pretrain.pretrain import Run, choose_device, train
from crosspoint.train.pretrain.recipes import Recipe, make_recipe

TIMED_STEPS = 3  # after one that is not timed


class Planned(NamedTuple):
    """A run to come: the role that its model will have, its recipe and its folder."""

    role: str
    recipe: Recipe
    out: Path


def plan(
    roles: Sequence[str], field: str, *, recipe: str | None, overrides: Sequence[str], seeds: int, out: Path
) -> list[Planned]:
    """One run for each role and seed, in folders of their own.

    Args:
        roles: Values of the recipe's field.
        field: A field of recipes; empty where there is one role, which is the recipe's own.
        recipe: Name of a recipe; `clean` if None.
        overrides: `key=value` for its fields.
        seeds: Runs of each role, with consecutive seeds.
        out: Folder of the runs.

    Raises:
        InputError: The recipe does not exist or a value does not fit.
    """
    planned = []
    for role in roles:
        own = (*overrides, f"{field}={role}") if field else overrides
        first = make_recipe(recipe or "clean", own)
        for number in range(seeds):
            seeded = dataclasses.replace(first, seed=first.seed + number)
            planned.append(Planned(role, seeded, out / f"{role}-{seeded.seed}"))
    return planned


def seconds_of(recipe: Recipe, source: Source, *, device: str | None, workers: int = 0) -> float:
    """How long a whole run will take, from the median of a few steps of a network that is thrown away.

    Raises:
        InputError: The data does not fit the recipe, or the device is not there.
    """
    where = choose_device(device)
    with tempfile.TemporaryDirectory() as nowhere:
        run = Run(recipe, source, out=Path(nowhere), device=where, group=ProcessGroup())
        steps = Steps(len(source), recipe)
        times = []
        start = time.perf_counter()
        for number, batch in enumerate(make_loader(source, recipe, steps=steps, workers=workers)):
            run.train_step(batch, recipe.learning_rate)
            if where.type == "cuda":
                torch.cuda.synchronize(where)
            now = time.perf_counter()
            times.append(now - start)
            start = now
            if number == TIMED_STEPS:
                break
    return statistics.median(times[1:] or times) * len(steps)


def train_all(
    planned: Sequence[Planned], pairs: Path, *, device: str | None, workers: int | None
) -> dict[str, list[str]]:
    """Train every run, or go on with it where it was interrupted; returns the run folders by role.

    Raises:
        InputError: The data or a folder cannot be used.
        Stopped: The user interrupted; the same command goes on.
    """
    made: dict[str, list[str]] = {}
    for role, recipe, out in planned:
        train(pairs, out, recipe=recipe, resume=True, device=device, options=RunOptions(workers))
        made.setdefault(role, []).append(str(out))
    return made
