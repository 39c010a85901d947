"""A run on a GPU: the same files, finite losses that fall, and a stop that loses nothing."""

import json
import os
import signal

import pytest
import torch

from crosspoint.core.system.interrupt import Stopped
from crosspoint.train.pretrain import pretrain
from crosspoint.train.pretrain.options import RunOptions
from crosspoint.train.pretrain.pretrain import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no NVIDIA GPU"),
]


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("backbone", ["dgcnn", "pointnet", "dgcnn_seg"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_loss_falls(pairs, tmp_path, small, backbone, precision):
    overrides = (*small, "epochs=15", f"backbone={backbone}", f"precision={precision}")
    result = train(pairs, tmp_path / "run", recipe="quick", overrides=overrides, options=RunOptions(2))
    assert result.device == "cuda"
    values = losses(tmp_path / "run")
    assert len(values) == 45
    assert sum(values[-10:]) < sum(values[:10])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_interrupted_run_goes_on(pairs, tmp_path, small, monkeypatch, precision):
    original = pretrain.PretrainRun.train_step

    def step_and_interrupt(run, batch, rate):
        if run.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(run, batch, rate)

    overrides = (*small, "backbone=pointnet", f"precision={precision}")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(pairs, whole, recipe="quick", overrides=overrides, options=RunOptions(0))
    with monkeypatch.context() as patch:
        patch.setattr(pretrain.PretrainRun, "train_step", step_and_interrupt)
        with pytest.raises(Stopped, match="after step 3 of 6"):
            train(pairs, broken, recipe="quick", overrides=overrides, options=RunOptions(0))
    train(pairs, broken, resume=True, options=RunOptions(0))
    ours, theirs = losses(broken), losses(whole)
    assert ours[:3] == pytest.approx(theirs[:3], rel=1e-3)
    assert ours == pytest.approx(theirs, rel=0.05)  # a GPU adds gradients in no fixed order, and steps spread that


def test_a_checkpoint_of_a_gpu_goes_on_without_one(pairs, tmp_path, small):
    train(pairs, tmp_path / "first", recipe="quick", overrides=small, device="cuda", options=RunOptions(0))
    result = train(
        pairs,
        tmp_path / "second",
        recipe="quick",
        overrides=small,
        device="cpu",
        options=RunOptions(0),
        init=tmp_path / "first",
    )
    assert result.device == "cpu"
