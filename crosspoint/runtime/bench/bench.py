"""Measures models on every backend: latency percentiles, throughput, memory, and the shortest possible time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from crosspoint.core.console import track
from crosspoint.core.errors import CrosspointError, InputError
from crosspoint.core.results import OPTIONAL, Result
from crosspoint.core.system.processes import available_cpus
from crosspoint.data.points import normalise
from crosspoint.runtime.backends import cuda
from crosspoint.runtime.bench.layers import LayerTable, layers_of
from crosspoint.runtime.bench.roofline import CpuSpeed, Roofline, measure_machine, processor, roofline_of
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.inputs import FloatArray
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.manifest import NAME, load_manifest
from crosspoint.runtime.released import find_release
from crosspoint.runtime.specification import parse_device

USUAL_POINTS = 1024
FEWEST = 5  # least number of calls per model, however long they take


@dataclass(frozen=True)
class Choice:
    """A model with a backend and a device to run it on."""

    model: Path
    backend: str
    device: str


@dataclass(frozen=True)
class NotRun:
    """A way to run a model that is not there, and why."""

    model: str
    backend: str
    device: str
    reason: str


@dataclass(frozen=True)
class CallRoofline(Roofline):
    """The least work per cloud and the shortest time of a call.

    Attributes:
        call_ms: Shortest possible time of a call, in milliseconds; None if the speed of the device in this precision
            was not measured.
    """

    call_ms: float | None


@dataclass(frozen=True)
class BenchRow:
    """The measurement of one model with one backend on one device.

    Attributes:
        model: Path of the model.
        backend: Inference backend.
        device: Device that ran it.
        engine: The backend's name and version.
        architecture: Architecture of the network.
        precision: Precision of the layers.
        points: Points per cloud.
        threads: CPU threads; None on a GPU.
        open_ms: Time to open the model, in milliseconds.
        first_call_ms: Time of the first call, in milliseconds.
        calls: Number of calls that were measured.
        p50_ms: Median time of a call, in milliseconds.
        p90_ms: 90th percentile, in milliseconds.
        p99_ms: 99th percentile, in milliseconds.
        clouds_per_second: Throughput.
        memory_bytes: Growth of memory, in bytes; None if unknown.
        floor: Least work and shortest time; None for an unknown architecture.
        gflops: Achieved speed, 10⁹ operations per second.
        sha256: SHA-256 of the model file.
    """

    model: str
    backend: str
    device: str
    engine: str
    architecture: str
    precision: str
    points: int
    threads: int | None
    open_ms: float
    first_call_ms: float
    calls: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    clouds_per_second: float
    memory_bytes: int | None
    floor: CallRoofline | None
    gflops: float | None
    sha256: str


@dataclass(frozen=True)
class BenchResult(Result):
    """The result of `crosspoint bench`.

    Attributes:
        processor: Name of the CPU.
        machine: Measured speed of the CPU; None if nothing ran on it.
        batch: Clouds per call.
        threads: CPU threads.
        rows: One row for each model, backend and device.
        not_run: What could not be run, with the reason.
        layers: The layers of the rows' models, after `list_layers`.
    """

    schema: ClassVar[str] = "crosspoint.bench/1"

    processor: str
    machine: CpuSpeed | None
    batch: int
    threads: int
    rows: tuple[BenchRow, ...]
    not_run: tuple[NotRun, ...]
    layers: tuple[LayerTable, ...] | None = field(default=None, metadata=OPTIONAL)


class Contender:
    """An open encoder with its input, its memory growth, and the times of its calls in seconds."""

    def __init__(self, choice: Choice, points: int | None, *, batch: int, threads: int, trust: bool = False) -> None:
        self.choice = choice
        memory = _Memory(choice.device)
        if choice.backend == "pytorch":
            _limit_torch(threads)
        started = time.perf_counter()
        self.encoder: Encoder = load_encoder(
            choice.model, choice.device, backend=choice.backend, threads=threads, trust=trust
        )
        self.open_seconds = time.perf_counter() - started
        specification = self.encoder.specification
        count = points or specification.points or max(USUAL_POINTS, specification.min_points)
        self._inputs = _inputs(self.encoder, batch, count)
        try:
            self.first_seconds = self.call()
        except BaseException:
            self.encoder.close()
            raise
        self.memory_bytes = memory.growth()
        self.times: list[float] = []
        self.points = count

    @property
    def inputs(self) -> dict[str, FloatArray]:
        """The inputs of a call by name."""
        return dict(zip(("points", "category"), self._inputs, strict=False))

    def call(self) -> float:
        """Run one call, a whole batch from numpy to numpy; returns seconds."""
        started = time.perf_counter()
        if len(self._inputs) == 1:
            self.encoder.embed(*self._inputs)
        else:
            self.encoder.segment(*self._inputs)
        return time.perf_counter() - started


def bench(
    models: Sequence[Path],
    *,
    batch: int = 8,
    points: int | None = None,
    threads: int | None = None,
    devices: Sequence[str] = (),
    backend: str | None = None,
    seconds: float = 5.0,
    trust: bool = False,
) -> BenchResult:
    """Measure models on all installed backends, in turns, so that other load on the machine affects all of them.

    Args:
        models: Names of released models, run folders, `.safetensors`, bundles, `.onnx` or `.plan` files.
        batch: Clouds per call.
        points: Points per cloud; None: the model's own number, else 1024.
        threads: CPU threads; None: as many as this process may use.
        devices: `"cpu"`, `"cuda"` or `"cuda:<index>"`; empty: the CPU, and the first GPU if there is one.
        backend: Measure only this backend.
        seconds: Time per model after its warm-up. A call is never cut short, and at least 5 calls are made.
        trust: As for `load_encoder`.

    Raises:
        InputError: An argument is invalid, or nothing could be run; the message gives the first reason.
    """
    threads = threads or available_cpus()
    choices = [choice for model in models for choice in _choices(model, devices or _present(), backend)]
    contenders, failures = [], []
    for choice in track(choices, "Opening"):
        try:
            contenders.append(Contender(choice, points, batch=batch, threads=threads, trust=trust))
        except CrosspointError as error:
            failures.append(NotRun(str(choice.model), choice.backend, choice.device, str(error)))
    if not contenders:
        raise InputError(f"nothing could be run: {failures[0].reason}" if failures else "no backend runs these models")
    try:
        _measure(contenders, seconds)
        machine = measure_machine(threads) if any(each.choice.device == "cpu" for each in contenders) else None
        rows = [_row(each, batch, threads, machine) for each in contenders]
    finally:
        for each in contenders:
            each.encoder.close()
    return BenchResult(processor(), machine, batch, threads, tuple(rows), tuple(failures))


def list_layers(result: BenchResult, *, points: int | None = None, trust: bool = False) -> BenchResult:
    """The same result with the layers of its rows' models on ONNX Runtime and TensorRT, as they are run.

    Args:
        result: Of `bench`.
        points: As for `bench`.
        trust: As for `load_encoder`.

    Returns:
        The result with `layers`; what has no table of layers is under `not_run`.
    """
    tables, failures = list[LayerTable](), list(result.not_run)
    for row in track(result.rows, "Listing layers"):
        choice = Choice(Path(row.model), row.backend, row.device)
        try:
            contender = Contender(choice, points, batch=result.batch, threads=result.threads, trust=trust)
            with contender.encoder as encoder:
                tables.append(layers_of(encoder, contender.inputs))
        except CrosspointError as error:
            failures.append(NotRun(row.model, row.backend, row.device, str(error)))
    return replace(result, not_run=tuple(failures), layers=tuple(tables))


def _measure(contenders: list[Contender], seconds: float) -> None:
    """Call the contenders in turns until each has had its time."""
    for each in contenders:  # the first call allocates memory; the second is the warm-up
        each.call()
    longest = max(each.call() for each in contenders)
    for _ in track(range(max(FEWEST, round(seconds / longest))), "Measuring"):
        for each in contenders:
            if len(each.times) < FEWEST or sum(each.times) < seconds:
                each.times.append(each.call())
    for each in contenders:
        while sum(each.times) < seconds:
            each.times.append(each.call())


def _row(contender: Contender, batch: int, threads: int, machine: CpuSpeed | None) -> BenchRow:
    spec, times = contender.encoder.specification, np.array(contender.times)
    floor = roofline_of(spec.architecture, contender.points, dim=spec.dim, precision=spec.precision, batch=batch)
    rate = batch * len(times) / float(times.sum())
    on_cpu = spec.device == "cpu"
    p50, p90, p99 = (1e3 * float(np.quantile(times, q / 100, method="higher")) for q in (50, 90, 99))
    return BenchRow(
        model=str(contender.choice.model),
        backend=contender.choice.backend,
        device=spec.device,
        engine=spec.engine or spec.backend,
        architecture=spec.architecture,
        precision=spec.precision,
        points=contender.points,
        threads=threads if on_cpu else None,
        open_ms=1e3 * contender.open_seconds,
        first_call_ms=1e3 * contender.first_seconds,
        calls=len(times),
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        clouds_per_second=rate,
        memory_bytes=contender.memory_bytes,
        floor=_call_roofline(floor, batch, machine if on_cpu and spec.precision == "fp32" else None),
        gflops=None if floor is None else floor.operations * rate / 1e9,
        sha256=spec.sha256,
    )


def _call_roofline(floor: Roofline | None, batch: int, machine: CpuSpeed | None) -> CallRoofline | None:
    if floor is None:
        return None
    call_ms = None if machine is None else 1e3 * batch * machine.seconds(floor)
    return CallRoofline(floor.operations, floor.bytes, call_ms)


def _choices(model: Path, devices: Sequence[str], backend: str | None) -> list[Choice]:
    """All ways to run a model: each of its backends on each device."""
    kinds = _backends(model)
    choices = []
    for device in devices:
        on_gpu = parse_device(device) is not None
        for kind in kinds if backend is None else [backend]:
            if kind in ("tensorrt", "onnxruntime-tensorrt") and not on_gpu and backend is None:
                continue
            choices.append(Choice(model, kind, device))
    if "tensorrt" in kinds and backend is None and not any(parse_device(device) is not None for device in devices):
        choices.append(Choice(model, "tensorrt", "cuda"))  # there is no GPU: the table says so
    return choices


def _backends(model: Path) -> list[str]:
    names = [model.name]
    if (release := find_release(model)) is not None:
        names = sorted(release.files)
    elif (model / NAME).is_file():
        names = list(load_manifest(model).files)
    elif model.is_dir():
        names = ["encoder.safetensors"]
    kinds = {".safetensors": ["pytorch"], ".onnx": ["onnxruntime", "onnxruntime-tensorrt"], ".plan": ["tensorrt"]}
    return [kind for name in names for kind in kinds.get(Path(name).suffix, [])] or ["onnxruntime"]


def _present() -> list[str]:
    try:
        cuda.device_count()
    except CrosspointError:
        return ["cpu"]
    return ["cpu", "cuda:0"]


def _inputs(encoder: Encoder, batch: int, points: int) -> list[FloatArray]:
    """Random clouds, normalised as in training; for a segmenter also the first category."""
    encoder.specification.check_points(points)
    rng = np.random.default_rng(0)
    clouds = np.stack([normalise(rng.normal(size=(points, 3))) for _ in range(batch)]).astype(np.float32)
    categories = encoder.specification.categories
    return [clouds] if categories is None else [clouds, np.eye(categories, dtype=np.float32)[np.zeros(batch, int)]]


def _limit_torch(threads: int) -> None:
    from crosspoint.core.errors import require

    require("torch", "train", purpose="running .safetensors weights").set_num_threads(threads)


class _Memory:
    """Growth of memory: GPU memory in use, or peak resident memory of this process; None if unknown."""

    def __init__(self, device: str) -> None:
        self._index = parse_device(device)
        self._before = self._used(self._index) if self._index is not None else self._reset_peak()

    def growth(self) -> int | None:
        """Bytes since the start."""
        now = self._used(self._index) if self._index is not None else _status("VmHWM")
        return None if now is None or self._before is None else max(0, now - self._before)

    def _used(self, index: int) -> int | None:
        try:
            runtime = cuda.cuda_runtime()
            with cuda.current_device(runtime, index):
                status, free, total = runtime.cudaMemGetInfo()
        except CrosspointError:
            return None
        return None if int(status) else int(total - free)

    def _reset_peak(self) -> int | None:
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return None
        return _status("VmRSS")


def _status(field: str) -> int | None:
    """An entry of `/proc/self/status` in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), None)
