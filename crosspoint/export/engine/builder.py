"""Builds engines with TensorRT 10.3 to 11 or TensorRT-RTX, whichever is installed."""

import re
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from crosspoint.core.console import is_quiet
from crosspoint.core.errors import (
    CheckFailed,
    CrosspointError,
    InputError,
    MissingDependency,
    import_or_reason,
    install_command,
)
from crosspoint.core.files import atomic_file
from crosspoint.core.reading import regular
from crosspoint.core.system.interrupt import interruption, stop_signals
from crosspoint.runtime.backends.cuda import compute_capability, cuda_runtime, device_count
from crosspoint.runtime.backends.tensorrt_log import construct, errors_of, logger
from crosspoint.runtime.profile import Profile

BUILDERS = ("auto", "tensorrt", "rtx")
NOT_TARGETS = ("NONE", "CURRENT", "SM75")  # values of ComputeCapability; SM75 has no float32 matrix product
SKIPPED = re.compile(r"skipping tactic \S+ due to", re.IGNORECASE)  # logged as an error; TensorRT tries another one
POLL = 0.1  # seconds between checks for Ctrl-C
PRECISIONS = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT8": "int8", "FP8": "fp8"}


@dataclass(frozen=True)
class Builder:
    """The builder that is used on this machine.

    Attributes:
        name: `"tensorrt"` or `"tensorrt-rtx"`.
        module: Its Python module.
        targets: GPUs that engines are built for, e.g. `"sm86"`.
        executes: Whether this machine's GPU can run the engines.
        note: Why this builder was chosen, if that may surprise the user; else empty.
    """

    name: str
    module: ModuleType
    targets: tuple[str, ...]
    executes: bool
    note: str = ""


@dataclass(frozen=True)
class Options:
    """Options of an engine build.

    Attributes:
        tf32: Allow TF32 in matrix products.
        workspace: Largest GPU workspace of one layer, in MiB; None: TensorRT's default.
        timing_cache: File of kernel timings. It is read if it exists and written after the build; it makes the next
            build faster and gives the same choice of kernels.
    """

    tf32: bool = False
    workspace: int | None = None
    timing_cache: Path | None = None


@dataclass(frozen=True)
class BuiltEngine:
    """A built engine.

    Attributes:
        plan: The bytes of the engine.
        precision: Precision as TensorRT reports it, e.g. `"fp32"`, or `"fp16+fp32"` if types are mixed.
        tf32: Whether TF32 is allowed in matrix products.
        types: Number of tensors of each type.
        inputs: Shapes of the inputs by name; -1 is a variable dimension.
        outputs: Shapes of the outputs, likewise.
        skipped: TensorRT's messages about kernels that failed while it chose the fastest, and that it left out.
    """

    plan: bytes
    precision: str
    tf32: bool
    types: dict[str, int]
    inputs: dict[str, list[int]]
    outputs: dict[str, list[int]]
    skipped: tuple[str, ...] = ()


def find_builder(targets: Sequence[str] = (), choice: str = "auto") -> Builder:
    """Choose the builder.

    Args:
        targets: GPUs to build for, e.g. `("sm86", "sm89")`; empty: all that the builder supports.
        choice: `"tensorrt"`, which needs a GPU; `"rtx"`, which does not; or `"auto"`: TensorRT if it is installed and
            there is a GPU, else TensorRT-RTX, with a note.

    Raises:
        MissingDependency: The builder (for `"auto"`, every builder) is missing on this machine; the message says
            what to install or do instead.
        InputError: The builder is unknown, or cannot build for a target.
    """
    if choice not in BUILDERS:
        raise InputError(f"--builder {choice} is not known; give {', '.join(BUILDERS)} or device")
    gpu, tensorrt, rtx = find_gpu(), _module("tensorrt"), _module("tensorrt_rtx")
    lacking = _lacking(tensorrt, gpu)
    if choice != "rtx" and tensorrt is not None and gpu is not None and set(targets) <= {gpu}:
        cuda_runtime()  # what can be run here has to be, before it is handed out
        return Builder("tensorrt", tensorrt, (gpu,), executes=True)
    if choice == "tensorrt" or (choice == "auto" and rtx is None):
        raise _no_tensorrt(choice, lacking, gpu)
    if rtx is None:
        raise MissingDependency(f"--builder rtx: {absence('tensorrt_rtx')}: {install_command('trt-rtx')}")
    chosen = _rtx_targets(rtx, targets)
    if gpu in chosen:
        cuda_runtime()
    return Builder("tensorrt-rtx", rtx, chosen, gpu in chosen, _note(lacking) if choice == "auto" else "")


