"""TensorRT backend, for engines of TensorRT 10.3 and later and of TensorRT-RTX.

An engine is executable code: its bytes are compared with the manifest before they are deserialized, and the very bytes
that were compared are the ones deserialized. Each encoder has a CUDA stream and buffers of its own, of the largest
shapes that the engine's profile allows. A shape that comes again is launched as one CUDA graph from then on.
"""

import hashlib
import math
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint.core.files import atomic_file
from crosspoint.errors import InputError, require
from crosspoint.runtime.cuda import call, compute_capability, cuda_runtime, device_count
from crosspoint.runtime.dlpack import CUDA, CUDA_MANAGED, Borrowed, borrow, require_aligned
from crosspoint.runtime.encoder import Encoder, FloatArray, Specification, interface, parse_device
from crosspoint.runtime.graphs import Graphs
from crosspoint.runtime.manifest import REBUILD, Engine, Manifest
from crosspoint.runtime.tensorrt_log import errors_of, logger

PACKAGES = {"tensorrt": ("tensorrt", "trt"), "tensorrt-rtx": ("tensorrt_rtx", "trt-rtx")}  # module and extra
LEAN = ("tensorrt_lean", "trt-lean")  # loads version-compatible engines of its own and earlier versions
TRUSTED = "trusted without a manifest"
RTX_MAGIC = b"vtrt"  # how a TensorRT-RTX plan begins
INSTEAD = "the bundle's ONNX file runs with --backend onnxruntime"
Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Addresses = Mapping[str, int]


