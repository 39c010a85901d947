"""Metrics of a training run: alignment, uniformity and spread of the embeddings, and the files that record them."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TypeGuard

import torch
from torch import Tensor
from torch.nn import functional

from crosspoint.core.errors import InputError
from crosspoint.core.files import atomic_file, writing
from crosspoint.core.reading import readable, reading

AGAIN = "restore the file, or remove it and lose its lines"


@torch.no_grad()
def embedding_health(first: Tensor, second: Tensor) -> dict[str, float]:
    """Alignment and uniformity (Wang and Isola, 2020, eqs 1–2) and spread of two views' projections `(B, D)`.

    `alignment` is the mean squared distance between the two views of a sample. `uniformity` is the logarithm of the
    mean Gaussian potential `exp(−2 d²)` over pairs of samples. `spread` is the mean standard deviation of the
    normalised coordinates times √D: 1 for a uniform sphere, 0 for a collapsed embedding.
    """
    one, two = functional.normalize(first.float(), dim=1), functional.normalize(second.float(), dim=1)
    return {
        "alignment": (one - two).square().sum(dim=1).mean().item(),
        "uniformity": torch.pdist(one).square().mul(-2).exp().mean().log().item(),
        "spread": (one.std(dim=0).mean() * one.shape[1] ** 0.5).item(),
    }


class Recorder:
    """Writes metrics to `metrics.jsonl` and as TensorBoard events. On resuming, lines after `step` are removed.

    Args:
        run: Run folder.
        step: Number of steps done so far.

    Raises:
        InputError: `metrics.jsonl` is damaged.
    """

    def __init__(self, run: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path = run / "metrics.jsonl"
        kept = [values for values in _steps(self.path) if values["step"] <= step] if step else []
        with atomic_file(self.path) as temporary:
            temporary.write_text("".join(json.dumps(values) + "\n" for values in kept))
        self.last: dict[str, float] = kept[-1] if kept else {}
        self.file = self.path.open("a")
        self.events = SummaryWriter(run / "tensorboard", purge_step=step + 1 if step else None)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Record the metrics of one step; numbers also go to TensorBoard."""
        with writing(self.path):
            self.file.write(json.dumps({"step": step, **values}) + "\n")
            for name, value in values.items():
                self.events.add_scalar(name, value, step)

    def flush(self) -> None:
        """Sync everything to disk."""
        with writing(self.path):
            self.file.flush()
            self.events.flush()

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with writing(self.path):
            self.file.close()
            self.events.close()


def _steps(path: Path) -> Iterator[dict[str, float]]:
    """The steps recorded in a file; an incomplete last line, left by a killed run, is skipped.

    Raises:
        InputError: The file is not a regular file, or a line is not a step.
    """
    if not path.exists():
        return
    readable(path)
    with reading(path, "the metrics of a run", advice=AGAIN), path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                return
            values = json.loads(line)
            if not _is_step(values):
                raise InputError(f"line {number} is no step of a run; {AGAIN}")
            yield values


def _is_step(values: object) -> TypeGuard[dict[str, float]]:
    """Whether a line holds the number of its step, and numbers otherwise."""
    numbers = isinstance(values, dict) and all(isinstance(value, int | float) for value in values.values())
    return isinstance(values, dict) and numbers and type(values.get("step")) is int
