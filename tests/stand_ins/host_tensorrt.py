"""The part of TensorRT that runs an engine, on host memory, called as its Python module is; see README.md."""

import hashlib
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from host_cuda import HostCuda, Refused, Status

ALIGNMENT = 256  # bytes, of every address that TensorRT takes
WORKING_MEMORY = 64  # bytes
Shape = tuple[int, ...]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Model:
    """What an engine computes.

    Attributes:
        profile: Smallest, usual and largest shape of every input.
        outputs: Shapes of the outputs, from those of the inputs; -1 where it depends on values.
        compute: Outputs from inputs.
        types: Of inputs and outputs that are not float32.
    """

    profile: dict[str, tuple[Shape, Shape, Shape]]
    outputs: Callable[[dict[str, Shape]], dict[str, Shape]]
    compute: Callable[[Arrays], Arrays]
    types: dict[str, str]

    @property
    def declared(self) -> dict[str, Shape]:
        """Shapes of inputs and outputs, with -1 for what varies."""
        low, high = ({name: sizes[i] for name, sizes in self.profile.items()} for i in (0, 2))
        pairs = zip(*({**ends, **self.outputs(ends)}.items() for ends in (low, high)), strict=True)
        return {
            name: tuple(a if a == b else -1 for a, b in zip(first, last, strict=True))
            for (name, first), (_, last) in pairs
        }


class HostTensorRT(ModuleType):
    """The module.

    Attributes:
        model: What the next engine computes.
        starts: Whether CUDA does.
        contexts: Execution contexts that there is memory for.
        fails: Methods of a context that fail, by name.
        deserialized: Of every plan that was deserialized, the beginning of its SHA-256 and whether its host code was
            allowed to run.
    """

    def __init__(self, name: str, cuda: HostCuda, model: Model, version: str = "1.7.1", captures: bool = False) -> None:
        super().__init__(name)
        self.cuda, self.model, self.__version__ = cuda, model, version
        self.starts, self.contexts = True, 1000
        self.fails: set[str] = set()
        self.deserialized: list[tuple[str, bool]] = []
        self.ILogger = Logger
        self.TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")
        self.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED=2)
        self.float32 = "float32"
        if captures:
            self.CudaGraphStrategy = SimpleNamespace(DISABLED=0, WHOLE_GRAPH_CAPTURE=1)

    def Runtime(self, logger: Any) -> "Runtime":
        if not self.starts:
            logger.log(Logger.Severity.ERROR, "CUDA initialization failure with error: 35\nPlease check your driver")
        return Runtime(self, logger)


class Logger:
    """`ILogger`."""

    Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)


class Runtime:
    """`Runtime`; where CUDA did not start, its use ends the process."""

    def __init__(self, trt: HostTensorRT, logger: Any) -> None:
        self.__dict__.update(trt=trt, logger=logger, engine_host_code_allowed=False)

    def __setattr__(self, name: str, value: Any) -> None:
        assert self.trt.starts, "segmentation fault"
        self.__dict__[name] = value

    def deserialize_cuda_engine(self, plan: bytes) -> "Engine | None":
        assert self.trt.starts, "segmentation fault"
        self.trt.deserialized.append((hashlib.sha256(plan).hexdigest()[:8], self.engine_host_code_allowed))
        if len(plan) < 1000:
            self.logger.log(Logger.Severity.ERROR, "Magic tag does not match")
            return None
        return Engine(self.trt, self.logger, self.trt.model)