class TensorRTEncoder(Encoder):
    """An engine on one CUDA device.

    Args:
        path: The `.plan` file.
        manifest: Of its bundle; None trusts the file as it is.
        device: `"cuda"` or `"cuda:<index>"`.

    Raises:
        InputError: The file differs from its manifest, there is no such device, or the engine does not run on it.
        MissingDependency: The TensorRT flavour that built the engine, or cuda-python, is not installed.
    """

    def __init__(self, path: Path, manifest: Manifest | None, device: str = "cuda") -> None:
        index = parse_device(device)
        if index is None:
            raise InputError(f"{path} is a TensorRT engine and runs on a GPU only; give --device cuda, or {INSTEAD}")
        plan = _read(path) if manifest is None else manifest.read(path)
        built = _trusted(plan) if manifest is None else manifest.engine
        if built is None or built.builder not in PACKAGES:
            raise InputError(f"the manifest of {path} does not say which TensorRT built it; export the model again")
        self._trt = _module(path, built)
        count = _devices(path)
        if index >= count:
            raise InputError(f"device {device} was asked for, and there are {count}, cuda:0 to cuda:{count - 1}")
        self._cuda, self._index = cuda_runtime(), index
        self._resources = ExitStack()
        try:
            self._open(plan, path, built, REBUILD if manifest is None else manifest.rebuild)
            if manifest is not None:
                _check_profile(path, manifest, self._profile["points"])
            self.specification = self._specification(path, manifest, built, plan)
        except BaseException:
            self._resources.close()
            raise

    def _open(self, plan: bytes, path: Path, built: Engine, rebuild: str) -> None:
        trt, cuda = self._trt, self._cuda
        call(cuda.cudaSetDevice, self._index)
        with errors_of(trt) as errors:
            runtime = trt.Runtime(logger(trt))
            runtime.engine_host_code_allowed = False
            engine = runtime.deserialize_cuda_engine(plan)
            if not engine or errors:
                here = trt.__version__, compute_capability(self._index)
                raise InputError(explain(path, built, *here, errors, rebuild))
        self._runtime, self._engine = runtime, engine  # let go of in reverse
        self._resources.callback(self._forget)
        self._stream = call(cuda.cudaStreamCreateWithFlags, cuda.cudaStreamNonBlocking)
        self._resources.callback(call, cuda.cudaStreamDestroy, self._stream)
        self._memory = None if _captures(trt) else self._allocate(engine.device_memory_size_v2)
        self._context = self._capturing_context(plan) if _captures(trt) else self._new_context()
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self._outputs = [name for name in names if name not in self._inputs]
        self._output = interface(path, self._inputs, self._outputs)
        self._profile = {name: _profile(engine, name) for name in self._inputs}
        self._buffers = self._allocate_buffers()
        self._graphs = None if _captures(trt) else Graphs(cuda, self._stream)
        if self._graphs is not None:
            self._resources.callback(self._graphs.close)

    def _capturing_context(self, plan: bytes) -> Any:
        """TensorRT-RTX's, which captures CUDA graphs by itself, and keeps the kernels that it compiles for this GPU."""
        config = self._engine.create_runtime_config()
        config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        cache = config.create_runtime_cache()
        file = runtime_cache_file(plan, self._trt.__version__, compute_capability(self._index))
        kept = file.read_bytes() if file.is_file() else b""
        if kept:
            cache.deserialize(kept)  # one that does not fit is refused, and TensorRT starts afresh
        config.set_runtime_cache(cache)
        self._resources.callback(_save, cache, file, kept)
        return _made(self._engine.create_execution_context(config))

    def _new_context(self) -> Any:
        """One on the working memory that all share: they run one after the other, on one stream."""
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = _made(self._engine.create_execution_context(strategy))
        _made(context.set_optimization_profile_async(0, int(self._stream)))
        context.set_device_memory(self._memory, self._engine.device_memory_size_v2)
        return context

    def _allocate(self, size: int) -> int:
        address = call(self._cuda.cudaMalloc, max(int(size), 1))
        self._resources.callback(call, self._cuda.cudaFree, address)
        return int(address)

    def _allocate_buffers(self) -> dict[str, int]:
        """Buffers of the largest shapes; device addresses by name."""
        for name, (_, largest) in self._profile.items():
            self._set_shape(self._context, name, largest)
        buffers = {}
        for name in (*self._inputs, *self._outputs):
            if self._engine.get_tensor_dtype(name) != self._trt.float32:
                raise InputError(f"the engine's {name} is not float32; export the model again")
            buffers[name] = self._allocate(4 * math.prod(self._context.get_tensor_shape(name)))
        return buffers

    def _specification(self, path: Path, manifest: Manifest | None, built: Engine, plan: bytes) -> Specification:
        smallest, largest = self._profile["points"]
        category = self._profile.get("category")
        return Specification(
            architecture=str(manifest.model.get("architecture", "unknown")) if manifest else "unknown",
            dim=int(self._context.get_tensor_shape(self._output)[-1]),
            points=largest[1] if smallest[1] == largest[1] else None,
            max_batch=largest[0],
            precision=manifest.precision if manifest else "unknown",
            backend=built.builder,
            device=f"cuda:{self._index}",
            sha256=hashlib.sha256(plan).hexdigest(),
            path=str(path),
            min_points=smallest[1],
            max_points=largest[1],
            min_batch=smallest[0],
            categories=None if category is None else category[1][1],
        )

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Copy in, execute and copy out, all on the encoder's own stream."""
        assert self._context is not None, "the encoder was closed"
        cuda = self._cuda
        call(cuda.cudaSetDevice, self._index)  # per thread
        for name, array in inputs.items():
            self._copy(self._buffers[name], array.ctypes.data, array.nbytes, cuda.cudaMemcpyKind.cudaMemcpyHostToDevice)
        shapes = self._execute({name: array.shape for name, array in inputs.items()}, self._buffers)
        results = {}
        for name in self._outputs:
            results[name] = np.empty(shapes[name], np.float32)
            kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
            self._copy(results[name].ctypes.data, self._buffers[name], results[name].nbytes, kind)
        call(cuda.cudaStreamSynchronize, self._stream)
        return results

    def embed_into(self, points: Any, out: Any) -> None:
        """Embed clouds that are on the GPU, into memory on the GPU: nothing is copied.

        Both arrays are the caller's: of torch, CuPy or any library with DLPack, float32, C-contiguous, on the encoder's
        device. When this returns, `out` is complete. Values are not checked, as in `embed`. With the same two arrays
        each time, from the third call on the whole network is one launch.

        Args:
            points: `(B, N, 3)`, within the engine's profile.
            out: `(B, D)`.

        Raises:
            InputError: A shape, type, device or layout does not fit, or the model is a part segmenter.
        """
        if self.specification.categories is not None:
            raise InputError(f"{self.specification.path} is a part segmenter; use segment_into(points, category, out)")
        self._run_in_place({"points": points}, out)

    def segment_into(self, points: Any, category: Any, out: Any) -> None:
        """The same for a part segmenter: category `(B, categories)`, one-hot, and out `(B, N, parts)`.

        Raises:
            InputError: As in `embed_into`.
        """
        if self.specification.categories is None:
            raise InputError(f"{self.specification.path} is an encoder; use embed_into(points, out)")
        self._run_in_place({"points": points, "category": category}, out)

    def _run_in_place(self, inputs: Mapping[str, Any], out: Any) -> None:
        assert self._context is not None, "the encoder was closed"
        call(self._cuda.cudaSetDevice, self._index)
        arrays = {name: self._borrow(array, name) for name, array in inputs.items()}
        for name, array in arrays.items():
            self._check_shape(name, array.shape, arrays["points"].shape)
        result = self._borrow(out, "out")
        batch, count = arrays["points"].shape[:2]
        dim = self.specification.dim
        wanted = (batch, dim) if self._output == "embedding" else (batch, count, dim)
        if result.shape != wanted:
            raise InputError(f"out has the shape {result.shape}; the result of these points is {wanted}")
        addresses = {name: array.address for name, array in {**arrays, self._output: result}.items()}
        self._execute({name: array.shape for name, array in arrays.items()}, {**self._buffers, **addresses})
        call(self._cuda.cudaStreamSynchronize, self._stream)

    def _borrow(self, array: Any, name: str) -> Borrowed:
        device = self.specification.device
        borrowed = borrow(array, name, device, (CUDA, CUDA_MANAGED), self._index, int(self._stream))
        require_aligned(borrowed, name)
        return borrowed

    def _check_shape(self, name: str, shape: Shape, points: Shape) -> None:
        smallest, largest = self._profile[name]
        fits = len(shape) == len(largest) and shape[0] == points[0]
        if not fits or not all(low <= size <= high for low, size, high in zip(smallest, shape, largest, strict=True)):
            raise InputError(f"{name} of the shape {shape} do not fit; the engine takes {smallest} to {largest}")

    def _execute(self, shapes: Shapes, addresses: Addresses) -> dict[str, Shape]:
        """Launch the network for inputs of these shapes; the shapes of its outputs."""
        key = (tuple(sorted(shapes.items())), tuple(sorted(addresses.items())))
        known = None if self._graphs is None else self._graphs.launch(key)
        if known is not None:
            return dict(known.shapes)
        capture = self._graphs is not None and self._graphs.worth(key)
        context = self._new_context() if capture else self._context  # a graph keeps its context's state
        for name, shape in shapes.items():
            self._set_shape(context, name, shape)
        for name, address in addresses.items():
            context.set_tensor_address(name, address)
        with errors_of(self._trt) as errors:
            if not context.execute_async_v3(int(self._stream)):
                raise InputError(f"{self.specification.path} failed to execute: {_first(errors)}; {INSTEAD}")
        made = {name: tuple(context.get_tensor_shape(name)) for name in self._outputs}
        if self._graphs is not None and capture:
            self._graphs.capture(key, lambda: bool(context.execute_async_v3(int(self._stream))), made, context)
        return made

    def _set_shape(self, context: Any, name: str, shape: Shape) -> None:
        with errors_of(self._trt) as errors:
            if not context.set_input_shape(name, shape):
                raise InputError(f"the engine does not take {name} of the shape {shape}: {_first(errors)}")

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        call(self._cuda.cudaMemcpyAsync, target, source, size, kind, self._stream)

    def _forget(self) -> None:
        self._context = self._engine = self._runtime = None

    @property
    def graphs(self) -> int | None:
        """How many shapes are launched as a CUDA graph; None where TensorRT captures by itself."""
        return None if self._graphs is None else len(self._graphs)

    def close(self) -> None:
        """Free the buffers, the stream and the engine."""
        self._resources.close()


