"""Building TensorRT engines, with TensorRT 10.3 to 11 or TensorRT-RTX, through what the module at hand offers."""

import importlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from crosspoint.errors import CheckFailed, InputError, MissingDependency
from crosspoint.export.profile import Profile
from crosspoint.runtime.cuda import compute_capability, cuda_runtime, device_count

NOT_TARGETS = ("NONE", "CURRENT", "SM75")  # of ComputeCapability: SM75 has no float32 matrix product
PRECISIONS = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT8": "int8", "FP8": "fp8"}


@dataclass(frozen=True)
class Builder:
    """What builds engines here.

    Attributes:
        name: `"tensorrt"` or `"tensorrt-rtx"`.
        module: The Python module.
        targets: GPUs that engines are built for, e.g. `"sm86"`.
        executes: Whether this machine's GPU can run them.
    """

    name: str
    module: ModuleType
    targets: tuple[str, ...]
    executes: bool


@dataclass(frozen=True)
class Engine:
    """A built engine.

    Attributes:
        plan: Its bytes.
        precision: Of the network as TensorRT understood it, e.g. `"fp32"`, or `"fp16+fp32"` where types are mixed.
        tf32: Whether matrix products may round their factors to TF32.
        types: How many tensors of the network have each type.
        inputs: The network's inputs by name, with -1 for what varies.
        outputs: The same for its outputs.
    """

    plan: bytes
    precision: str
    tf32: bool
    types: dict[str, int]
    inputs: dict[str, list[int]]
    outputs: dict[str, list[int]]


def find_builder(targets: Sequence[str] = ()) -> Builder:
    """TensorRT where it and a GPU are there, else TensorRT-RTX, which builds without one.

    Args:
        targets: GPUs to build for, e.g. `("sm86", "sm89")`; none for all that the builder knows.

    Raises:
        MissingDependency: Neither is installed.
        InputError: The builder cannot build for a target.
    """
    gpu = _gpu()
    tensorrt, rtx = _module("tensorrt"), _module("tensorrt_rtx")
    if gpu is not None and tensorrt is not None and set(targets) <= {gpu}:
        cuda_runtime()  # what can be run here has to be, before it is handed out
        return Builder("tensorrt", tensorrt, (gpu,), executes=True)
    if rtx is not None:
        chosen = _rtx_targets(rtx, targets)
        if gpu in chosen:
            cuda_runtime()
        return Builder("tensorrt-rtx", rtx, chosen, executes=gpu in chosen)
    if tensorrt is not None and gpu is not None:
        raise InputError(f"tensorrt builds for this machine's GPU only, {gpu}; leave --target out")
    why = "needs a GPU, and there is none here" if tensorrt is not None else "is not installed"
    raise MissingDependency(
        f"--trt: tensorrt {why}, and tensorrt_rtx, which builds without a GPU, is not installed: "
        "pip install 'crosspoint3d[trt-rtx]', or export without --trt"
    )


def _gpu() -> str | None:
    """Compute capability of the first GPU, e.g. `"sm86"`; None without one."""
    try:
        return compute_capability(0) if device_count() else None
    except MissingDependency:  # cuda-python is not installed, torch may know
        return "sm{}{}".format(*torch.cuda.get_device_capability(0)) if torch.cuda.is_available() else None
    except InputError:
        return None


