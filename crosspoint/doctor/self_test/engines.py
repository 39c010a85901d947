"""Self-test of TensorRT engines: build, execute, repeat as CUDA graphs, and use arrays through DLPack."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import CheckFailed
from crosspoint.doctor.abilities import cuda_devices, torch_devices
from crosspoint.doctor.self_test.networks import compared, diagnosed, embed_without_torch, export
from crosspoint.doctor.self_test.step import BATCH, POINTS, Context, NotAvailable
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.manifest import load_manifest

if TYPE_CHECKING:
    from crosspoint.export.engine.builder import Options

BUILDERS = {"tensorrt": "tensorrt", "tensorrt_rtx": "rtx"}
SAME = 1e-5  # largest relative L2 difference between launches of the same kernels on the same clouds
RANGE = (POINTS // 2, POINTS, 2 * POINTS)
MIB = 1024  # GPU workspace, in MiB
Floats = NDArray[np.float32]
Move = Callable[[Any], Any]


def folder_of(network: str, module: str, *, precision: str) -> str:
    """Folder of an engine's bundle."""
    return f"engine-{module}-{network.split()[-1]}-{precision}"


def build(context: Context, network: str, *, run: str, module: str, precision: str, **options: Any) -> str:
    """Build an engine with one TensorRT variant; if this GPU can run it, the exporter must have executed it."""
    return _built(context, run, folder_of(network, module, precision=precision), module, precision, **options)


def build_range(context: Context, run: str, *, module: str) -> str:
    """Build an engine for a range of points, with a limited workspace and, for TensorRT, a timing cache."""
    from crosspoint.export.engine.builder import Options

    cache = context.folder / "timing.cache" if module == "tensorrt" else None
    build = Options(workspace=MIB, timing_cache=cache)
    said = _built(context, run, f"engine-{module}-range", module, "fp32", points=RANGE, build=build)
    if cache is not None and not cache.is_file():
        raise CheckFailed("the build left no timing cache")
    kept = "" if cache is None else f", timing cache of {cache.stat().st_size} bytes"
    return f"{RANGE[0]} to {RANGE[2]} points{kept}; {said}"


def _built(
    context: Context, run: str, out: str, module: str, precision: str, *, build: "Options | None" = None, **given: Any
) -> str:
    from crosspoint.export.engine.builder import Options
    from crosspoint.export.options import ExportOptions

    options = ExportOptions(BUILDERS[module], build=build or Options())
    engine = export(context, run, out=out, precision=precision, trt=True, options=options, **given).engine
    assert engine is not None
    if own_gpu(context) in engine.targets and not engine.executed:
        raise CheckFailed(f"the engine was built for this GPU and not executed: {engine.status}")
    said = f"{engine.builder} {engine.version} for {', '.join(engine.targets)}: {engine.status}"
    return said if engine.parity is None else f"{said}, relative L2 {engine.parity.relative_l2_max:.1e}"


def build_by_script(context: Context, run: str) -> str:
    """Build an engine as on a Jetson: the bundle's script builds it, runs it and compares it."""
    from crosspoint.export.options import ExportOptions

    out = context.folder / "engine-device"
    export(context, run, out=out.name, trt=True, options=ExportOptions("device"))
    environment = {**os.environ, "PYTHON": sys.executable}
    command = ["sh", str(out / "build_on_device.sh")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=environment)
    if done.returncode:
        raise CheckFailed(f"the script ended with {done.returncode}: {' '.join(done.stderr.split())[-400:]}")
    engine = load_manifest(out).engine
    assert engine is not None
    if not engine.executed:
        raise CheckFailed(f"the script left an engine that was not executed: {engine.status}")
    found = diagnosed(context, run, candidate=out.name, device="cuda")
    return f"{engine.builder} {engine.version}: {engine.status}; {found}"


def own_gpu(context: Context) -> str | None:
    """Compute capability of the first GPU, e.g. `"sm86"`."""
    seen = (*cuda_devices(context.facts), *(device.compute_capability for device in torch_devices(context.facts)))
    return next(iter(seen), None)


def require_own(context: Context, bundle: str) -> None:
    """Raise NotAvailable if an engine was built for other GPUs."""
    engine = load_manifest(context.folder / bundle).engine
    assert engine is not None
    if own_gpu(context) not in engine.targets:
        raise NotAvailable(f"it was built for {', '.join(engine.targets)}, and this GPU is {own_gpu(context)}")


def execute(context: Context, network: str, *, run: str, module: str, precision: str) -> str:
    """Run an engine and compare it with the trained network."""
    bundle = folder_of(network, module, precision=precision)
    require_own(context, bundle)
    return diagnosed(context, run, candidate=bundle, device="cuda", backend="tensorrt")