def _captures(trt: Any) -> bool:
    """Whether a TensorRT captures CUDA graphs by itself."""
    return hasattr(trt, "CudaGraphStrategy")


def _made(result: Any) -> Any:
    if not result:
        raise InputError("TensorRT made no execution context; is the GPU's memory full? Run nvidia-smi to see it")
    return result


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give an engine file") from error


def _trusted(plan: bytes) -> Engine:
    """What can be told of an engine without a manifest."""
    builder = "tensorrt-rtx" if plan.startswith(RTX_MAGIC) else "tensorrt"
    return Engine(builder, "an unknown version", (), executed=False, status=TRUSTED)


def _module(path: Path, built: Engine) -> Any:
    """The module that loads an engine; of a version-compatible one the lean runtime, which it leaves out."""
    module, extra = LEAN if built.version_compatible else PACKAGES[built.builder]
    return require(module, extra, f"the engine {path} ({INSTEAD})")


def _devices(path: Path) -> int:
    try:
        return device_count()
    except InputError as error:
        raise InputError(f"{path} cannot run here: {error}; {INSTEAD}") from error


def _profile(engine: Any, name: str) -> tuple[Shape, Shape]:
    """Smallest and largest shape of an input."""
    shape = tuple(engine.get_tensor_shape(name))
    if -1 not in shape:
        return shape, shape
    smallest, _, largest = engine.get_tensor_profile_shape(name, 0)
    return tuple(smallest), tuple(largest)


