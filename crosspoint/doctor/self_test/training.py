"""Self-test of generated shapes and training."""

import math
import subprocess
import sys

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import CheckFailed
from crosspoint.doctor.abilities import torch_devices
from crosspoint.doctor.self_test.step import POINTS, Context, K, NotAvailable

TRAINING = (f"points={POINTS}", f"k={K}", "batch=16", "image_size=32", "epochs=1", "seed=0")
PARTS_TRAINING = (f"points={POINTS}", f"k={K}", "epochs=1", "seed=0")
PART_SET = "shapenet_part_seg_hdf5_data"
TOLERANCE = {"fp32": 2e-2, "bf16": 0.8, "fp16": 0.5}
"""Largest relative L2 error of a gradient on CUDA against float32 on the CPU. It is large because rounded features have
other neighbours: with the CPU's own autocast it was 0.43 for bf16 and 0.19 for fp16."""
LOSS = 0.05  # largest relative difference of the loss, in any precision
Outcome = tuple[float, NDArray[np.float64]]  # loss and gradient of a training step


def make_shapes(context: Context) -> str:
    """Make the shapes that the other steps use."""
    from crosspoint.data.shapes.make_shapes import ShapesSettings
    from crosspoint.data.shapes.make_shapes import make_shapes as draw

    draw(context.folder / "shapes", ShapesSettings(1, 0, views=2, size=32, points=2 * POINTS))
    return "shapes of 41 categories with renderings and parts"


def train(context: Context, name: str, *overrides: str, device: str) -> str:
    """Pretrain for one epoch."""
    from crosspoint.train.pretrain.options import RunOptions
    from crosspoint.train.pretrain.pretrain import train as pretrain

    data, chosen = context.folder / "shapes", (*TRAINING, *overrides)
    result = pretrain(
        data,
        context.folder / name,
        recipe="quick",
        overrides=chosen,
        resume=False,
        device=device,
        options=RunOptions(0),
    )
    loss = result.last["loss"]
    if not math.isfinite(loss):
        raise CheckFailed(f"the loss is {loss}")
    return f"{result.steps} steps on {result.device}, loss {loss:.3f}"


def train_on_cuda(context: Context, precision: str) -> str:
    """Pretrain for one epoch on CUDA in a precision."""
    return train(context, f"run-cuda-{precision}", f"precision={precision}", device="cuda")


def finetune(context: Context, name: str, *overrides: str, device: str) -> str:
    """Train a part segmenter on the generated parts."""
    from crosspoint.train.partseg.finetune import partseg

    data, chosen = context.folder / "shapes" / PART_SET, (*PARTS_TRAINING, *overrides)
    result = partseg(data, context.folder / name, recipe="quick", overrides=chosen, device=device)
    score = math.nan if result.best is None else result.best.instance_miou
    if not 0 < score <= 1:
        raise CheckFailed(f"the instance mIoU is {score}")
    return f"{result.steps} steps on {result.device}, instance mIoU {score:.2f}"


def finetune_on_cuda(context: Context, precision: str) -> str:
    """Train a part segmenter on CUDA in a precision."""
    return finetune(context, f"run-parts-cuda-{precision}", f"precision={precision}", device="cuda")


def torchrun(context: Context, processes: int, *, device: str) -> str:
    """Train with torchrun, as a user starts it."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += ["-m", "crosspoint", "train", "--data", str(context.folder / "shapes"), "--recipe", "quick"]
    command += ["--out", str(context.folder / f"run-{device}-{processes}"), "--device", device, "--workers", "0"]
    for override in TRAINING:
        command += ["--set", override]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode:
        raise CheckFailed(f"torchrun ended with {done.returncode}: {' '.join(done.stderr.split())[-400:]}")
    said = done.stdout.splitlines()
    return f"{processes} process(es); {said[0].partition(': ')[2] if said else 'no output'}"


def nccl(context: Context) -> str:
    """Train with NCCL on 1, 2, 4 … GPUs, and on all."""
    count = len(torch_devices(context.facts))
    sizes = sorted({*(2**i for i in range(count.bit_length())), count})
    return "; ".join(torchrun(context, size, device="cuda") for size in sizes if size <= count)


def training_step(context: Context, precision: str) -> str:
    """Compare output and gradients of one training step on CUDA under autocast with float32 on the CPU."""
    import torch

    if precision == "bf16" and not torch.cuda.is_bf16_supported():
        raise NotAvailable("this GPU has no bf16")
    torch.backends.cuda.matmul.allow_tf32 = False
    return judge_step(run_step("cpu", "fp32"), run_step("cuda", precision), precision=precision)


def run_step(device: str, precision: str) -> Outcome:
    """Loss and gradient of one training step; network, clouds and objective are the same in every call."""
    import torch

    from crosspoint.models import DGCNN
    from crosspoint.parity.clouds import ordinary

    types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    direction = torch.randn(2048, generator=torch.Generator().manual_seed(1)).to(device)
    torch.manual_seed(0)
    model = DGCNN(k=K).to(device).train()
    with torch.autocast(device, dtype=types[precision], enabled=precision != "fp32"):
        features = model(torch.from_numpy(ordinary(8, POINTS)).to(device)).float()
        loss = (torch.nn.functional.normalize(features) @ direction).mean()
    (1024 * loss).backward()  # type: ignore[no-untyped-call]  # float16 holds such gradients; their relative error stays
    gradients = [p.grad.flatten().double().cpu() for p in model.parameters() if p.grad is not None]
    return loss.item(), torch.cat(gradients).numpy()


def judge_step(on_cpu: Outcome, on_gpu: Outcome, *, precision: str) -> str:
    """Compare loss and gradient of a training step on CUDA with those on the CPU in float32.

    Raises:
        CheckFailed: They differ by more than the limits, or are not finite.
    """
    (expected, reference), (loss, gradient) = on_cpu, on_gpu
    error = float(np.linalg.norm(gradient - reference) / np.linalg.norm(reference))
    found = (
        f"loss {loss:.4f} and {expected:.4f} on the CPU in fp32 (limit {LOSS:.0%}), gradients differ by {error:.1e} "
        f"(limit {TOLERANCE[precision]:g})"
    )
    if not error <= TOLERANCE[precision] or not abs(loss - expected) <= LOSS * abs(expected):
        raise CheckFailed(found)
    return found
