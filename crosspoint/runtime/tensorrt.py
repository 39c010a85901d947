"""TensorRT backend, for engines of TensorRT 10.3 and later and of TensorRT-RTX.

An engine is executable code: its bytes are compared with the manifest before they are deserialized, and the very bytes
that were compared are the ones deserialized. Each encoder has a CUDA stream and buffers of its own, of the largest
shapes that the engine's profile allows.
"""

import math
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from crosspoint.errors import InputError, require
from crosspoint.runtime.cuda import call, compute_capability, cuda_runtime, device_count
from crosspoint.runtime.encoder import Encoder, FloatArray, Specification, interface, parse_device
from crosspoint.runtime.manifest import Engine, Manifest

PACKAGES = {"tensorrt": ("tensorrt", "trt"), "tensorrt-rtx": ("tensorrt_rtx", "trt-rtx")}  # module and extra
INSTEAD = "the bundle's ONNX file runs with --backend onnxruntime"
Shape = tuple[int, ...]


class TensorRTEncoder(Encoder):
    """An engine on one CUDA device.

    Args:
        path: The `.plan` file.
        manifest: Of its bundle.
        device: `"cuda"` or `"cuda:<index>"`.

    Raises:
        InputError: The file differs from its manifest, there is no such device, or the engine does not run on it.
        MissingDependency: The TensorRT flavour that built the engine, or cuda-python, is not installed.
    """

    def __init__(self, path: Path, manifest: Manifest, device: str = "cuda") -> None:
        index = parse_device(device)
        if index is None:
            raise InputError(f"{path} is a TensorRT engine and runs on a GPU only; give --device cuda, or {INSTEAD}")
        plan = manifest.read(path)
        if manifest.engine is None or manifest.engine.builder not in PACKAGES:
            raise InputError(f"the manifest of {path} does not say which TensorRT built it; export the model again")
        module, extra = PACKAGES[manifest.engine.builder]
        self._trt = require(module, extra, f"the engine {path} ({INSTEAD})")
        count = _devices(path)
        if index >= count:
            raise InputError(f"device {device} was asked for, and there are {count}, cuda:0 to cuda:{count - 1}")
        self._cuda, self._index = cuda_runtime(), index
        self._resources = ExitStack()
        try:
            self._open(plan, path, manifest.engine)
            self.specification = self._specification(path, manifest)
        except BaseException:
            self._resources.close()
            raise

    def _open(self, plan: bytes, path: Path, built: Engine) -> None:
        trt, cuda = self._trt, self._cuda
        call(cuda.cudaSetDevice, self._index)
        self._logger = _logger(trt)
        runtime = trt.Runtime(self._logger)
        runtime.engine_host_code_allowed = False
        engine = runtime.deserialize_cuda_engine(plan)
        context = engine and engine.create_execution_context()
        if not context or self._logger.errors:
            raise InputError(_mismatch(path, built, trt.__version__, self._index, self._logger.errors))
        self._runtime, self._engine, self._context = runtime, engine, context  # let go of in reverse
        self._resources.callback(self._forget)
        self._stream = call(cuda.cudaStreamCreate)
        self._resources.callback(call, cuda.cudaStreamDestroy, self._stream)
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        self._inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self._outputs = [name for name in names if name not in self._inputs]
        self._profile = {name: _profile(engine, name) for name in self._inputs}
        self._buffers = self._allocate()

    def _allocate(self) -> dict[str, int]:
        """Buffers of the largest shapes, bound to the context for good; device addresses by name."""
        for name, (_, largest) in self._profile.items():
            self._set_shape(name, largest)
        buffers = {}
        for name in (*self._inputs, *self._outputs):
            if self._engine.get_tensor_dtype(name) != self._trt.float32:
                raise InputError(f"the engine's {name} is not float32; export the model again")
            size = 4 * math.prod(self._context.get_tensor_shape(name))
            buffers[name] = call(self._cuda.cudaMalloc, size)
            self._resources.callback(call, self._cuda.cudaFree, buffers[name])
            self._context.set_tensor_address(name, buffers[name])
        return buffers

    def _specification(self, path: Path, manifest: Manifest) -> Specification:
        assert manifest.engine is not None
        output = interface(path, self._inputs, self._outputs)
        smallest, largest = self._profile["points"]
        category = self._profile.get("category")
        return Specification(
            architecture=str(manifest.model.get("architecture", "unknown")),
            dim=int(self._context.get_tensor_shape(output)[-1]),
            points=largest[1] if smallest[1] == largest[1] else None,
            max_batch=largest[0],
            precision=manifest.precision,
            backend=manifest.engine.builder,
            device=f"cuda:{self._index}",
            sha256=manifest.files[path.name].sha256,
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
            self._set_shape(name, array.shape)
            self._copy(self._buffers[name], array.ctypes.data, array.nbytes, cuda.cudaMemcpyKind.cudaMemcpyHostToDevice)
        if not self._context.execute_async_v3(int(self._stream)):
            raise InputError(f"{self.specification.path} failed to execute: {self._last_error()}; {INSTEAD}")
        results = {}
        for name in self._outputs:
            results[name] = np.empty(tuple(self._context.get_tensor_shape(name)), np.float32)
            kind = cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
            self._copy(results[name].ctypes.data, self._buffers[name], results[name].nbytes, kind)
        call(cuda.cudaStreamSynchronize, self._stream)
        return results

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        call(self._cuda.cudaMemcpyAsync, target, source, size, kind, self._stream)

    def _set_shape(self, name: str, shape: Shape) -> None:
        if not self._context.set_input_shape(name, shape):
            raise InputError(f"the engine does not take {name} of the shape {shape}: {self._last_error()}")

    def _last_error(self) -> str:
        return self._logger.errors[-1] if self._logger.errors else "TensorRT gave no reason"

    def _forget(self) -> None:
        self._context = self._engine = self._runtime = None

    def close(self) -> None:
        """Free the buffers, the stream and the engine."""
        self._resources.close()


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


def _logger(trt: Any) -> Any:
    """A TensorRT logger that keeps the errors, for the messages made of them, and prints nothing."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))

    return Logger()


def _mismatch(path: Path, built: Engine, version: str, index: int, errors: list[str]) -> str:
    """What an engine was built with, what is here, and the command that rebuilds it."""
    targets = ", ".join(built.targets) or "the GPU it was built on"
    reason = errors[0] if errors else "no reason given"
    return (
        f"{path} was built with {built.builder} {built.version} for {targets} and does not load on "
        f"{compute_capability(index)} with {version} ({reason}); rebuild it here: crosspoint export MODEL --out BUNDLE "
        f"--trt, or {INSTEAD}"
    )
