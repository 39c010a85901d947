"""The loop's wiring: which epoch a step belongs to, when a checkpoint is written, and what ends a run."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import torch

from crosspoint.core.system.interrupt import Stopped
from crosspoint.train.engine import loop
from crosspoint.train.engine.distributed import ProcessGroup
from crosspoint.train.engine.loop import run_steps


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@dataclass
class Run:
    """The least that the loop counts steps of."""

    out: object
    recipe: object = field(default_factory=lambda: SimpleNamespace(batch=2, epochs=2))
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (immutable)
    group: ProcessGroup = field(default_factory=ProcessGroup)
    step: int = 0
    saved: list = field(default_factory=list)

    def save(self):
        self.saved.append(self.step)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(loop, "time", clock)
    return clock


def test_steps_belong_to_the_epoch_in_which_they_begin(tmp_path, clock):
    epochs = []
    run_steps(
        Run(tmp_path),
        range(6),
        per_epoch=3,
        checkpoint_seconds=1e9,
        train=lambda _, epoch: epochs.append(epoch) or {"loss": 1.0},
        measure=dict,
    )
    assert epochs == [0, 0, 0, 1, 1, 1]


def test_a_resumed_run_goes_on_in_its_epoch(tmp_path, clock):
    epochs = []
    run = Run(tmp_path, step=2)
    run_steps(
        run,
        range(4),
        per_epoch=3,
        checkpoint_seconds=1e9,
        train=lambda _, epoch: epochs.append(epoch) or {"loss": 1.0},
        measure=dict,
    )
    assert epochs == [0, 1, 1, 1]


def test_checkpoints_are_as_far_apart_as_asked(tmp_path, clock):
    run = Run(tmp_path, recipe=SimpleNamespace(batch=2, epochs=3))

    def train(_, epoch):
        clock.now += 4
        return {"loss": 1.0}

    run_steps(run, range(9), per_epoch=3, checkpoint_seconds=10, train=train, measure=dict)
    assert run.saved == [3, 6, 9, 9], "every 12 seconds, the first time over 10, and at the end"


def test_a_run_that_is_quick_is_saved_at_its_end_alone(tmp_path, clock):
    run = Run(tmp_path)
    run_steps(run, range(6), per_epoch=3, checkpoint_seconds=10, train=lambda *_: {"loss": 1.0}, measure=dict)
    assert run.saved == [6]


def test_what_another_process_meets_stops_this_one_and_saves(tmp_path, clock):
    class Others(ProcessGroup):
        """Stands for two processes of which the other one was asked to stop after the second step."""

        asked = 0

        def any(self, condition, device):
            self.asked += 1
            return condition or self.asked == 3  # the question of stopping, of the time, of stopping

        def wait(self):
            pass

    run = Run(tmp_path, group=Others())
    with pytest.raises(Stopped, match="after step 2 of 6"):
        run_steps(run, range(6), per_epoch=3, checkpoint_seconds=1e9, train=lambda *_: {"loss": 1.0}, measure=dict)
    assert run.saved == [2]


def test_the_state_before_the_first_step_is_measured_too(tmp_path, clock):
    run, measured = Run(tmp_path), []

    def measure():
        measured.append(run.step)
        return {"accuracy": 0.5}

    run_steps(run, range(6), per_epoch=3, checkpoint_seconds=1e9, train=lambda *_: {"loss": 1.0}, measure=measure)
    assert measured == [0, 1, 2, 3, 4, 5, 6]