class Engine:
    """`ICudaEngine`."""

    device_memory_size_v2 = WORKING_MEMORY

    def __init__(self, trt: HostTensorRT, logger: Any, model: Model) -> None:
        self.trt, self.logger, self.model = trt, logger, model
        self.names = list(model.declared)
        self.num_io_tensors = len(self.names)
        self.device = trt.cuda.device

    def get_tensor_name(self, index: int) -> str:
        return self.names[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name in self.model.profile else "out"

    def get_tensor_dtype(self, name: str) -> str:
        return self.model.types.get(name, "float32")

    def get_tensor_shape(self, name: str) -> Shape:
        return self.model.declared[name]

    def get_tensor_profile_shape(self, name: str, index: int) -> list[Shape]:
        return list(self.model.profile[name])

    def create_runtime_config(self) -> "RuntimeConfig":
        return RuntimeConfig()

    def create_execution_context(self, how: Any) -> "Context | None":
        if self.trt.contexts == 0:
            self.trt.cuda.last_error = Status.cudaErrorMemoryAllocation
            self.logger.log(Logger.Severity.ERROR, "Error Code 2: OutOfMemory (no further information)")
            return None
        self.trt.contexts -= 1
        return Context(self, how if isinstance(how, RuntimeConfig) else None)


class RuntimeConfig:
    """`IRuntimeConfig` of TensorRT-RTX."""

    cache: "RuntimeCache | None" = None
    cuda_graph_strategy = 0

    def create_runtime_cache(self) -> "RuntimeCache":
        return RuntimeCache()

    def set_runtime_cache(self, cache: "RuntimeCache") -> None:
        self.cache = cache


class RuntimeCache:
    """`IRuntimeCache`: a line for every shape that something was compiled for."""

    def __init__(self) -> None:
        self.lines: set[str] = set()

    def serialize(self) -> bytes:
        return "\n".join(["kernels", *sorted(self.lines)]).encode()

    def deserialize(self, content: bytes) -> bool:
        first, *lines = content.decode().split("\n")
        if first == "kernels":
            self.lines = set(lines)
        return first == "kernels"


class Context:
    """`IExecutionContext`, on working memory of the caller's, or of its own with a runtime configuration."""

    def __init__(self, engine: Engine, config: RuntimeConfig | None) -> None:
        self.engine, self.config = engine, config
        self.memory = config and "its own"
        self.profile = 0 if config else None
        self.shapes: dict[str, Shape] = {}
        self.addresses: dict[str, int] = {}

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        if self._failed("set_optimization_profile_async", index != 0):
            return False
        self.profile = index
        return True

    def set_device_memory(self, address: int, size: int) -> None:
        assert size >= WORKING_MEMORY
        self.memory = address

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        smallest, _, largest = self.engine.model.profile[name]
        fits = len(shape) == len(largest)
        fits = fits and all(a <= size <= b for a, size, b in zip(smallest, shape, largest, strict=True))
        if self._failed("set_input_shape", not fits):
            return False
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> Shape:
        return {**self.shapes, **self.engine.model.outputs(self.shapes)}[name]

    def set_tensor_address(self, name: str, address: int) -> bool:
        if self._failed("set_tensor_address", address % ALIGNMENT != 0):
            return False
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        self.engine.trt.cuda.meanwhile()  # TensorRT's module lets other threads run inside
        ready = self.memory is not None and self.profile is not None
        ready = ready and set(self.shapes) == set(self.engine.model.profile)
        ready = ready and set(self.addresses) == set(self.engine.names)
        if self._failed("execute_async_v3", not ready):
            return False
        if self.config is not None and self.config.cache is not None:
            self.config.cache.lines.add(str(sorted(self.shapes.items())))
        try:
            self.engine.trt.cuda.enqueue(stream, self._kernel())
        except Refused as refusal:
            return not self._failed(refusal.status.name, True)
        return True

    def _kernel(self) -> Callable[[], None]:
        """What runs later, on what shapes and addresses are now, as long as the context and its memory are there."""
        context, cuda, model = weakref.ref(self), self.engine.trt.cuda, self.engine.model
        shapes, addresses, memory = dict(self.shapes), dict(self.addresses), self.memory
        outputs = model.outputs(shapes)

        def run() -> None:
            if context() is None:
                raise Refused(Status.cudaErrorIllegalAddress)
            if isinstance(memory, int):
                cuda.view(memory, (WORKING_MEMORY // 4,))
            given = {name: cuda.view(addresses[name], shape).copy() for name, shape in shapes.items()}
            for name, values in model.compute(given).items():
                cuda.view(addresses[name], outputs[name])[...] = values

        return run

    def _failed(self, method: str, failed: bool) -> bool:
        if failed or method in self.engine.trt.fails:
            self.engine.logger.log(Logger.Severity.ERROR, f"Error Code 3: API Usage Error ({method})")
            return True
        return False
