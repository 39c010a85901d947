"""Pretrains the models that a comparison lacks, and estimates how long that takes."""

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
from crosspoint.train.pretrain.pairs import PairSource, StepSampler, make_loader
from crosspoint.train.pretrain.pretrain import PretrainRun, choose_device, train
from crosspoint.train.pretrain.recipes import Recipe, make_recipe

TIMED_STEPS = 3  # after one step that is not timed


class Planned(NamedTuple):
    """A run to do: the role of its model, its recipe and its folder."""

    role: str
    recipe: Recipe
    out: Path


def plan(
    roles: Sequence[str], field: str, *, recipe: str | None, overrides: Sequence[str], seeds: int, out: Path
) -> list[Planned]:
    """Plan one run for each role and seed, each in a folder of its own.

    Args:
        roles: Values of the recipe's `field`.
        field: A field of recipes; empty if there is one role.
        recipe: Name of a recipe; None: `clean`.
        overrides: `key=value` for its fields.
        seeds: Runs per role, with consecutive seeds.
        out: Folder of the runs.

    Raises:
        InputError: The recipe does not exist, or a value is invalid.
    """
    planned = []
    for role in roles:
        own = (*overrides, f"{field}={role}") if field else overrides
        first = make_recipe(recipe or "clean", own)
        for number in range(seeds):
            seeded = dataclasses.replace(first, seed=first.seed + number)
            planned.append(Planned(role, seeded, out / f"{role}-{seeded.seed}"))
    return planned


def seconds_of(recipe: Recipe, source: PairSource, *, device: str | None, workers: int = 0) -> float:
    """Estimated duration of a run in seconds, from the median of a few steps with a temporary network.

    Raises:
        InputError: The data does not fit the recipe, or the device does not exist.
    """
    where = choose_device(device)
    with tempfile.TemporaryDirectory() as nowhere:
        run = PretrainRun(recipe, source, out=Path(nowhere), device=where, group=ProcessGroup())
        steps = StepSampler(len(source), recipe)
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
    """Train every run, or continue it if it was interrupted; returns the run folders by role.

    Raises:
        InputError: The data or a folder cannot be used.
        Stopped: The user interrupted; the same command continues.
    """
    made: dict[str, list[str]] = {}
    for role, recipe, out in planned:
        train(pairs, out, recipe=recipe, resume=True, device=device, options=RunOptions(workers))
        made.setdefault(role, []).append(str(out))
    return made
