"""A run killed at any moment, several times, ends with the weights and metrics of one never killed."""

import json
import os
import random
import signal
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

import crosspoint
from crosspoint.models.weights import load_model
from crosspoint.train.pretrain.options import RunOptions
from crosspoint.train.pretrain.pretrain import train

PACKAGE = str(Path(crosspoint.__file__).parent)


def train_on(data, out, overrides):
    """Train, or go on, with a checkpoint after every step."""
    train(
        data,
        out,
        recipe="quick",
        overrides=overrides,
        resume=True,
        device="cpu",
        options=RunOptions(0, checkpoint_seconds=0),
    )


def run_until(moment, data, out, overrides):
    """Train with a checkpoint after every step; die at the given number of executed lines of the package."""
    torch.set_num_threads(1)
    lines = 0

    def trace(frame, event, _):
        nonlocal lines
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        lines += event == "line"
        if event == "line" and lines == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    train_on(data, out, overrides)
    sys.settrace(None)
    (out.parent / f"{out.name}.lines").write_text(str(lines))


def die_in_checkpoint(share, data, out, overrides):
    """Train; die when a share of the third checkpoint's bytes has been written."""
    torch.set_num_threads(1)
    original, calls = torch.save, 0

    def save(value, path):
        nonlocal calls
        calls += 1
        original(value, path)
        if calls == 3:
            os.truncate(path, int(os.path.getsize(path) * share))
            os.kill(os.getpid(), signal.SIGKILL)

    torch.save = save
    train_on(data, out, overrides)


@pytest.fixture(scope="module")
def start():
    """Runs a function in a process of its own and returns the process's exit code."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["crosspoint.train.pretrain.pretrain", "torch.utils.tensorboard"])

    def run(function, *arguments):
        process = context.Process(target=function, args=arguments)
        process.start()
        process.join()
        return process.exitcode

    return run


@pytest.fixture(scope="module")
def tiny(small):
    return (*small, "backbone=pointnet", "objective=imid", "epochs=2")


@pytest.fixture(scope="module")
def whole(start, pairs, tiny, tmp_path_factory):
    """A run never killed, and the number of lines it executed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    assert start(run_until, 0, pairs, out, tiny) == 0
    return out, int((out.parent / "run.lines").read_text())


def outcome(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    metrics = [{key: value for key, value in line.items() if key != "objects_per_second"} for line in lines]
    return metrics, {
        name: tensor.tolist() for name, tensor in load_model(run / "encoder.safetensors").state_dict().items()
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_killed_three_times_at_random_moments(start, pairs, tiny, whole, tmp_path, seed):
    reference, lines = whole
    moments = random.Random(seed)
    out = tmp_path / "run"
    for _ in range(3):
        assert start(run_until, moments.randrange(1, lines * 2 // 3), pairs, out, tiny) in (-signal.SIGKILL, 0)
    assert start(run_until, 0, pairs, out, tiny) == 0
    assert outcome(out) == outcome(reference)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99, 1.0])
def test_killed_in_the_middle_of_writing_a_checkpoint(start, pairs, tiny, whole, tmp_path, share):
    out = tmp_path / "run"
    assert start(die_in_checkpoint, share, pairs, out, tiny) == -signal.SIGKILL
    assert len(list((out / "checkpoints").glob("step-*.pt"))) == 2
    assert start(run_until, 0, pairs, out, tiny) == 0
    assert outcome(out) == outcome(whole[0])
    assert not [*out.rglob(".*")], "nothing half written is left"
