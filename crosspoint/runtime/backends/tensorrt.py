"""TensorRT backend, for engines of TensorRT 10.3 and later and of TensorRT-RTX.

An engine is executable code: its bytes are compared with the manifest before they are deserialized, and exactly these
bytes are deserialized. Each encoder has its own CUDA stream, and buffers for the largest shapes of the engine's
profile. A shape that occurs again is launched as one CUDA graph. The buffers serve one call at a time; other threads
wait.
"""

import hashlib
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint.core.errors import InputError, require
from crosspoint.runtime.backends.cuda import call, compute_capability, cuda_runtime, current_device, device_count
from crosspoint.runtime.backends.dlpack import CUDA, CUDA_MANAGED, Borrowed, borrow, require_aligned
from crosspoint.runtime.backends.graphs import Graphs
from crosspoint.runtime.backends.kernel_cache import KernelCache, cache_file
from crosspoint.runtime.backends.tensorrt_log import construct, errors_of
from crosspoint.runtime.classifier import NOVELTY, SCORES, ClassifierInfo
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.inputs import FloatArray
from crosspoint.runtime.manifest import REBUILD, EngineInfo, Manifest
from crosspoint.runtime.specification import Specification, interface, parse_device

PACKAGES = {"tensorrt": ("tensorrt", "trt"), "tensorrt-rtx": ("tensorrt_rtx", "trt-rtx")}  # module and extra
TRUSTED = "trusted without a manifest"
RTX_MAGIC = b"vtrt"  # first bytes of a TensorRT-RTX plan
INSTEAD = "run the bundle's ONNX file with --backend onnxruntime"
FLOAT_BYTES = 4
Shape = tuple[int, ...]
Profile = tuple[Shape, Shape, Shape]  # smallest, optimal and largest shape of an input
Shapes = Mapping[str, Shape]
Addresses = Mapping[str, int]