def _check_profile(path: Path, manifest: Manifest, profile: tuple[Shape, Shape]) -> None:
    """Raise InputError unless batch and points of an engine are those of its manifest."""
    for i, name in enumerate(("batch", "points")):
        said = manifest.batch if name == "batch" else manifest.points
        found = (profile[0][i], profile[1][i])
        if said is not None and (said[0], said[2]) != found:
            raise InputError(
                f"{path} takes {name} {found[0]} to {found[1]}, and its manifest says {said[0]} to {said[2]}: they are "
                f"of different bundles; {manifest.rebuild}"
            )


def runtime_cache_file(plan: bytes, version: str, capability: str) -> Path:
    """Where the kernels that TensorRT-RTX compiled for an engine are kept, in the user's cache folder."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "crosspoint" / f"{hashlib.sha256(plan).hexdigest()[:32]}-{version}-{capability}.rtx"


def _save(cache: Any, file: Path, kept: bytes) -> None:
    """Keep a runtime cache for the next start, if it has grown; where that cannot be written, do without."""
    content = bytes(cache.serialize() or b"")
    if content and content != kept:
        with suppress(OSError, InputError):
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # it holds code
            with atomic_file(file) as temporary:
                temporary.write_bytes(content)


def _first(errors: list[str]) -> str:
    return errors[0] if errors else "TensorRT gave no reason"


def explain(path: Path, built: Engine, version: str, capability: str, errors: list[str], rebuild: str) -> str:
    """Why an engine does not load: what it was built with, what is here, and the command that rebuilds it."""
    if built.targets and capability not in built.targets:
        reason = f"is an engine for {', '.join(built.targets)}, and this GPU is {capability}"
    elif version != built.version and built.status != TRUSTED:
        reason = f"was built with {built.builder} {built.version}, and {version} is installed here"
    else:
        reason = "is damaged, or is no engine"
    return f"{path} does not load: it {reason} (TensorRT says: {_first(errors)}); {rebuild}, or {INSTEAD}"
