"""Options of a training that do not change what is trained."""

from dataclasses import dataclass
from pathlib import Path

CHECKPOINT_SECONDS = 600.0


@dataclass(frozen=True)
class RunOptions:
    """What a run does besides training; the weights are the same with other values.

    Attributes:
        workers: Processes that read data; None for half of the cores.
        checkpoint_seconds: Time between checkpoints, in seconds.
        probe: Labelled clouds for a linear probe (`crosspoint.train.pretrain.probe.LinearProbe`); None for no probe.
        probe_every: Epochs between two probes.
    """

    workers: int | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    probe: Path | None = None
    probe_every: int = 1
