"""The self-test's verdicts on training, given results that are right, or wrong in one way."""

import subprocess
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from toy_machine import facts_of

from crosspoint.core.errors import CheckFailed
from crosspoint.doctor.self_test import training
from crosspoint.doctor.self_test.step import Context
from crosspoint.doctor.self_test.training import LOSS, TOLERANCE, judge_step

GRADIENT = np.array([3.0, 4.0])  # of length 5
NAN = float("nan")


def with_gpus(count):
    device = {"name": "NVIDIA L4", "compute_capability": "sm89", "memory_gib": 22.0, "supported": True}
    return facts_of(torch={"devices": [device] * count})


@pytest.fixture
def context(tmp_path):
    return Context(tmp_path, with_gpus(1))


def off_by(error):
    """A gradient whose relative error is this."""
    return GRADIENT + 5 * error * np.array([0.8, -0.6])  # across the gradient, so that its length would not tell


def test_the_limits_are_those_that_were_measured():
    assert (TOLERANCE, LOSS) == ({"fp32": 2e-2, "bf16": 0.8, "fp16": 0.5}, 0.05)


@pytest.mark.parametrize("precision", TOLERANCE)
def test_a_gradient_within_its_limit_passes_and_one_beyond_fails(precision):
    limit = TOLERANCE[precision]
    said = judge_step((2.0, GRADIENT), (2.0, off_by(0.99 * limit)), precision=precision)
    assert said.startswith("loss 2.0000 and 2.0000 on the CPU in fp32 (limit 5%), gradients differ by")
    with pytest.raises(CheckFailed, match="gradients differ by"):
        judge_step((2.0, GRADIENT), (2.0, off_by(1.01 * limit)), precision=precision)