def _lacking(tensorrt: ModuleType | None, gpu: str | None) -> str:
    """Which requirements of TensorRT are missing on this machine; empty if none."""
    missing = [] if tensorrt is not None else [absence("tensorrt")]
    return " and ".join(missing if gpu is not None else [*missing, "there is no GPU here"])


def _note(lacking: str) -> str:
    if not lacking:
        return ""
    return (
        f"{lacking}: the engine was built with TensorRT-RTX, for desktop GPUs; for a Jetson or a data-centre GPU give "
        "--builder device, or export there"
    )


def _no_tensorrt(choice: str, lacking: str, gpu: str | None) -> CrosspointError:
    if not lacking:
        return InputError(f"tensorrt builds for this machine's GPU only, {gpu}; leave --target out")
    option = "--trt" if choice == "auto" else f"--builder {choice}"
    return MissingDependency(
        f"{option}: {lacking}. To build on the device it will run on, give --builder device. To build for desktop "
        f"GPUs here, give --builder rtx, after {install_command('trt-rtx')}"
    )


def find_gpu() -> str | None:
    """Compute capability of the first GPU, e.g. `"sm86"`; None if there is no GPU."""
    try:
        return compute_capability(0) if device_count() else None
    except InputError:
        return None
    except MissingDependency:  # cuda-python is not installed, torch may know
        torch = _module("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return "sm{}{}".format(*torch.cuda.get_device_capability(0))


def _module(name: str) -> ModuleType | None:
    module, _ = import_or_reason(name)
    return module if hasattr(module, "__version__") else None  # a folder of that name is none


def absence(name: str) -> str:
    """Why a module cannot be imported, e.g. `"tensorrt is not installed"`."""
    return f"{name} {import_or_reason(name)[1] or 'is not installed'}"


def _rtx_targets(trt: ModuleType, targets: Sequence[str]) -> tuple[str, ...]:
    known = {name.lower() for name in trt.ComputeCapability.__members__ if name not in NOT_TARGETS}
    ordered = sorted(known, key=lambda name: int(name[2:]))
    unknown = [target for target in targets if target not in known]
    if unknown:
        raise InputError(f"--target {unknown[0]} is not one of TensorRT-RTX's GPUs for float32: {', '.join(ordered)}")
    return tuple(sorted(set(targets), key=lambda name: int(name[2:])) or ordered)


def build_engine(builder: Builder, model: bytes, *, profile: Profile, options: Options | None = None) -> BuiltEngine:
    """Build a strongly typed engine.

    Every error that TensorRT logs fails the build, with one exception: TensorRT may skip a kernel that fails while it
    chooses the fastest one. TensorRT-RTX does not try kernels, so with it every error fails the build.

    Args:
        builder: From `find_builder`.
        model: The bytes of the ONNX file.
        profile: Shapes that the engine takes.
        options: Options of the build.

    Raises:
        CheckFailed: TensorRT reported an error.
        InputError: The number of points has no bounds, an option cannot be met, or TensorRT does not start.
        KeyboardInterrupt: Ctrl-C cancelled the build.
        Terminated: SIGTERM or SIGHUP did.
    """
    options = options or Options()
    trt = builder.module
    trt_builder = construct(trt, trt.Builder)
    with errors_of(trt) as errors:
        network = trt_builder.create_network(_network_flags(trt))
        parser = trt.OnnxParser(network, logger(trt))  # it holds the weights, so it must live until the build ends
        if not parser.parse(model):
            problems = [parser.get_error(i).desc() for i in range(parser.num_errors)]
            raise _failure(builder, problems + errors)
        config = trt_builder.create_builder_config()
        _configure(builder, config, options)
        _add_profile(trt_builder, config, network, profile)
        with _timing_cache(builder, config, options.timing_cache, errors), _monitored(trt, config) as cancelled:
            plan, said = _build(trt, trt_builder, network, config, cancelled)
            if cancelled:
                raise interruption(cancelled[0])
            skipped = [error for error in said if builder.name == "tensorrt" and SKIPPED.search(error)]
            fatal = [error for error in errors + said if error not in skipped]
            if plan is None or fatal:
                raise _failure(builder, fatal or skipped)
    types = _types(network)
    return BuiltEngine(
        bytes(plan),
        precision="+".join(sorted(PRECISIONS[name] for name in types if name in PRECISIONS)),
        tf32=bool(config.get_flag(trt.BuilderFlag.TF32)),
        types=types,
        inputs=_interface(network.get_input, network.num_inputs),
        outputs=_interface(network.get_output, network.num_outputs),
        skipped=tuple(skipped),
    )


def _build(trt: ModuleType, trt_builder: Any, network: Any, config: Any, cancelled: list[int]) -> tuple[Any, list[str]]:
    """Build in a thread; returns plan and errors. Python handles Ctrl-C in this thread, which must be free for it."""

    def build() -> tuple[Any, list[str]]:
        with errors_of(trt) as errors:
            return trt_builder.build_serialized_network(network, config), errors

    with ThreadPoolExecutor(1, "crosspoint-build") as pool:
        building = pool.submit(build)
        try:
            while wait([building], POLL).not_done:
                pass
        except BaseException:
            cancelled.append(signal.SIGINT)  # whatever ends the wait ends the build
            raise
        return building.result()


def _network_flags(trt: ModuleType) -> int:
    """Strong typing is a flag up to TensorRT 10; later versions have no other mode."""
    flags = trt.NetworkDefinitionCreationFlag
    return 1 << int(flags.STRONGLY_TYPED) if hasattr(flags, "STRONGLY_TYPED") else 0


def _configure(builder: Builder, config: Any, options: Options) -> None:
    trt = builder.module
    if options.tf32:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace << 20)
    if hasattr(config, "set_compute_capability"):
        config.num_compute_capabilities = len(builder.targets)
        for i, target in enumerate(builder.targets):
            config.set_compute_capability(trt.ComputeCapability.__members__[target.upper()], i)