def compare(context: Context, network: str, *, run: str, module: str) -> str:
    """Compare an engine with the trained network by accuracy and on hostile clouds."""
    bundle = folder_of(network, module, precision="fp32")
    require_own(context, bundle)
    return compared(context, run, candidate=bundle, device="cuda", backend="tensorrt")


def embed(context: Context, network: str, *, module: str) -> str:
    """Embed with an engine where torch cannot be imported, as on an edge device."""
    bundle = folder_of(network, module, precision="fp32")
    require_own(context, bundle)
    return embed_without_torch(context, bundle, "--device", "cuda", "--backend", "tensorrt")


def replay(context: Context, network: str, *, module: str) -> str:
    """Repeat a shape, so that it is launched as a CUDA graph."""
    from crosspoint.runtime.load import load_encoder

    bundle = folder_of(network, module, precision="fp32")
    require_own(context, bundle)
    with load_encoder(context.folder / bundle, "cuda", backend="tensorrt") as encoder:
        expected = run_on(encoder, _clouds(encoder, 1))
    with load_encoder(context.folder / bundle, "cuda", backend="tensorrt") as encoder:
        return replayed(encoder, expected)


def replayed(encoder: Encoder, expected: Floats) -> str:
    """Run clouds three times, so that they are captured; then compare others with `expected`, of a new encoder."""
    first, second, third = (run_on(encoder, _clouds(encoder, 0)) for _ in range(3))
    others = run_on(encoder, _clouds(encoder, 1))
    graphs = getattr(encoder, "graphs", None)
    if graphs == 0:
        raise CheckFailed("nothing was captured as a CUDA graph: every call launches each kernel by itself")
    worst = max(_error(second, first), _error(third, first), _error(others, expected))
    said = "TensorRT-RTX captures by itself" if graphs is None else f"{graphs} captured"
    return _within(worst, f"{said}; calls differ by")


def lend(context: Context, network: str, *, module: str, library: str) -> str:
    """Embed arrays of torch or CuPy in GPU memory without copies."""
    from crosspoint.runtime.load import load_encoder

    bundle = folder_of(network, module, precision="fp32")
    require_own(context, bundle)
    try:
        arrays: Any = importlib.import_module(library)
    except ImportError as error:
        raise NotAvailable(f"{library} is not installed") from error
    if library == "torch":
        move: tuple[Move, Move] = (lambda array: arrays.from_numpy(array).cuda(), lambda array: array.cpu().numpy())
    else:
        move = arrays.asarray, arrays.asnumpy
    to_device, to_host = move
    with load_encoder(context.folder / bundle, "cuda", backend="tensorrt") as encoder:
        return f"{library} {arrays.__version__}: {lent(encoder, to_device, to_host=to_host)}"


def lent(encoder: Any, to_device: Move, *, to_host: Move) -> str:
    """Fill the same arrays three times with other clouds, so that the last call is a graph; compare with copies."""
    arrays = [to_device(array) for array in _clouds(encoder, 0)]
    expected = [run_on(encoder, _clouds(encoder, seed)) for seed in range(3)]
    out = to_device(np.zeros_like(expected[0]))
    into = encoder.embed_into if len(arrays) == 1 else encoder.segment_into
    errors = []
    for seed in range(3):
        for array, values in zip(arrays, _clouds(encoder, seed), strict=True):
            array[...] = to_device(values)
        into(*arrays, out=out)
        errors.append(_error(to_host(out), expected[seed]))
    return _within(max(errors), "results differ from those of copies by")


def _within(error: float, said: str) -> str:
    if not error <= SAME:
        raise CheckFailed(f"{said} {error:.1e} (limit {SAME:g})")
    return f"{said} {error:.1e} (limit {SAME:g})"


def _clouds(encoder: Encoder, seed: int) -> list[Floats]:
    """Random inputs of an encoder or a segmenter."""
    from crosspoint.parity.clouds import ordinary

    points = ordinary(BATCH[1], POINTS, seed=seed)
    categories = encoder.specification.categories
    rows = np.arange(len(points)) + seed
    return [points] if categories is None else [points, np.eye(categories, dtype=np.float32)[rows % categories]]


def run_on(encoder: Encoder, inputs: list[Floats]) -> Floats:
    """Embeddings or logits."""
    return encoder.embed(*inputs) if len(inputs) == 1 else encoder.segment(*inputs)


def _error(a: Floats, b: Floats) -> float:
    """`|a − b| / |b|` over all values."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