def _module(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _rtx_targets(trt: ModuleType, targets: Sequence[str]) -> tuple[str, ...]:
    known = {name.lower() for name in trt.ComputeCapability.__members__ if name not in NOT_TARGETS}
    ordered = sorted(known, key=lambda name: int(name[2:]))
    unknown = [target for target in targets if target not in known]
    if unknown:
        raise InputError(f"--target {unknown[0]} is not one of TensorRT-RTX's GPUs for float32: {', '.join(ordered)}")
    return tuple(sorted(set(targets), key=lambda name: int(name[2:])) or ordered)


def build_engine(builder: Builder, model: bytes, profile: Profile) -> Engine:
    """Build an engine: strongly typed, TF32 off; any error that TensorRT logs is fatal, whatever it returns.

    Args:
        builder: From `find_builder`.
        model: The ONNX file's bytes.
        profile: Shapes that the engine takes.

    Raises:
        CheckFailed: TensorRT reported an error.
        InputError: The profile leaves the number of points open.
        KeyboardInterrupt: The build was cancelled.
    """
    trt = builder.module
    logger = _logger(trt)
    trt_builder = trt.Builder(logger)
    network = trt_builder.create_network(_network_flags(trt))
    parser = trt.OnnxParser(network, logger)  # it holds the weights, and has to outlive the build
    if not parser.parse(model):
        problems = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise _failure(builder, problems + logger.errors)
    config = trt_builder.create_builder_config()
    _configure(builder, config)
    _add_profile(trt_builder, config, network, profile)
    with _monitored(trt, config) as cancelled:
        plan = trt_builder.build_serialized_network(network, config)
    if cancelled:
        raise KeyboardInterrupt
    if plan is None or logger.errors:
        raise _failure(builder, logger.errors)
    types = _types(network)
    return Engine(
        bytes(plan),
        precision="+".join(sorted(PRECISIONS[name] for name in types if name in PRECISIONS)),
        tf32=hasattr(trt.BuilderFlag, "TF32") and bool(config.get_flag(trt.BuilderFlag.TF32)),
        types=types,
        inputs=_interface(network.get_input, network.num_inputs),
        outputs=_interface(network.get_output, network.num_outputs),
    )


def _network_flags(trt: ModuleType) -> int:
    """Strong typing is a flag up to TensorRT 10, and the only way where there is no such flag."""
    flags = trt.NetworkDefinitionCreationFlag
    return 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0


def _configure(builder: Builder, config: Any) -> None:
    trt = builder.module
    if hasattr(trt.BuilderFlag, "TF32"):
        config.clear_flag(trt.BuilderFlag.TF32)
    if hasattr(config, "set_compute_capability") and builder.name == "tensorrt-rtx":
        config.num_compute_capabilities = len(builder.targets)
        for i, target in enumerate(builder.targets):
            config.set_compute_capability(trt.ComputeCapability.__members__[target.upper()], i)


def _add_profile(trt_builder: Any, config: Any, network: Any, profile: Profile) -> None:
    shapes = trt_builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        shapes.set_shape(tensor.name, *profile.shapes(tensor.name, tensor.shape[-1]))
    config.add_optimization_profile(shapes)


def _types(network: Any) -> dict[str, int]:
    """Types of all tensors that the network's layers make."""
    layers = (network.get_layer(i) for i in range(network.num_layers))
    counts = Counter(layer.get_output(j).dtype.name for layer in layers for j in range(layer.num_outputs))
    return dict(sorted(counts.items()))


def _interface(get: Any, count: int) -> dict[str, list[int]]:
    tensors = [get(i) for i in range(count)]
    return {tensor.name: list(tensor.shape) for tensor in tensors}


def _failure(builder: Builder, errors: Sequence[str]) -> CheckFailed:
    reason = " ".join((errors[0] if errors else "no reason given").split())
    return CheckFailed(f"{builder.name} {builder.module.__version__} could not build the engine: {reason[:500]}")


def _logger(trt: ModuleType) -> Any:
    """A logger that keeps errors and prints nothing."""

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)

    return Logger()


@contextmanager
def _monitored(trt: ModuleType, config: Any) -> Iterator[list[bool]]:
    """Show the build's phases; the list that is given becomes non-empty when Ctrl-C cancels the build."""
    cancelled: list[bool] = []
    if not hasattr(trt, "IProgressMonitor"):
        yield cancelled
        return
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        config.progress_monitor = _monitor(trt, progress, cancelled)
        yield cancelled
        config.progress_monitor = None


def _monitor(trt: ModuleType, progress: Progress, cancelled: list[bool]) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.tasks: dict[str, TaskID] = {}

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.tasks[name] = progress.add_task(name, total=steps)

        def step_complete(self, name: str, step: int) -> bool:
            try:
                progress.update(self.tasks[name], completed=step + 1)
            except KeyboardInterrupt:  # Python delivers Ctrl-C here; it must not travel through TensorRT
                cancelled.append(True)
            return not cancelled

        def phase_finish(self, name: str) -> None:
            progress.remove_task(self.tasks.pop(name))

    return Monitor()
