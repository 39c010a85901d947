"""Self-test of the networks after training: export, compare, embed and measure, on the CPU and on CUDA."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crosspoint.core.errors import CheckFailed, Unsupported
from crosspoint.doctor.self_test.step import BATCH, POINTS, Context, NotAvailable
from crosspoint.doctor.self_test.training import PART_SET
from crosspoint.runtime.options import RunOn, Sampling

if TYPE_CHECKING:
    from crosspoint.export.manifest import BundleManifest
    from crosspoint.parity.gate_result import GateResult

DATASET = "modelnet40_ply_hdf5_2048"


def export(context: Context, run: str, *, out: str, precision: str = "fp32", **options: Any) -> "BundleManifest":
    """Export like `crosspoint export`; returns the manifest."""
    from crosspoint.export.bundle import export as export_bundle

    files = (context.folder / run, context.folder / out)
    return export_bundle(*files, **{"precision": precision, "points": POINTS, "batch": BATCH, **options})


def export_onnx(context: Context, run: str, *, out: str, precision: str = "fp32") -> str:
    """Export an encoder through the gate."""
    return _said(export(context, run, out=out, precision=precision).parity.gate)


def export_segmenter(context: Context, run: str, *, out: str) -> str:
    """Export a part segmenter through the gate, with labelled parts."""
    from crosspoint.export.bundle import Verification
    from crosspoint.parity.task import PartTask

    verification = Verification(context.folder / "shapes" / PART_SET, clouds=40)
    parity = export(context, run, out=out, verification=verification).parity
    task = None if parity.task is None else parity.task.task
    assert isinstance(task, PartTask)
    return (
        f"{_said(parity.gate)}; {task.measure} {task.reference_miou:.3f} and {task.candidate_miou:.3f}, "
        f"{task.equal_labels:.2%} of the labels are equal"
    )


def export_for_triton(context: Context, run: str, *, out: str) -> str:
    """Write a bundle and an NVIDIA Triton model repository; no server reads it here."""
    from crosspoint.export.options import ExportOptions

    export(context, run, out=out, options=ExportOptions(triton=context.folder / "triton"))
    written = sorted(file.name for file in (context.folder / "triton").rglob("*") if file.is_file())
    if "config.pbtxt" not in written:
        raise CheckFailed(f"the repository holds {', '.join(written) or 'nothing'}, and no config.pbtxt")
    return f"{', '.join(written)}; written, not served"


def _said(gate: "GateResult") -> str:
    graphs = "no neighbour graphs" if gate.overlap_min is None else f"worst overlap {gate.overlap_min:.4f}"
    return f"{gate.candidate}: relative L2 {gate.relative_l2_max:.1e}, {graphs}"


def diagnosed(
    context: Context, reference: str, *, candidate: str, device: str = "cpu", backend: str | None = None
) -> str:
    """Compare two models layer by layer, or by outputs if the layers are not visible."""
    from crosspoint.parity.layers.diagnose import diagnose

    files = (context.folder / reference, context.folder / candidate)
    try:
        result = diagnose(*files, sampling=Sampling(POINTS), run_on=RunOn(device, backend=backend))
    except Unsupported as error:
        raise NotAvailable(f"this ONNX Runtime cannot run it on {device}: {error}") from error
    ran = result.candidate
    if not result.passed:
        raise CheckFailed(result.advice)
    return f"{ran.backend} on {ran.device}, {ran.precision}: {result.advice}"


def compared(
    context: Context, reference: str, *, candidate: str, device: str = "cpu", backend: str | None = None
) -> str:
    """Compare two models like `crosspoint parity`, on the generated shapes."""
    from crosspoint.parity.parity import parity

    models = context.folder / reference, context.folder / candidate
    gate = parity(
        *models,
        data=context.folder / "shapes" / DATASET,
        sampling=Sampling(POINTS),
        clouds=40,
        run_on=RunOn(device, backend=backend),
    ).gate
    if not gate.passed:
        raise CheckFailed(f"{gate.rule}: {gate.measured} (limit {gate.limit})")
    return f"{gate.rule}: {gate.measured:.1e} (limit {gate.limit:g})"


def embed_without_torch(context: Context, model: str, *options: str) -> str:
    """Embed in a process that cannot import torch, as on an edge device."""
    inputs, out = context.folder / "shapes" / DATASET, context.folder / f"{model}.npz"
    code = "import sys; sys.modules['torch'] = None; from crosspoint.cli import main; main()"
    command = [sys.executable, "-c", code, "embed", str(context.folder / model), str(inputs), "--out", str(out)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise CheckFailed(f"crosspoint embed ended with {done.returncode}: {done.stderr.strip()[-400:]}")
    with np.load(out) as file:
        embeddings = file["embeddings"]
    if not np.isfinite(embeddings).all() or embeddings.std() == 0:
        raise CheckFailed("the embeddings are not finite, or all the same")
    return f"{len(embeddings)} embeddings of {embeddings.shape[1]} numbers{', ' * bool(options)}{' '.join(options)}"


def measured(context: Context, device: str, *, models: Sequence[str]) -> str:
    """Run `crosspoint bench` on the models that exist; too short to give useful numbers."""
    from crosspoint.runtime.bench.bench import bench

    files = [context.folder / model for model in models if (context.folder / model).exists()]
    result = bench(files, batch=BATCH[1], points=POINTS, devices=[device], seconds=0.2)
    if any(not row.clouds_per_second > 0 for row in result.rows):
        raise CheckFailed(f"a throughput is not positive: {[row.clouds_per_second for row in result.rows]}")
    rows = [f"{Path(row.model).name} with {row.backend} {row.p50_ms:.2f} ms" for row in result.rows]
    lacking = [f"{Path(one.model).name} with {one.backend} not: {one.reason}" for one in result.not_run]
    return "; ".join([*rows, *lacking])