class TensorRTEncoder(Encoder):
    """Runs an engine on one CUDA device. Any number of threads may call it; they wait for each other.

    Args:
        path: The `.plan` file.
        manifest: Manifest of its bundle; None: the file is trusted as it is.
        device: `"cuda"` or `"cuda:<index>"`.

    Raises:
        InputError: The file differs from its manifest, the device does not exist, or the engine does not run on it.
        MissingDependency: The TensorRT variant that built the engine, or cuda-python, is not installed.
    """

    def __init__(self, path: Path, manifest: Manifest | None, *, device: str = "cuda") -> None:
        index = parse_device(device)
        if index is None:
            raise InputError(f"{path} is a TensorRT engine and runs on a GPU only; give --device cuda, or {INSTEAD}")
        plan = _read(path) if manifest is None else manifest.read(path)
        built = _trusted(plan) if manifest is None else manifest.engine
        if built is None or built.builder not in PACKAGES:
            raise InputError(f"the manifest of {path} does not say which TensorRT built it; export the model again")
        self._trt = require(*PACKAGES[built.builder], purpose=f"the engine {path} ({INSTEAD})")
        count = _devices(path)
        if index >= count:
            raise InputError(f"device {device} does not exist; there are {count} devices, cuda:0 to cuda:{count - 1}")
        rebuild = REBUILD
        if manifest is not None:
            rebuild = manifest.rebuild
            _check_built(path, built, self._trt.__version__, compute_capability(index), rebuild)
        self._path, self._arguments = path, {"path": path.absolute(), "manifest": manifest, "device": device}
        self._cuda, self._index = cuda_runtime(), index
        self._lock = threading.Lock()
        self._resources = ExitStack()
        with current_device(self._cuda, index):
            try:
                self._open(plan, path, rebuild)
                if manifest is not None:
                    _check_profile(path, manifest, self._profile["points"])
                self.specification = self._specification(path, manifest, built, plan)
            except BaseException:
                self._resources.close()
                raise

    def _open(self, plan: bytes, path: Path, rebuild: str) -> None:
        trt, cuda = self._trt, self._cuda
        runtime = construct(trt, trt.Runtime)
        runtime.engine_host_code_allowed = False
        with errors_of(trt) as errors:
            engine = runtime.deserialize_cuda_engine(plan)
            if not engine or errors:
                raise InputError(
                    f"{path} does not load: it is damaged, or is no engine (TensorRT says: {_first(errors)}); "
                    f"{rebuild}, or {INSTEAD}"
                )
        self._runtime, self._engine = runtime, engine  # freed in reverse order
        self._resources.callback(self._forget)
        self._stream = call(cuda.cudaStreamCreateWithFlags, cuda.cudaStreamNonBlocking)
        self._resources.callback(call, cuda.cudaStreamDestroy, self._stream)
        self._kernels: KernelCache | None = None
        self._memory = None if _captures(trt) else self._allocate(engine.device_memory_size_v2)
        self._context = self._capturing_context(plan) if _captures(trt) else self._new_context()
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self._outputs = [name for name in names if name not in self._inputs]
        self._output = interface(path, self._inputs, outputs=self._outputs)
        self._profile = {name: _profile(engine, name) for name in self._inputs}
        self._allocate_buffers()
        self._graphs = None if _captures(trt) else Graphs(cuda, self._stream)
        if self._graphs is not None:
            self._resources.callback(self._graphs.close)

    def _capturing_context(self, plan: bytes) -> Any:
        """A context of TensorRT-RTX, which captures CUDA graphs itself and caches the kernels it compiles."""
        config = self._engine.create_runtime_config()
        config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        cache = config.create_runtime_cache()
        file = cache_file(plan, self._trt.__version__, capability=compute_capability(self._index))
        self._kernels = KernelCache(cache, file)
        config.set_runtime_cache(cache)
        self._resources.callback(self._kernels.save)
        with errors_of(self._trt) as errors:
            return _made(self._engine.create_execution_context(config), errors)

    def _new_context(self) -> Any:
        """A context on the working memory that all contexts share: they run one after the other, on one stream."""
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        with errors_of(self._trt) as errors:
            context = _made(self._engine.create_execution_context(strategy), errors)
            if not context.set_optimization_profile_async(0, int(self._stream)):
                raise InputError(f"TensorRT refuses the engine's own profile: {_first(errors)}; export the model again")
            context.set_device_memory(self._memory, self._engine.device_memory_size_v2)
        return context

    def _allocate(self, size: int) -> int:
        address = call(self._cuda.cudaMalloc, max(int(size), 1))
        self._resources.callback(call, self._cuda.cudaFree, address)
        return int(address)

    def _allocate_buffers(self) -> None:
        """Allocate buffers for the largest shapes."""
        shapes = {name: largest for name, (_, _, largest) in self._profile.items()}
        for name, shape in shapes.items():
            self._set_shape(self._context, name, shape)
        self._dim = int(self._engine.get_tensor_shape(self._output)[-1])
        self._capacity: dict[str, int] = {}  # number of values of each buffer
        for name, shape in {**shapes, **self._output_shapes(self._context, shapes["points"])}.items():
            if self._engine.get_tensor_dtype(name) != self._trt.float32:
                raise InputError(f"the engine's {name} is not float32; export the model again")
            self._capacity[name] = math.prod(shape)
        self._buffers = {name: self._allocate(FLOAT_BYTES * size) for name, size in self._capacity.items()}

    def _specification(self, path: Path, manifest: Manifest | None, built: EngineInfo, plan: bytes) -> Specification:
        smallest, _, largest = self._profile["points"]
        category = self._profile.get("category")
        return Specification(
            architecture=str(manifest.model.get("architecture", "unknown")) if manifest else "unknown",
            dim=self._dim,
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
            categories=None if category is None else category[2][1],
            classifier=self._classifier(path, manifest),
        )

    def _classifier(self, path: Path, manifest: Manifest | None) -> ClassifierInfo | None:
        """What the manifest says of a classifier, whose engine has a score for every class, and the novelty."""
        classifier = None if manifest is None else manifest.classifier
        if classifier is None:
            return None
        for name, width in ((SCORES, len(classifier.classes)), (NOVELTY, 1)):
            if name not in self._outputs or tuple(self._engine.get_tensor_shape(name))[1:] != (width,):
                raise InputError(f"{path} has no {name} (B, {width}); export the classifier again")
        return classifier

    def layer_information(self) -> str:
        """What TensorRT's inspector says of the engine's layers, as JSON."""
        with self._in_use():
            inspector = self._engine.create_engine_inspector()
            return str(inspector.get_engine_information(self._trt.LayerInformationFormat.JSON))

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Copy in, execute and copy out, on the encoder's own stream."""
        kinds = self._cuda.cudaMemcpyKind
        with self._one_call():
            self._check_shapes({name: array.shape for name, array in inputs.items()})
            for name, array in inputs.items():
                self._copy(self._buffers[name], array.ctypes.data, array.nbytes, kinds.cudaMemcpyHostToDevice)
            shapes = self._execute({name: array.shape for name, array in inputs.items()}, self._buffers)
            results = {name: np.empty(shapes[name], np.float32) for name in self._outputs}
            for name, array in results.items():
                self._copy(array.ctypes.data, self._buffers[name], array.nbytes, kinds.cudaMemcpyDeviceToHost)
        return results

    @contextmanager
    def _one_call(self) -> Iterator[None]:
        """Hold device, stream and buffers for one call; when the block ends, all its work is done.

        Raises:
            InputError: The encoder was closed, or was opened before this process was forked.
        """
        self._check_usable()  # before the lock, which another thread may have held when the process was forked
        with self._lock, current_device(self._cuda, self._index):
            try:
                yield
            finally:
                call(self._cuda.cudaStreamSynchronize, self._stream)

    def embed_into(self, points: Any, out: Any) -> None:
        """Embed clouds in GPU memory into GPU memory, without copies.

        Both arrays belong to the caller: arrays of torch, CuPy or any library with DLPack, float32, C-contiguous, on
        the encoder's device. On return `out` is complete. Values are not checked, unlike in `embed`. If the same two
        arrays are used each time, the whole network is one launch from the third call on.

        Args:
            points: `(B, N, 3)`, within the engine's profile.
            out: `(B, D)`.

        Raises:
            InputError: A shape, type, device or layout does not fit, or the model is a part segmenter.
        """
        if self.specification.categories is not None:
            raise InputError(
                f"{self.specification.path} is a part segmenter; use segment_into(points, category, out=out)"
            )
        self._run_in_place({"points": points}, out)

    def segment_into(self, points: Any, category: Any, *, out: Any) -> None:
        """Segment clouds in GPU memory, as `embed_into`: category `(B, categories)` one-hot, out `(B, N, parts)`.

        Raises:
            InputError: As in `embed_into`.
        """
        if self.specification.categories is None:
            raise InputError(f"{self.specification.path} is an encoder; use embed_into(points, out)")
        self._run_in_place({"points": points, "category": category}, out)

    def _run_in_place(self, inputs: Mapping[str, Any], out: Any) -> None:
        with self._in_use(), self._one_call():
            arrays = {name: self._borrow(array, name) for name, array in inputs.items()}
            shapes = {name: array.shape for name, array in arrays.items()}
            self._check_shapes(shapes)
            result, wanted = self._borrow(out, "out"), self._result_shape(shapes["points"])
            if result.shape != wanted:
                raise InputError(f"out has the shape {result.shape}; give {wanted}, the shape of the result")
            addresses = {name: array.address for name, array in {**arrays, self._output: result}.items()}
            self._execute(shapes, {**self._buffers, **addresses})

    def _borrow(self, array: Any, name: str) -> Borrowed:
        device = self.specification.device
        borrowed = borrow(
            array, name, device=device, kinds=(CUDA, CUDA_MANAGED), index=self._index, stream=int(self._stream)
        )
        require_aligned(borrowed, name)
        return borrowed

    def _check_shapes(self, shapes: Shapes) -> None:
        batch = shapes["points"][0]
        for name, shape in shapes.items():
            smallest, _, largest = self._profile[name]
            fits = len(shape) == len(largest) and shape[0] == batch
            if not fits or not all(a <= size <= b for a, size, b in zip(smallest, shape, largest, strict=True)):
                raise InputError(f"{name} has the shape {shape}; the engine takes {smallest} to {largest}")

    def _result_shape(self, points: Shape) -> Shape:
        """Shape of the main output: an embedding per cloud, or logits per point."""
        return (*points[: 1 if self._output == "embedding" else 2], self._dim)

    def _execute(self, shapes: Shapes, addresses: Addresses) -> dict[str, Shape]:
        """Launch the network for inputs of these shapes; returns the shapes of its outputs."""
        if self._graphs is not None:
            key = (tuple(sorted(shapes.items())), tuple(sorted(addresses.items())))
            known = self._graphs.launch(key)
            if known is not None:
                return dict(known.shapes)
            if self._graphs.worth(key):
                try:
                    context = self._new_context()  # because a graph keeps the state of its context
                    made = self._launch(context, shapes, addresses)
                    self._graphs.capture(
                        key, lambda: bool(context.execute_async_v3(int(self._stream))), shapes=made, context=context
                    )
                    return made
                except InputError:  # no memory for another context; go on with the first one
                    self._graphs.stop()
        made = self._launch(self._context, shapes, addresses)
        if self._kernels is not None:
            self._kernels.save_after(shapes)
        return made

    def _launch(self, context: Any, shapes: Shapes, addresses: Addresses) -> dict[str, Shape]:
        """Launch the network kernel by kernel; returns the shapes of its outputs."""
        for name, shape in shapes.items():
            self._set_shape(context, name, shape)
        made = self._output_shapes(context, shapes["points"])
        with errors_of(self._trt) as errors:
            for name, address in addresses.items():
                if not context.set_tensor_address(name, address):
                    raise InputError(f"TensorRT refuses the address of {name}: {_first(errors)}; {INSTEAD}")
            if not context.execute_async_v3(int(self._stream)):
                raise InputError(f"{self._path} failed to execute: {_first(errors)}; {INSTEAD}")
        return made

    def _set_shape(self, context: Any, name: str, shape: Shape) -> None:
        with errors_of(self._trt) as errors:
            if not context.set_input_shape(name, shape):
                raise InputError(f"the engine refuses the shape {shape} of {name}: {_first(errors)}; {INSTEAD}")

    def _output_shapes(self, context: Any, points: Shape) -> dict[str, Shape]:
        """Shapes of the outputs; they must be known, and that of the main output must fit."""
        shapes = {name: tuple(context.get_tensor_shape(name)) for name in self._outputs}
        for name, shape in shapes.items():
            wanted = self._result_shape(points) if name == self._output else shape
            if -1 in shape or shape != wanted or math.prod(shape) > self._capacity.get(name, math.inf):
                raise InputError(
                    f"{self._path} gives {name} of shape {shape} for points of shape {points}, which "
                    "is wrong; export the model again"
                )
        return shapes

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        call(self._cuda.cudaMemcpyAsync, target, source, size, kind, self._stream)

    def _forget(self) -> None:
        self._context = self._engine = self._runtime = None

    @property
    def graphs(self) -> int | None:
        """Number of shapes that are launched as a CUDA graph; None if TensorRT itself captures."""
        return None if self._graphs is None else len(self._graphs)

    def _free(self) -> None:
        """Free the buffers, the stream and the engine."""
        with self._lock, current_device(self._cuda, self._index):
            self._resources.close()


