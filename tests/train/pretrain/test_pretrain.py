"""The pretraining loop: the run folder, resuming, stopping, and what it says when something is wrong."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.system.interrupt import Stopped
from crosspoint.models.weights import load_model, read_metadata
from crosspoint.train.engine.checkpoint import load_checkpoint, newest
from crosspoint.train.pretrain import pretrain
from crosspoint.train.pretrain.options import RunOptions
from crosspoint.train.pretrain.pretrain import choose_device, learning_rate, train
from crosspoint.train.pretrain.recipes import make_recipe


def metrics(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "objects_per_second"} for line in lines]


def weights(run):
    return {name: load_model(run / f"{name}.safetensors").state_dict() for name in ("encoder", "image_encoder")}


def assert_same(one, two):
    assert metrics(one) == metrics(two)
    for name, state in weights(one).items():
        for key, value in weights(two)[name].items():
            assert torch.equal(state[key], value), (name, key)


@pytest.fixture(scope="module")
def finished(pairs, small, tmp_path_factory):
    run = tmp_path_factory.mktemp("finished") / "run"
    return run, train(pairs, run, recipe="quick", overrides=small, device="cpu", options=RunOptions(0))


def test_run_folder_is_complete(finished):
    run, result = finished
    assert result.steps == 6
    config = json.loads((run / "config.json").read_text())
    assert config["schema"] == "crosspoint.run/1"
    assert config["recipe"]["epochs"] == 2
    assert config["kernels"].startswith("none: " if config["device"] == "cpu" else ("triton ", "none: "))
    assert config["data"]["objects"] == 12
    lines = metrics(run)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert {
        "loss",
        "loss_imid",
        "loss_cmid",
        "learning_rate",
        "gradient_norm",
        "alignment",
        "uniformity",
        "spread",
    } <= set(lines[0])
    assert lines[0]["loss"] == pytest.approx(lines[0]["loss_imid"] + lines[0]["loss_cmid"], abs=1e-5)
    assert list((run / "tensorboard").glob("events*"))
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000006.pt"]
    assert read_metadata(run / "encoder.safetensors").model == {"architecture": "dgcnn", "k": 4}
    assert read_metadata(run / "image_encoder.safetensors").recipe["steps"] == 6


def test_training_moves_the_loss_down(pairs, tmp_path, small):
    train(
        pairs,
        tmp_path / "run",
        recipe="quick",
        overrides=(*small, "epochs=15", "backbone=pointnet"),
        device="cpu",
        options=RunOptions(0),
    )
    losses = [line["loss"] for line in metrics(tmp_path / "run")]
    assert sum(losses[-5:]) < sum(losses[:5])


def test_resuming_a_finished_run_says_what_it_ended_with(finished, pairs):
    run, result = finished
    again = train(pairs, run, resume=True, device="cpu", options=RunOptions(0))
    assert again.steps == 6
    assert again.last["loss"] == result.last["loss"]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_run_ends_as_if_it_had_not_been(finished, pairs, tmp_path, small, monkeypatch, workers):
    original = pretrain.PretrainRun.train_step

    def step_and_interrupt(run, batch, rate):
        if run.step in (1, 3):
            os.kill(os.getpid(), signal.SIGTERM if run.step == 1 else signal.SIGINT)
        return original(run, batch, rate)

    out = tmp_path / "run"
    monkeypatch.setattr(pretrain.PretrainRun, "train_step", step_and_interrupt)
    for stopped_at in (2, 4):
        with pytest.raises(Stopped, match=f"after step {stopped_at} of 6"):
            train(pairs, out, recipe="quick", overrides=small, resume=True, device="cpu", options=RunOptions(workers))
    train(pairs, out, resume=True, device="cpu", options=RunOptions(workers))
    assert_same(out, finished[0])


def test_the_checkpoint_before_is_used_when_the_newest_is_damaged(
    finished, pairs, tmp_path, small, monkeypatch, capsys
):
    out = tmp_path / "run"
    train(pairs, out, recipe="quick", overrides=small, device="cpu", options=RunOptions(0, checkpoint_seconds=0))
    newest = sorted((out / "checkpoints").iterdir())[-1]
    assert len(list((out / "checkpoints").iterdir())) == 2
    newest.write_bytes(newest.read_bytes()[:1000])
    train(pairs, out, resume=True, device="cpu", options=RunOptions(0))
    assert "going back to the one before" in capsys.readouterr().err
    assert_same(out, finished[0])
    for path in (out / "checkpoints").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"no checkpoint in .* can be read"):
        train(pairs, out, resume=True, device="cpu", options=RunOptions(0))


def test_a_full_disk_keeps_the_checkpoints_before(pairs, tmp_path, small, monkeypatch):
    original, out = torch.save, tmp_path / "run"

    def save(value, path):
        if value["step"] == 3:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        original(value, path)

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(InputError, match=r"cannot write .*step-00000003.pt: No space left on device; free space"):
        train(pairs, out, recipe="quick", overrides=small, device="cpu", options=RunOptions(0, checkpoint_seconds=0))
    names = sorted(path.name for path in (out / "checkpoints").iterdir())
    assert names == ["step-00000001.pt", "step-00000002.pt"]


@pytest.mark.parametrize("objective", ["imid", "cmid"])
@pytest.mark.parametrize("backbone", ["dgcnn", "pointnet", "dgcnn_seg"])
def test_objectives_and_backbones(pairs, tmp_path, small, objective, backbone):
    overrides = (*small, f"objective={objective}", f"backbone={backbone}", "epochs=1", "views=2")
    result = train(pairs, tmp_path / "run", recipe="clean", overrides=overrides, device="cpu", options=RunOptions(0))
    assert result.last["loss"] == result.last[f"loss_{objective}"]
    assert (tmp_path / "run" / "image_encoder.safetensors").exists() == (objective == "cmid")


@pytest.mark.parametrize("recipe", ["official", "paper"])
def test_published_recipes_run(pairs, tmp_path, small, recipe):
    result = train(
        pairs, tmp_path / "run", recipe=recipe, overrides=(*small, "epochs=1"), device="cpu", options=RunOptions(0)
    )
    assert result.steps == 3


def test_bf16_stays_close_to_fp32(pairs, tmp_path, small, finished):
    train(
        pairs,
        tmp_path / "run",
        recipe="quick",
        overrides=(*small, "precision=bf16"),
        device="cpu",
        options=RunOptions(0),
    )
    low, full = metrics(tmp_path / "run")[0], metrics(finished[0])[0]
    assert low["loss"] == pytest.approx(full["loss"], rel=0.05)
    assert low["loss"] != full["loss"]


def test_schedules():
    official, clean = make_recipe("official"), make_recipe("clean")
    assert learning_rate(clean, 0) == 1e-3
    assert learning_rate(official, 99) == pytest.approx(0, abs=1e-12)
    assert learning_rate(official, 10) == learning_rate(clean, 11)
    optimiser = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=100)
    for epoch in range(100):
        assert learning_rate(clean, epoch) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-12)
        optimiser.step()
        scheduler.step()


def test_a_loss_that_is_not_finite_stops_with_the_items(pairs, tmp_path, small, monkeypatch):
    original = pretrain.augment_points

    def poisoned(*arguments, **options):
        return original(*arguments, **options) * float("nan")

    monkeypatch.setattr(pretrain, "augment_points", poisoned)
    with pytest.raises(
        CheckFailed, match=r"the loss is nan in step 1, with c\d/object\d\d, .*last good checkpoint is none"
    ):
        train(pairs, tmp_path / "run", recipe="quick", overrides=small, device="cpu", options=RunOptions(0))


def test_mistakes_are_one_line(finished, pairs, tmp_path, small):
    run = finished[0]
    with pytest.raises(InputError, match="already holds a run"):
        train(pairs, run, recipe="quick", overrides=small)
    with pytest.raises(InputError, match=r"another recipe \(batch was 4, now 6\)"):
        train(pairs, run, recipe="quick", overrides=(*small, "batch=6"), resume=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(InputError, match="exists and is not a run"):
        train(pairs, tmp_path / "full", recipe="quick", overrides=small)
    with pytest.raises(InputError, match="fewer than a batch of 50"):
        train(pairs, tmp_path / "a", recipe="quick", overrides=(*small, "batch=50"), device="cpu")
    with pytest.raises(InputError, match="has 64 points, the recipe asks for 100"):
        train(
            pairs, tmp_path / "b", recipe="quick", overrides=(*small, "points=100"), device="cpu", options=RunOptions(0)
        )
    with pytest.raises(InputError, match="has 3 renderings, the recipe asks for 4"):
        train(pairs, tmp_path / "c", recipe="quick", overrides=(*small, "views=4"), device="cpu", options=RunOptions(0))
    with pytest.raises(InputError, match="is not a device"):
        train(pairs, tmp_path / "d", recipe="quick", overrides=small, device="tpu!")


def test_command_line_reports_mistakes_without_a_trace(pairs, tmp_path):
    command = [sys.executable, "-m", "crosspoint", "train", "--data", str(pairs), "--out", str(tmp_path / "run")]
    for arguments, message in [
        (["--set", "batchs=3"], "did you mean batch"),
        (["--recipe", "cleen"], "is not one of 'clean'"),
    ]:
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "run").exists()


def test_a_run_starts_from_all_branches_of_another(finished, pairs, tmp_path, small):
    out, overrides = tmp_path / "run", (*small, "learning_rate=1e-12", "epochs=1", "points=24")
    train(pairs, out, recipe="quick", overrides=overrides, device="cpu", options=RunOptions(0), init=finished[0])
    one, two = (load_checkpoint(run / "checkpoints") for run in (finished[0], out))
    assert "image_head.0.weight" in one["network"]
    for name, values in one["network"].items():
        if "running" not in name and "num_batches" not in name:
            assert torch.allclose(values, two["network"][name], atol=1e-9), name
    origin = json.loads((out / "config.json").read_text())["init_sha256"]
    assert origin == hashlib.sha256(newest(finished[0] / "checkpoints").read_bytes()).hexdigest()
    with pytest.raises(InputError, match="holds no points like the recipe's"):
        train(
            pairs,
            tmp_path / "other",
            recipe="quick",
            overrides=(*small, "backbone=pointnet"),
            device="cpu",
            init=finished[0],
        )
    with pytest.raises(InputError, match="has no checkpoint"):
        train(pairs, tmp_path / "other", recipe="quick", overrides=small, device="cpu", init=tmp_path)


def test_a_run_starts_from_given_weights_and_cannot_change_them(finished, pairs, tmp_path, small):
    weights, out = finished[0] / "encoder.safetensors", tmp_path / "run"
    overrides = (*small, "learning_rate=1e-12", "objective=imid", "epochs=1")
    train(pairs, out, recipe="quick", overrides=overrides, device="cpu", options=RunOptions(0), init=weights)
    started, ended = load_model(weights), load_model(out / "encoder.safetensors")
    for (name, one), two in zip(started.named_parameters(), ended.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-9), name
    digest = json.loads((out / "config.json").read_text())["init_sha256"]
    assert digest == hashlib.sha256(weights.read_bytes()).hexdigest()
    other = finished[0] / "image_encoder.safetensors"
    with pytest.raises(InputError, match="started from weights with SHA-256"):
        train(pairs, out, resume=True, device="cpu", options=RunOptions(0), init=other)
    with pytest.raises(InputError, match="holds a resnet, the recipe trains a dgcnn"):
        train(
            pairs, tmp_path / "other", recipe="quick", overrides=small, device="cpu", options=RunOptions(0), init=other
        )
    with pytest.raises(InputError, match="does not exist"):
        train(
            pairs,
            tmp_path / "other",
            recipe="quick",
            overrides=small,
            device="cpu",
            options=RunOptions(0),
            init=tmp_path / "none",
        )


@pytest.mark.parametrize("there", [True, False])
def test_a_cuda_device_is_taken_only_where_there_is_one(there, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device(None) == torch.device("cuda" if there else "cpu")
    assert choose_device("cpu") == torch.device("cpu")
    if there:
        assert choose_device("cuda:1") == torch.device("cuda:1")
    else:
        with pytest.raises(InputError, match="no CUDA device is available to PyTorch; give --device cpu"):
            choose_device("cuda")
    for wrong in ("mps", "nonsense"):
        with pytest.raises(InputError, match=f"'{wrong}'"):
            choose_device(wrong)
