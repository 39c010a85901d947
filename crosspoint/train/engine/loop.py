"""The training loop of pretraining and fine-tuning: steps, metrics, checkpoints, and a clean stop."""

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

import torch

from crosspoint.core.console import announce
from crosspoint.core.results import FLAT, Result
from crosspoint.core.system.interrupt import Stopped, stop_signals
from crosspoint.models.kernels.choice import choose_kernels
from crosspoint.train.engine.distributed import ProcessGroup
from crosspoint.train.engine.metrics import Recorder
from crosspoint.train.engine.progress import Progress

B = TypeVar("B")


class Budget(Protocol):
    """The part of a recipe that the loop needs."""

    @property
    def batch(self) -> int:
        """Objects per step, over all processes."""

    @property
    def epochs(self) -> int:
        """Passes over the data."""


class Trained(Protocol):
    """A run that the loop can train."""

    out: Path
    device: torch.device
    group: ProcessGroup
    step: int

    @property
    def recipe(self) -> Budget:
        """Recipe of the run."""

    def save(self) -> None:
        """Write a checkpoint."""


@dataclass(frozen=True)
class TrainResult(Result):
    """The result of a training run.

    Attributes:
        out: Run folder.
        steps: Steps done so far, over all resumed parts of the run.
        epochs: Epochs of the recipe.
        seconds: Duration of this process, not of earlier parts of the run.
        device: Training device.
        rank: Number of this process; 0 is the main process.
        processes: Number of processes that shared each batch.
        last: The last recorded metrics, e.g. `loss`.
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
    """Train on every batch, record each step, and save checkpoints regularly and at the end.

    Args:
        run: The run to train.
        batches: The batches of the remaining steps.
        per_epoch: Steps per epoch.
        checkpoint_seconds: Seconds between checkpoints.
        train: Does one step on a batch of an epoch, and returns the metrics to record.
        measure: Returns further metrics of the state after `run.step` steps, also before the first step. Only the main
            process calls it, and its time does not count for the speed.

    Raises:
        Stopped: SIGINT, SIGTERM or SIGHUP arrived. The state is saved.
    """
    group, total = run.group, per_epoch * run.recipe.epochs
    started = saved = time.monotonic()
    if group.is_main and run.device.type == "cuda":
        announce(f"fused kernels on {run.device}: {choose_kernels(run.device)}")
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
