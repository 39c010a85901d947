"""What the self-test does: train, export, build, execute, compare; on the CPU, and all of it again on a GPU."""

import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint.doctor.abilities import has_gpu
from crosspoint.errors import CheckFailed, InputError

Facts = dict[str, Any]
Run = Callable[["Context"], str]
Needs = Callable[[Facts], str | None]

POINTS, K, BATCH = 128, 8, (1, 2, 4)
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
TRAINING = (f"points={POINTS}", f"k={K}", "batch=16", "image_size=32", "epochs=1", "seed=0")
DATASET = "modelnet40_ply_hdf5_2048"
TOLERANCE = {"fp32": 2e-2, "bf16": 0.8, "fp16": 0.5}
"""Relative L2 error of a training step's gradient on CUDA against the CPU in float32. Rounded features have other
neighbours, so it is large: under the CPU's own autocast it was 0.43 for bf16 and 0.19 for fp16."""
LOSS = 0.05  # relative, in any precision


class NotAvailable(Exception):
    """A step found that it cannot be run here; that is no failure."""


@dataclass(frozen=True)
class Context:
    """Where the steps work, and what is here."""

    folder: Path
    facts: Facts


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: For the reader; later steps name it in `after`.
        run: Does it, and says what was found; raises if it failed.
        needs: Why it cannot be run here, or None.
        after: Steps whose results it uses.
    """

    name: str
    run: Run
    needs: Needs
    after: tuple[str, ...] = ()


def _packages(*names: str) -> Needs:
    """The packages that have to be there."""

    def missing(facts: Facts) -> str | None:
        for name in names:
            if not (facts[name]["works"] if name in facts else facts["packages"][name]):
                return f"{name} is not installed or does not work"
        return None

    return missing


def _gpu(*names: str) -> Needs:
    """The packages, and a GPU that torch can use."""

    def missing(facts: Facts) -> str | None:
        if not has_gpu(facts):
            return "there is no NVIDIA GPU"
        return _packages(*names)(facts) or (None if facts["torch"]["devices"] else "torch does not see the GPU")

    return missing


def _provider(name: str) -> Needs:
    """A provider of ONNX Runtime."""

    def missing(facts: Facts) -> str | None:
        if not has_gpu(facts):
            return "there is no NVIDIA GPU"
        return _packages("onnxruntime")(facts) or (
            None if name in facts["onnxruntime"]["providers"] else f"this onnxruntime has no {name}"
        )

    return missing


def _engine(facts: Facts) -> str | None:
    if not has_gpu(facts):
        return "there is no NVIDIA GPU"
    return _packages("cuda_python")(facts)


def _building(facts: Facts, module: str) -> str | None:
    """All packages and a TensorRT flavour; TensorRT proper builds on a GPU only."""
    if module == "tensorrt" and not has_gpu(facts):
        return "there is no NVIDIA GPU"
    return _packages("torch", "onnx", "onnxruntime", module)(facts)


# Making and training


def _make_shapes(context: Context) -> str:
    from crosspoint.data.make_shapes import make_shapes

    make_shapes(context.folder / "shapes", per_class=1, seed=0, views=2, size=32, points=2 * POINTS)
    return "shapes of 41 categories with renderings"


def _train(context: Context, name: str, device: str, *overrides: str) -> str:
    from crosspoint.train.pretrain import train

    result = train(context.folder / "shapes", context.folder / name, "quick", (*TRAINING, *overrides), False, device, 0)
    if not math.isfinite(result["loss"]):
        raise CheckFailed(f"the loss is {result['loss']}")
    return f"{result['steps']} steps on {result['device']}, loss {result['loss']:.3f}"


def _train_on_cuda(context: Context, precision: str) -> str:
    return _train(context, f"run-cuda-{precision}", "cuda", f"precision={precision}")


def _torchrun(context: Context, processes: int, device: str) -> str:
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


def _nccl(context: Context) -> str:
    """On 1, 2, 4 … GPUs, and on all."""
    count = len(context.facts["torch"]["devices"])
    sizes = sorted({*(2**i for i in range(count.bit_length())), count})
    return "; ".join(_torchrun(context, size, "cuda") for size in sizes if size <= count)


def _training_step(context: Context, precision: str) -> str:
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


# Exporting and building


def _export(context: Context, run: str, out: str, precision: str = "fp32", **options: Any) -> dict[str, Any]:
    from crosspoint.export.bundle import export

    try:
        files = (context.folder / run, context.folder / out)
        return export(*files, precision=precision, points=POINTS, batch=BATCH, **options)
    except InputError as error:
        if "--precision" in str(error):
            raise NotAvailable(f"this version exports no {precision}") from error
        raise


def _export_onnx(context: Context, run: str, out: str, precision: str = "fp32") -> str:
    parity = _export(context, run, out, precision)["parity"]
    return f"relative L2 {parity['relative_l2_max']:.1e}, worst overlap {parity['overlap_min']}"


def _export_segmenter(context: Context) -> str:
    import torch

    from crosspoint.models import DGCNNSegmenter
    from crosspoint.models.weights import save_model

    torch.manual_seed(0)
    save_model(DGCNNSegmenter(parts=6, categories=3, k=K), context.folder / "segmenter.safetensors")
    return _export_onnx(context, "segmenter.safetensors", "bundle-segmenter")


def _build(context: Context, module: str, precision: str) -> str:
    """Build an engine with one flavour; where this GPU can run it, the exporter has to have done so."""
    targets = _targets(context, module)
    out = f"engine-{module}-{precision}"
    engine = _export(context, "run", out, precision, trt=True, target=targets)["engine"]
    if engine["builder"] != module.replace("_", "-"):
        raise NotAvailable(f"the exporter chose {engine['builder']} for {', '.join(engine['targets'])}")
    runs = _own_gpu(context) in engine["targets"]
    if runs and not engine["executed"]:
        raise CheckFailed(f"the engine was built for this GPU and not executed: {engine['status']}")
    return f"{engine['builder']} {engine['version']} for {', '.join(engine['targets'])}: {engine['status']}"


def _targets(context: Context, module: str) -> tuple[str, ...]:
    """None for TensorRT; for RTX all of its GPUs or, where this is one of them, this and another: then RTX it is."""
    if module == "tensorrt":
        return ()
    known = [name.lower() for name in context.facts[module]["targets"] or () if name not in ("NONE", "CURRENT", "SM75")]
    own = _own_gpu(context)
    return (own, next(name for name in known if name != own)) if own is not None and own in known else ()


def _own_gpu(context: Context) -> str | None:
    devices = context.facts["cuda_python"].get("devices") or [
        device["compute_capability"] for device in context.facts["torch"].get("devices") or ()
    ]
    return devices[0] if devices else None


# Executing and comparing


def _diagnose(context: Context, reference: str, candidate: str, device: str = "cpu", backend: str | None = None) -> str:
    """Layer by layer, or by outputs where there is no more to see."""
    from crosspoint.diagnose.diagnose import diagnose

    files = (context.folder / reference, context.folder / candidate)
    try:
        result = diagnose(*files, points=POINTS, device=device, backend=backend)
    except InputError as error:
        if "no kernels on the CPU" in str(error) or "NOT_IMPLEMENTED" in str(error):  # bf16 products
            raise NotAvailable(f"this ONNX Runtime cannot run it on {device}: {error}") from error
        raise
    ran = result["candidate"]
    if not result["passed"]:
        raise CheckFailed(result["advice"])
    return f"{ran['backend']} on {ran['device']}, {ran['precision']}: {result['advice']}"


def _run_engine(context: Context, module: str, precision: str) -> str:
    from crosspoint.runtime.manifest import load_manifest

    bundle = f"engine-{module}-{precision}"
    manifest = load_manifest(context.folder / bundle)
    assert manifest.engine is not None
    if _own_gpu(context) not in manifest.engine.targets:
        raise NotAvailable(
            f"it was built for {', '.join(manifest.engine.targets)}, and this GPU is {_own_gpu(context)}"
        )
    return _diagnose(context, "run", bundle, "cuda", "tensorrt")


def _parity(context: Context) -> str:
    from crosspoint.eval.parity import parity

    data = context.folder / "shapes" / DATASET
    gate = parity(context.folder / "run", context.folder / "bundle-fp32", data, POINTS, clouds=40)["gate"]
    if not gate["passed"]:
        raise CheckFailed(f"{gate['rule']}: {gate['measured']} (limit {gate['limit']})")
    return f"{gate['rule']}: {gate['measured']:.1e} (limit {gate['limit']:g})"


def _embed_without_torch(context: Context) -> str:
    """In a process that cannot import torch, as on an edge device."""
    inputs, out = context.folder / "shapes" / DATASET, context.folder / "embeddings.npz"
    code = "import sys; sys.modules['torch'] = None; from crosspoint.cli import main; main()"
    command = [sys.executable, "-c", code, "embed", str(context.folder / "bundle-fp32"), str(inputs), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise CheckFailed(f"crosspoint embed ended with {done.returncode}: {done.stderr.strip()[-400:]}")
    with np.load(out) as file:
        embeddings = file["embeddings"]
    if not np.isfinite(embeddings).all() or embeddings.std() == 0:
        raise CheckFailed("the embeddings are not finite, or all the same")
    return f"{len(embeddings)} embeddings of {embeddings.shape[1]} numbers"


_ALL = _packages("torch", "torchvision", "onnx", "onnxruntime")
_MADE, _TRAINED, _EXPORTED = "make shapes", "train DGCNN on the CPU", "export fp32 to ONNX"

STEPS: tuple[Step, ...] = (
    Step(_MADE, _make_shapes, _packages("embreex")),
    Step(_TRAINED, partial(_train, name="run", device="cpu"), _packages("torch", "torchvision"), (_MADE,)),
    Step(
        "train PointNet on the CPU",
        lambda context: _train(context, "run-pointnet", "cpu", "backbone=pointnet"),
        _packages("torch", "torchvision"),
        (_MADE,),
    ),
    Step(
        "train under torchrun, two processes, gloo",
        partial(_torchrun, processes=2, device="cpu"),
        _packages("torch", "torchvision"),
        (_MADE,),
    ),
    *(
        Step(
            f"export {precision} to ONNX",
            partial(_export_onnx, run="run", out=f"bundle-{precision}", precision=precision),
            _ALL,
            (_TRAINED,),
        )
        for precision in PRECISIONS
    ),
    Step(
        "export PointNet to ONNX",
        partial(_export_onnx, run="run-pointnet", out="bundle-pointnet"),
        _ALL,
        ("train PointNet on the CPU",),
    ),
    Step("export a part segmenter to ONNX", _export_segmenter, _ALL),
    *(
        Step(
            f"diagnose ONNX on the CPU, {precision}",
            partial(_diagnose, reference="run", candidate=f"bundle-{precision}"),
            _ALL,
            (f"export {precision} to ONNX",),
        )
        for precision in PRECISIONS
    ),
    Step("parity of PyTorch and ONNX", _parity, _ALL, (_EXPORTED,)),
    Step("embed where torch cannot be imported", _embed_without_torch, _packages("onnxruntime"), (_EXPORTED,)),
    *(
        Step(
            f"build an engine with {module}, {precision}",
            partial(_build, module=module, precision=precision),
            partial(_building, module=module),
            (f"export {precision} to ONNX",),
        )
        for module in ("tensorrt", "tensorrt_rtx")
        for precision in PRECISIONS
    ),
    *(
        Step(
            f"execute the engine of {module}, {precision}",
            partial(_run_engine, module=module, precision=precision),
            _engine,
            (f"build an engine with {module}, {precision}",),
        )
        for module in ("tensorrt", "tensorrt_rtx")
        for precision in PRECISIONS
    ),
    Step(
        "PyTorch on CUDA against the CPU",
        partial(_diagnose, reference="run", candidate="run", device="cuda"),
        _gpu("torch"),
        (_TRAINED,),
    ),
    *(
        Step(f"training step on CUDA, {precision}", partial(_training_step, precision=precision), _gpu("torch"))
        for precision in ("fp32", "bf16", "fp16")
    ),
    *(
        Step(
            f"train on CUDA, {precision}",
            partial(_train_on_cuda, precision=precision),
            _gpu("torch", "torchvision"),
            (_MADE,),
        )
        for precision in ("fp32", "bf16", "fp16")
    ),
    Step("train under torchrun on 1 to all GPUs, NCCL", _nccl, _gpu("torch", "torchvision"), (_MADE,)),
    *(
        Step(
            f"ONNX on CUDA, {precision}",
            partial(_diagnose, reference="run", candidate=f"bundle-{precision}", device="cuda", backend="onnxruntime"),
            _provider("CUDAExecutionProvider"),
            (f"export {precision} to ONNX",),
        )
        for precision in PRECISIONS
    ),
    Step(
        "ONNX through ONNX Runtime's TensorRT",
        partial(_diagnose, reference="run", candidate="bundle-fp32", device="cuda", backend="onnxruntime-tensorrt"),
        _provider("TensorrtExecutionProvider"),
        (_EXPORTED,),
    ),
)