@pytest.mark.parametrize("expected", [2.0, -2.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_loss_within_its_limit_passes_and_one_beyond_fails(expected, sign):
    judge_step((expected, GRADIENT), (expected + sign * 0.99 * LOSS * 2, GRADIENT), precision="fp32")
    with pytest.raises(CheckFailed, match=r"gradients differ by 0\.0e"):
        judge_step((expected, GRADIENT), (expected + sign * 1.01 * LOSS * 2, GRADIENT), precision="fp32")


@pytest.mark.parametrize(
    "on_gpu", [(NAN, GRADIENT), (2.0, np.array([NAN, 4.0])), (2.0, np.zeros(2)), (2.0, -GRADIENT), (np.inf, GRADIENT)]
)
@pytest.mark.parametrize("precision", TOLERANCE)
def test_what_no_training_survives_fails_in_every_precision(on_gpu, precision):
    with pytest.raises(CheckFailed):
        judge_step((2.0, GRADIENT), on_gpu, precision=precision)


def test_the_reference_is_the_cpu_in_float32(context, monkeypatch):
    pytest.importorskip("torch")
    outcomes = {("cpu", "fp32"): (2.0, GRADIENT), ("cuda", "fp16"): (2.0, off_by(0.4))}
    monkeypatch.setattr(training, "run_step", lambda *given: outcomes[given])
    assert "gradients differ by 4.0e-01 (limit 0.5)" in training.training_step(context, "fp16")
    outcomes["cuda", "fp16"] = (2.0, off_by(0.6))
    with pytest.raises(CheckFailed, match="gradients differ by"):
        training.training_step(context, "fp16")


def test_a_real_step_in_bf16_passes_its_own_limit_and_not_that_of_fp32():
    pytest.importorskip("torch")
    exact, rounded = (training.run_step("cpu", precision) for precision in ("fp32", "bf16"))
    judge_step(exact, rounded, precision="bf16")
    with pytest.raises(CheckFailed, match="gradients differ by"):
        judge_step(exact, rounded, precision="fp32")


@pytest.mark.parametrize("loss", [NAN, np.inf])
def test_a_loss_that_is_no_number_fails(loss, context, monkeypatch):
    result = SimpleNamespace(last={"loss": loss}, steps=2, device="cpu")
    monkeypatch.setattr(import_module("crosspoint.train.pretrain.pretrain"), "train", lambda *_, **__: result)
    with pytest.raises(CheckFailed, match=r"the loss is (nan|inf)"):
        training.train(context, "run", device="cpu")
    result.last["loss"] = 1.0
    assert training.train(context, "run", device="cpu") == "2 steps on cpu, loss 1.000"


@pytest.mark.parametrize("miou", [NAN, 0.0, 1.5])
def test_a_segmenter_that_segments_nothing_fails(miou, context, monkeypatch):
    result = SimpleNamespace(steps=2, device="cpu", best=SimpleNamespace(instance_miou=miou))
    monkeypatch.setattr(import_module("crosspoint.train.partseg.finetune"), "partseg", lambda *_, **__: result)
    with pytest.raises(CheckFailed, match="the instance mIoU is"):
        training.finetune(context, "run", device="cpu")
    result.best = SimpleNamespace(instance_miou=0.25)
    assert training.finetune(context, "run", device="cpu") == "2 steps on cpu, instance mIoU 0.25"


@pytest.mark.parametrize("code", [1, -9])
def test_processes_that_end_badly_fail(code, context, monkeypatch):
    done = SimpleNamespace(returncode=code, stdout="run: 2 steps", stderr="NCCL said\nno")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(CheckFailed, match=f"torchrun ended with {code}: NCCL said no"):
        training.torchrun(context, 2, device="cuda")
    done.returncode = 0
    assert training.torchrun(context, 2, device="cuda") == "2 process(es); 2 steps"


@pytest.mark.parametrize(("count", "sizes"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (4, [1, 2, 4]), (6, [1, 2, 4, 6])])
def test_nccl_is_tried_on_powers_of_two_and_on_all(count, sizes, tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(training, "torchrun", lambda context, size, *, device: ran.append((size, device)) or str(size))
    assert training.nccl(Context(tmp_path, with_gpus(count))) == "; ".join(map(str, sizes))
    assert ran == [(size, "cuda") for size in sizes]


def test_the_shapes_are_few_and_small(context, monkeypatch):
    given = []
    module = import_module("crosspoint.data.shapes.make_shapes")
    monkeypatch.setattr(module, "make_shapes", lambda *places, **options: given.append((places, options)))
    training.make_shapes(context)
    assert given == [((context.folder / "shapes", module.ShapesSettings(1, 0, views=2, size=32, points=256)), {})]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_what_is_trained_on_cuda_is_in_the_precision_that_was_asked_for(precision, context, monkeypatch):
    given = []
    result = SimpleNamespace(last={"loss": 1.0}, steps=2, device="cuda", best=SimpleNamespace(instance_miou=0.5))
    record = lambda *places, **options: given.append((places, options)) or result  # noqa: E731
    monkeypatch.setattr(import_module("crosspoint.train.pretrain.pretrain"), "train", record)
    monkeypatch.setattr(import_module("crosspoint.train.partseg.finetune"), "partseg", record)
    training.train_on_cuda(context, precision)
    training.finetune_on_cuda(context, precision)
    (data, run), options = given[0]
    common = ("points=128", "k=8", "epochs=1", "seed=0", f"precision={precision}")
    assert (data, run) == (context.folder / "shapes", context.folder / f"run-cuda-{precision}")
    assert sorted(options["overrides"]) == sorted((*common, "batch=16", "image_size=32"))
    assert (options["recipe"], options["resume"], options["device"]) == ("quick", False, "cuda")
    assert options["options"].workers == 0
    (data, run), options = given[1]
    assert (data, run) == (
        context.folder / "shapes" / "shapenet_part_seg_hdf5_data",
        context.folder / f"run-parts-cuda-{precision}",
    )
    assert sorted(options["overrides"]) == sorted(common)
    assert (options["recipe"], options["device"]) == ("quick", "cuda")


def test_torchrun_is_started_as_a_user_does(context, monkeypatch):
    asked = []
    done = SimpleNamespace(returncode=0, stdout="", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda command, **options: asked.append((command, options)) or done)
    assert training.torchrun(context, 3, device="cuda") == "3 process(es); no output"
    ((command, options),) = asked
    words = " ".join(command[1:])
    assert words.startswith("-m torch.distributed.run --standalone --nproc-per-node=3 -m crosspoint train --data ")
    assert f"--out {context.folder}/run-cuda-3 --device cuda --workers 0" in words
    assert [command[i + 1] for i, word in enumerate(command) if word == "--set"] == list(training.TRAINING)
    assert options["timeout"] == 240


def test_long_complaints_of_torchrun_are_cut_to_their_end(context, monkeypatch):
    done = SimpleNamespace(returncode=1, stdout="", stderr="x" * 500 + " the cause")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(CheckFailed) as caught:
        training.torchrun(context, 2, device="cpu")
    assert str(caught.value) == "torchrun ended with 1: " + "x" * 390 + " the cause"