def _captures(trt: Any) -> bool:
    """Whether this TensorRT captures CUDA graphs itself."""
    return hasattr(trt, "CudaGraphStrategy")


def _made(context: Any, errors: list[str]) -> Any:
    if not context:
        raise InputError(
            f"TensorRT made no execution context: {_first(errors)}; the GPU memory may be full, see nvidia-smi"
        )
    return context


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def _trusted(plan: bytes) -> EngineInfo:
    """What is known of an engine without a manifest."""
    builder = "tensorrt-rtx" if plan.startswith(RTX_MAGIC) else "tensorrt"
    return EngineInfo(builder, "an unknown version", (), executed=False, status=TRUSTED)


def _devices(path: Path) -> int:
    try:
        return device_count()
    except InputError as error:
        raise InputError(f"{path} cannot run here: {error}; {INSTEAD}") from error


def _check_built(path: Path, built: EngineInfo, version: str, capability: str, rebuild: str) -> None:
    """Raise InputError unless this TensorRT built the engine, for this GPU."""
    if capability not in built.targets:
        targets = ", ".join(built.targets) or "no GPU that its manifest names"
        reason = f"was built for {targets}, and this GPU is {capability}"
    elif version != built.version:
        reason = f"was built with {built.builder} {built.version}, and {version} is installed here"
    else:
        return
    raise InputError(f"{path} does not load: it {reason} (it was not opened); {rebuild}, or {INSTEAD}")


def _profile(engine: Any, name: str) -> Profile:
    shape = tuple(engine.get_tensor_shape(name))
    if -1 not in shape:
        return shape, shape, shape
    smallest, usual, largest = engine.get_tensor_profile_shape(name, 0)
    return tuple(smallest), tuple(usual), tuple(largest)


def _check_profile(path: Path, manifest: Manifest, profile: Profile) -> None:
    """Raise InputError unless the shapes of an engine are those in its manifest."""
    for i, (name, said) in enumerate((("batch", manifest.batch), ("points", manifest.points))):
        smallest, usual, largest = found = tuple(shape[i] for shape in profile)
        if found == said:
            continue
        if said is None:
            taken, told = f"{smallest} to {largest}", "nothing of it"
        elif (smallest, largest) != (said[0], said[2]):
            taken, told = f"{smallest} to {largest}", f"{said[0]} to {said[2]}"
        else:
            taken, told = f"usually {usual}", f"usually {said[1]}"
        raise InputError(
            f"{path} takes {name} {taken}, but its manifest says {told}: they belong to different bundles; "
            f"{manifest.rebuild}"
        )


def _first(errors: list[str]) -> str:
    return errors[0] if errors else "TensorRT gave no reason"