@contextmanager
def _timing_cache(builder: Builder, config: Any, file: Path | None, errors: list[str]) -> Iterator[None]:
    """Build with the timings in a file, and write them back after a successful build."""
    if file is None:
        yield
        return
    if builder.name == "tensorrt-rtx":
        raise InputError("--timing-cache needs TensorRT; TensorRT-RTX has no timings: leave it out with --builder rtx")
    try:
        content = file.read_bytes() if file.exists() and regular(file) else b""
    except OSError as error:
        raise InputError(f"--timing-cache {file} cannot be read ({error.strerror}); give a file") from error
    cache = config.create_timing_cache(content)
    if not cache or not config.set_timing_cache(cache, ignore_mismatch=False) or errors:
        raise InputError(f"--timing-cache {file} is from another GPU or TensorRT; delete it, or give another file")
    yield
    with atomic_file(file) as temporary:
        temporary.write_bytes(bytes(config.get_timing_cache().serialize()))


def _add_profile(trt_builder: Any, config: Any, network: Any, profile: Profile) -> None:
    shapes = trt_builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        shapes.set_shape(tensor.name, *profile.shapes(tensor.name, tensor.shape[-1]))
    config.add_optimization_profile(shapes)


def _types(network: Any) -> dict[str, int]:
    """Number of tensors of each type in the network."""
    layers = (network.get_layer(i) for i in range(network.num_layers))
    counts = Counter(layer.get_output(j).dtype.name for layer in layers for j in range(layer.num_outputs))
    return dict(sorted(counts.items()))


def _interface(get: Any, count: int) -> dict[str, list[int]]:
    tensors = [get(i) for i in range(count)]
    return {tensor.name: list(tensor.shape) for tensor in tensors}


def _failure(builder: Builder, errors: Sequence[str]) -> CheckFailed:
    reason = " ".join((errors[0] if errors else "no reason given").split())
    return CheckFailed(f"{builder.name} {builder.module.__version__} could not build the engine: {reason[:500]}")


@contextmanager
def _monitored(trt: ModuleType, config: Any) -> Iterator[list[int]]:
    """Show the phases of the build. A termination signal is put into the list and cancels the build.

    No exception may pass through TensorRT.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=console, disable=is_quiet() or not console.is_terminal, transient=True)
    with progress, stop_signals(impatient=False) as cancelled:
        config.progress_monitor = _monitor(trt, progress, cancelled)
        yield cancelled
        config.progress_monitor = None


def _monitor(trt: ModuleType, progress: Progress, cancelled: list[int]) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.tasks: dict[str, TaskID] = {}

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.tasks[name] = progress.add_task(name, total=steps)

        def step_complete(self, name: str, step: int) -> bool:
            progress.update(self.tasks[name], completed=step + 1)
            return not cancelled

        def phase_finish(self, name: str) -> None:
            progress.remove_task(self.tasks.pop(name))

    return Monitor()
