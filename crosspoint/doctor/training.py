"""The self-test's shapes and trainings."""

import math
import subprocess
import sys

from crosspoint.doctor.step import POINTS, Context, K, NotAvailable
from crosspoint.errors import CheckFailed

TRAINING = (f"points={POINTS}", f"k={K}", "batch=16", "image_size=32", "epochs=1", "seed=0")
PARTS_TRAINING = (f"points={POINTS}", f"k={K}", "epochs=1", "seed=0")
PART_SET = "shapenet_part_seg_hdf5_data"
TOLERANCE = {"fp32": 2e-2, "bf16": 0.8, "fp16": 0.5}
"""Relative L2 error of a training step's gradient on CUDA against the CPU in float32. Rounded features have other
neighbours, so it is large: under the CPU's own autocast it was 0.43 for bf16 and 0.19 for fp16."""
LOSS = 0.05  # relative, in any precision


def make_shapes(context: Context) -> str:
    """What the rest works on."""
    from crosspoint.data.make_shapes import make_shapes as draw

    draw(context.folder / "shapes", per_class=1, seed=0, views=2, size=32, points=2 * POINTS)
    return "shapes of 41 categories with renderings and parts"


def train(context: Context, name: str, device: str, *overrides: str) -> str:
    """Pretraining, one pass."""
    from crosspoint.train.pretrain import train as pretrain

    data, chosen = context.folder / "shapes", (*TRAINING, *overrides)
    result = pretrain(data, context.folder / name, "quick", chosen, False, device, 0)
    if not math.isfinite(result["loss"]):
        raise CheckFailed(f"the loss is {result['loss']}")
    return f"{result['steps']} steps on {result['device']}, loss {result['loss']:.3f}"


def train_on_cuda(context: Context, precision: str) -> str:
    """The same in a precision."""
    return train(context, f"run-cuda-{precision}", "cuda", f"precision={precision}")


def finetune(context: Context, name: str, device: str, *overrides: str) -> str:
    """A part segmenter, on the shapes' parts."""
    from crosspoint.train.finetune import partseg

    data, chosen = context.folder / "shapes" / PART_SET, (*PARTS_TRAINING, *overrides)
    result = partseg(data, context.folder / name, recipe="quick", overrides=chosen, device=device)
    return f"{result['steps']} steps on {result['device']}, instance mIoU {result['best']['instance_miou']:.2f}"


def finetune_on_cuda(context: Context, precision: str) -> str:
    """The same in a precision."""
    return finetune(context, f"run-parts-cuda-{precision}", "cuda", f"precision={precision}")


def torchrun(context: Context, processes: int, device: str) -> str:
    """As a user starts it."""
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
    """On 1, 2, 4 … GPUs, and on all."""
    count = len(context.facts["torch"]["devices"])
    sizes = sorted({*(2**i for i in range(count.bit_length())), count})
    return "; ".join(torchrun(context, size, "cuda") for size in sizes if size <= count)


def training_step(context: Context, precision: str) -> str:
    """One step's output and gradients on CUDA under autocast, against the CPU in float32."""
    import torch

    from crosspoint.export.clouds import ordinary
    from crosspoint.models import DGCNN

    types = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision == "bf16" and not torch.cuda.is_bf16_supported():
        raise NotAvailable("this GPU has no bf16")
    points = torch.from_numpy(ordinary(8, POINTS))
    direction = torch.randn(2048, generator=torch.Generator().manual_seed(1))
    torch.backends.cuda.matmul.allow_tf32 = False
    gradients, losses = [], []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = DGCNN(k=K).to(device).train()
        enabled = device == "cuda" and precision != "fp32"
        with torch.autocast(device, dtype=types[precision], enabled=enabled):
            loss = (torch.nn.functional.normalize(model(points.to(device)).float()) @ direction.to(device)).mean()
        (1024 * loss).backward()  # type: ignore[no-untyped-call]  # so that float16 holds the gradients; the relative error is the same
        losses.append(float(loss))
        gradients.append(torch.cat([p.grad.flatten().double().cpu() for p in model.parameters() if p.grad is not None]))
    error = float((gradients[1] - gradients[0]).norm() / gradients[0].norm())
    found = (
        f"loss {losses[1]:.4f} and {losses[0]:.4f} on the CPU in fp32 (limit {LOSS:.0%}), gradients differ by "
        f"{error:.1e} (limit {TOLERANCE[precision]:g})"
    )
    if not error <= TOLERANCE[precision] or not abs(losses[1] - losses[0]) <= LOSS * abs(losses[0]):
        raise CheckFailed(found)
    return found
