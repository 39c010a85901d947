"""The loop that pretraining and fine-tuning share: steps, metrics, checkpoints, and stopping without a loss."""

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

import torch

from crosspoint.core.results import FLAT, Result
from crosspoint.core.system.interrupt import Stopped, stop_signals
from crosspoint.train.engine.distributed import ProcessGroup
from crosspoint.train.engine.metrics import Recorder
from crosspoint.train.engine.progress import Progress

B = TypeVar("B")


class Budget(Protocol):
    """What the loop has to know of a recipe."""

    @property
    def batch(self) -> int:
        """Objects in a step, over all processes."""

    @property
    def epochs(self) -> int:
        """Passes over the data."""


class Trained(Protocol):
    """A run whose steps the loop counts."""

    out: Path
    device: torch.device
    group: ProcessGroup
    step: int

    @property
    def recipe(self) -> Budget:
        """Of the run."""

    def save(self) -> None:
        """Write a checkpoint."""


@dataclass(frozen=True)
class TrainResult(Result):
    """What a run came to.

    Attributes:
        out: The run's folder.
        steps: That the run has done.
        epochs: Of its recipe.
        seconds: Of this process, without what was done before it.
        device: Where it trained.
        rank: Of this process; 0 speaks for all.
        processes: That shared each batch.
        last: What was last recorded, as `loss`.
    """

    schema: ClassVar[str] = "crosspoint.train/1"

    out: str
    steps: int
    epochs: int
    seconds: float
    device: str
    rank: int
    processes: int
    last: dict[str, float] = field(metadata=FLAT)


def run_steps(
    run: Trained,
    batches: Iterable[B],
    *,
    per_epoch: int,
    checkpoint_seconds: float,
    train: Callable[[B, int], dict[str, float]],
    measure: Callable[[], dict[str, float]],
) -> TrainResult:
    """Train on every batch, record each step, save now and then and at the end.

    Args:
        run: What is trained.
        batches: Of the steps that are left.
        per_epoch: Steps of an epoch.
        checkpoint_seconds: Time between checkpoints.
        train: One step on a batch in an epoch; returns what is recorded of it.
        measure: What else is recorded of the state after `run.step` steps, before the first one too; it is asked in
            the leading process alone, and its time does not count into the speed.

    Raises:
        Stopped: SIGINT, SIGTERM or SIGHUP arrived; the state is saved.
    """
    group, total = run.group, per_epoch * run.recipe.epochs
    started = saved = time.monotonic()
    title = f"Training on {group.size} × {run.device.type}" if group.size > 1 else f"On {run.device}"
    with (
        Recorder(run.out, run.step) if group.is_main else nullcontext() as recorder,
        Progress(title, run.step, total=total, visible=group.is_main) as progress,
        stop_signals() as signals,
    ):
        values = recorder.last if recorder is not None else {}
        if recorder is not None and run.step == 0 and (first := measure()):
            recorder.write(0, first)
            progress.pause_ended()
        for batch in batches:
            epoch = run.step // per_epoch
            values = {"epoch": epoch, **train(batch, epoch)}
            run.step += 1
            values["objects_per_second"] = progress.advance(values, run.recipe.batch)
            if recorder is not None:
                if measured := measure():
                    values |= measured
                    progress.pause_ended()
                recorder.write(run.step, values)
            stop = group.any(bool(signals), run.device)
            if stop or group.any(time.monotonic() - saved > checkpoint_seconds, run.device):
                if recorder is not None:
                    recorder.flush()
                run.save()
                saved = time.monotonic()
            if stop:
                message = f"stopped after step {run.step} of {total}, saved; go on with --resume"
                raise Stopped(message, *signals[:1])
        if recorder is not None:
            recorder.flush()
    run.save()
    group.wait()
    return TrainResult(
        out=str(run.out),
        steps=run.step,
        epochs=run.recipe.epochs,
        seconds=round(time.monotonic() - started, 1),
        device=str(run.device),
        rank=group.rank,
        processes=group.size,
        last={name: value for name, value in values.items() if name not in ("step", "epoch")},
    )
