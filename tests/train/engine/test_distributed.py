"""Several processes compute what one does with the whole batch: losses, gradients and parameters."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import multiprocessing

from crosspoint.train.engine.distributed import processes
from crosspoint.train.pretrain.pairs import Steps, make_loader
from crosspoint.train.pretrain.pretrain import Run, learning_rate
from crosspoint.train.pretrain.recipes import make_recipe

STEPS = 3


class Objects:
    """Clouds and pictures made up from their number."""

    keys = tuple(f"c/{i}" for i in range(16))

    def __len__(self):
        return len(self.keys)

    def points(self, i):
        return np.random.default_rng(i).normal(size=(24, 3)).astype(np.float32)

    def views(self, i):
        return 2

    def image(self, i, view):
        return np.random.default_rng((i, view)).integers(0, 256, (32, 32, 4), dtype=np.uint8)


def train_some(overrides, folder):
    """Three steps in float64; gradients, parameters and losses of this process."""
    recipe = make_recipe("quick", ["points=24", "k=4", "batch=8", "image_size=32", *overrides])
    with processes(torch.device("cpu")) as (group, device):
        run = Run(recipe, Objects(), out=folder, device=device, group=group)
        run.network.double()
        run.wrap_ddp()
        steps = Steps(len(run.source), recipe, start=0, rank=group.rank, size=group.size)
        losses = []
        for batch in make_loader(run.source, recipe, steps=steps, workers=0):
            losses.append(run.train_step(batch, learning_rate(recipe, 0)))
            run.step += 1
            if run.step == STEPS:
                break
        clean = {name.removeprefix("module."): value for name, value in run.network.state_dict().items()}
        gradients = {name: parameter.grad for name, parameter in run.network.named_parameters()}
        return group.rank, losses, clean, gradients


def worker(rank, size, port, overrides, folder):
    torch.set_num_threads(1)
    os.environ |= {
        "TORCHELASTIC_RUN_ID": "test",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.save(train_some(overrides, folder), folder / f"{rank}.pt")


def run_processes(size, overrides, folder):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.start_processes(worker, (size, port, overrides, folder), size, start_method="spawn")
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(size)]


def assert_equal(one, other):
    for key, value in one.items():
        scale = max(1.0, value.abs().max().item())
        assert (value - other[key]).abs().max() <= 1e-10 * scale, key


@pytest.mark.parametrize("backbone", ["dgcnn", "pointnet"])
@pytest.mark.parametrize("size", [2, 4])
def test_processes_equal_one_process_with_the_whole_batch(tmp_path, size, backbone):
    overrides = (f"backbone={backbone}", "image_depth=18", "learning_rate=0.0001")
    _, losses, state, gradients = train_some(overrides, tmp_path)
    for _, other_losses, other_state, other_gradients in run_processes(size, overrides, tmp_path):
        for step, other in zip(losses, other_losses, strict=True):
            for name in ("loss", "loss_imid", "loss_cmid", "gradient_norm"):
                assert other[name] == pytest.approx(step[name], abs=1e-9)
        assert_equal(gradients, other_gradients)
        assert_equal(state, other_state)


def asks(rank, port, folder):
    """What two processes agree on: a condition that holds in one of them, in both, in none; means; gathered rows."""
    torch.set_num_threads(1)
    os.environ |= {"TORCHELASTIC_RUN_ID": "test", "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    with processes(torch.device("cpu")) as (group, device):
        mine = torch.full((1, 2), float(rank + 1), requires_grad=True)
        rows = group.gather(mine)
        (rows * torch.tensor([[1.0], [10.0]]) * (rank + 1)).sum().backward()
        found = {
            "any": [group.any(bool(case >> rank & 1), device) for case in range(4)],
            "mean": group.mean({"a": float(rank), "b": 4.0}, device),
            "rows": rows.tolist(),
            "gradient": mine.grad.tolist(),
            "leads": group.is_main,
        }
        torch.save(found, folder / f"{rank}.pt")


def test_two_processes_know_of_each_other(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    multiprocessing.start_processes(asks, (port, tmp_path), 2, start_method="spawn")
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert found["any"] == [False, True, True, True], "a NaN or a signal in one process is one for all"
        assert found["mean"] == {"a": 0.5, "b": 4.0}
        assert found["rows"] == [[1.0, 1.0], [2.0, 2.0]]
        assert found["gradient"] == [[3.0, 3.0]] if rank == 0 else [[30.0, 30.0]]
        assert found["leads"] == (rank == 0)


def test_local_negatives_are_another_objective(tmp_path):
    overrides = ("backbone=pointnet", "objective=imid")
    whole = train_some(overrides, tmp_path)[1][0]["loss"]
    local = run_processes(2, (*overrides, "negatives=local"), tmp_path)
    assert local[0][1][0]["loss"] == local[1][1][0]["loss"]
    assert local[0][1][0]["loss"] < whole


def test_every_process_gets_its_own_slice_of_the_same_batches():
    recipe = make_recipe("quick", ["batch=4", "epochs=2"])
    whole = list(Steps(18, recipe))
    parts = [list(Steps(18, recipe, rank=rank, size=2)) for rank in range(2)]
    assert len(whole) == 8
    assert [a + b for a, b in zip(*parts, strict=True)] == whole
    for epoch in (0, 1):
        objects = [i for batch in whole[4 * epoch : 4 * epoch + 4] for _, i in batch]
        assert len(set(objects)) == 16, "no object twice in an epoch"
    assert list(Steps(18, recipe, start=5)) == whole[5:]


DIES = """
import functools, os, signal
from crosspoint.cli import main
from crosspoint.train.pretrain import pretrain

original = pretrain.Run.train_step

def train_step(run, batch, rate):
    if run.group.rank == 1 and run.step == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(run, batch, rate)

if os.environ["DIES"] == "yes":
    pretrain.Run.train_step = train_step
pretrain.train = functools.partial(pretrain.train, checkpoint_seconds=0)
main()
"""


def test_a_process_that_dies_ends_the_job_with_a_message_and_the_run_can_be_resumed(pairs, small, tmp_path):
    (tmp_path / "job.py").write_text(DIES)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    overrides = [word for pair in (*small, "backbone=pointnet", "objective=imid") for word in ("--set", pair)]
    run = tmp_path / "run"
    command = [*launch, str(tmp_path / "job.py"), "train", "--data", str(pairs), "--recipe", "quick", *overrides]
    command += ["--out", str(run), "--device", "cpu", "--workers", "0"]
    died = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "DIES": "yes"})
    assert died.returncode != 0
    assert "another process of this run ended" in died.stderr
    assert "then --resume" in died.stderr
    assert [path.name for path in sorted((run / "checkpoints").iterdir())] == ["step-00000001.pt", "step-00000002.pt"]
    resumed = subprocess.run(
        [*command, "--resume"], capture_output=True, text=True, check=False, env={**os.environ, "DIES": "no"}
    )
    assert resumed.returncode == 0, resumed.stderr
    assert "6 steps" in resumed.stdout
    lines = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines == [1, 2, 3, 4, 5, 6]
