"""What a run reports while it trains: health of the embedding, and the files that record it."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

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

    `alignment` is the mean squared distance of a sample's two views; `uniformity` the log of the mean Gaussian
    potential `exp(−2 d²)` over pairs of samples; `spread` the mean standard deviation of the normalised coordinates
    times √D, which is 1 for a uniform sphere and 0 for a collapsed embedding.
    """
    one, two = functional.normalize(first.float(), dim=1), functional.normalize(second.float(), dim=1)
    return {
        "alignment": (one - two).square().sum(dim=1).mean().item(),
        "uniformity": torch.pdist(one).square().mul(-2).exp().mean().log().item(),
        "spread": (one.std(dim=0).mean() * one.shape[1] ** 0.5).item(),
    }


class Recorder:
    """Writes metrics to `metrics.jsonl` and as TensorBoard events; on resuming, lines after `step` are forgotten.

    Args:
        run: The run's folder.
        step: Number of steps that the run has done.

    Raises:
        InputError: `metrics.jsonl` is damaged.
    """

    def __init__(self, run: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path = run / "metrics.jsonl"
        kept = [values for values in _steps(self.path) if values["step"] <= step] if step else []
        with atomic_file(self.path) as temporary:
            temporary.write_text("".join(json.dumps(values) + "\n" for values in kept))
        self.last: dict[str, Any] = kept[-1] if kept else {}
        self.file = self.path.open("a")
        self.events = SummaryWriter(run / "tensorboard", purge_step=step + 1 if step else None)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Record one step's values; numbers also go to TensorBoard."""
        with writing(self.path):
            self.file.write(json.dumps({"step": step, **values}) + "\n")
            for name, value in values.items():
                self.events.add_scalar(name, value, step)

    def flush(self) -> None:
        """Bring everything to the disk."""
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


def _steps(path: Path) -> Iterator[dict[str, Any]]:
    """The steps in whole lines of a file; what a killed run left half written at its end is dropped.

    Raises:
        InputError: The file is no regular one, or a line is no step.
    """
    if not path.exists():
        return
    readable(path)
    with reading(path, "the metrics of a run", advice=AGAIN), path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                return
            values = json.loads(line)
            if not isinstance(values, dict) or type(values.get("step")) is not int:
                raise InputError(f"line {number} is no step of a run; {AGAIN}")
            yield values
