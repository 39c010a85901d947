"""Several processes compute what one does with the whole batch: losses, gradients and parameters."""

import json
import os
import subprocess
import sys

import pytest
import torch
from object_pairs import MadeObjects
from ranks import run_ranks

from crosspoint.train.engine.distributed import processes
from crosspoint.train.pretrain.pairs import StepSampler, make_loader
from crosspoint.train.pretrain.pretrain import PretrainRun, learning_rate
from crosspoint.train.pretrain.recipes import make_recipe

STEPS = 3


def train_some(overrides, folder):
    """Three steps in float64; gradients, parameters and losses of this process."""
    recipe = make_recipe("quick", ["points=24", "k=4", "batch=8", "image_size=32", *overrides])
    with processes(torch.device("cpu")) as (group, device):
        run = PretrainRun(recipe, MadeObjects(16), out=folder, device=device, group=group)
        run.network.double()
        run.wrap_ddp()
        steps = StepSampler(len(run.source), recipe, start=0, rank=group.rank, size=group.size)
        losses = []
        for batch in make_loader(run.source, recipe, steps=steps, workers=0):
            losses.append(run.train_step(batch, learning_rate(recipe, 0)))
            run.step += 1
            if run.step == STEPS:
                break
        clean = {name.removeprefix("module."): value for name, value in run.network.state_dict().items()}
        gradients = {name: parameter.grad for name, parameter in run.network.named_parameters()}
        return group.rank, losses, clean, gradients


def assert_equal(one, other):
    for key, value in one.items():
        scale = max(1.0, value.abs().max().item())
        assert (value - other[key]).abs().max() <= 1e-10 * scale, key


@pytest.mark.parametrize("backbone", ["dgcnn", "pointnet"])
@pytest.mark.parametrize("size", [2, 4])
def test_processes_equal_one_process_with_the_whole_batch(tmp_path, size, backbone):
    overrides = (f"backbone={backbone}", "image_depth=18", "learning_rate=0.0001")
    _, losses, state, gradients = train_some(overrides, tmp_path)
    for _, other_losses, other_state, other_gradients in run_ranks(size, tmp_path, train_some, overrides, tmp_path):
        for step, other in zip(losses, other_losses, strict=True):
            for name in ("loss", "loss_imid", "loss_cmid", "gradient_norm"):
                assert other[name] == pytest.approx(step[name], abs=1e-9)
        assert_equal(gradients, other_gradients)
        assert_equal(state, other_state)


def ask():
    """What two processes agree on: a condition that holds in one of them, in both, in none; means; gathered rows."""
    with processes(torch.device("cpu")) as (group, device):
        rank = group.rank
        mine = torch.full((1, 2), float(rank + 1), requires_grad=True)
        rows = group.gather(mine)
        (rows * torch.tensor([[1.0], [10.0]]) * (rank + 1)).sum().backward()
        return {
            "any": [group.any(bool(case >> rank & 1), device) for case in range(4)],
            "mean": group.mean({"a": float(rank), "b": 4.0}, device),
            "rows": rows.tolist(),
            "gradient": mine.grad.tolist(),
            "leads": group.is_main,
        }


def test_two_processes_know_of_each_other(tmp_path):
    for rank, found in enumerate(run_ranks(2, tmp_path, ask)):
        assert found["any"] == [False, True, True, True], "a NaN or a signal in one process is one for all"
        assert found["mean"] == {"a": 0.5, "b": 4.0}
        assert found["rows"] == [[1.0, 1.0], [2.0, 2.0]]
        assert found["gradient"] == [[3.0, 3.0]] if rank == 0 else [[30.0, 30.0]]
        assert found["leads"] == (rank == 0)


def test_local_negatives_are_another_objective(tmp_path):
    overrides = ("backbone=pointnet", "objective=imid")
    whole = train_some(overrides, tmp_path)[1][0]["loss"]
    local = run_ranks(2, tmp_path, train_some, (*overrides, "negatives=local"), tmp_path)
    assert local[0][1][0]["loss"] == local[1][1][0]["loss"]
    assert local[0][1][0]["loss"] < whole


def test_every_process_gets_its_own_slice_of_the_same_batches():
    recipe = make_recipe("quick", ["batch=4", "epochs=2"])
    whole = list(StepSampler(18, recipe))
    parts = [list(StepSampler(18, recipe, rank=rank, size=2)) for rank in range(2)]
    assert len(whole) == 8
    assert [a + b for a, b in zip(*parts, strict=True)] == whole
    for epoch in (0, 1):
        objects = [i for batch in whole[4 * epoch : 4 * epoch + 4] for _, i in batch]
        assert len(set(objects)) == 16, "no object twice in an epoch"
    assert list(StepSampler(18, recipe, start=5)) == whole[5:]


DIES = """
import os, signal
from crosspoint.cli import main
from crosspoint.train.pretrain import pretrain

original = pretrain.PretrainRun.train_step

def train_step(run, batch, rate):
    if run.group.rank == 1 and run.step == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(run, batch, rate)

if os.environ["DIES"] == "yes":
    pretrain.PretrainRun.train_step = train_step
options = pretrain.RunOptions(workers=0, checkpoint_seconds=0)
train = pretrain.train
pretrain.train = lambda *given, **named: train(*given, **{**named, "options": options})
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
