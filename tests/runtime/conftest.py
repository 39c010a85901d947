"""Small models of known outcome: `embedding = max over points of (points @ W)`, W (3, 4), for every backend."""

import ctypes
import hashlib
import json
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from crosspoint.errors import CrosspointError
from crosspoint.export.profile import Profile
from crosspoint.export.tensorrt import Builder, build_engine, find_builder, find_gpu
from crosspoint.runtime import tensorrt as backend
from crosspoint.runtime.cuda import device_count

WEIGHT = np.array([[1, 0, 0, 2], [0, 1, 0, -1], [0, 0, 1, 0.5]], np.float32)  # (3, 4)


def reference(points: np.ndarray) -> np.ndarray:
    """What the small models compute: (B, N, 3) to (B, 4)."""
    return np.stack([(cloud.astype(np.float64) @ WEIGHT).max(axis=0) for cloud in points]).astype(np.float32)


def write_onnx(
    path: Path,
    batch: int | str = "batch",
    points: int | str = "points",
    metadata: str | None = None,
    names: tuple[str, str] = ("points", "embedding"),
    kind: int = TensorProto.FLOAT,
) -> Path:
    """Write the small model."""
    source, result = names
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", [source, "weight"], ["mapped"]),
            helper.make_node("ReduceMax", ["mapped", "axes"], [result], keepdims=0),
        ],
        "small",
        [helper.make_tensor_value_info(source, kind, [batch, points, 3])],
        [helper.make_tensor_value_info(result, kind, [batch, 4])],
        [
            numpy_helper.from_array(WEIGHT.astype(dtype), "weight"),
            numpy_helper.from_array(np.array([1], np.int64), "axes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if metadata is not None:
        helper.set_model_props(model, {"crosspoint": metadata})
    onnx.save(model, path)
    return path


def write_segmenter(path: Path, categories: int = 2) -> Path:
    """`logits (B, N, 2)` = the point's x and y, plus the row of the category in [[10, 0], [0, 10]]."""
    rows = np.array([[10, 0], [0, 10]], np.float32)[:categories]
    take = np.array([[1, 0], [0, 1], [0, 0]], np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["points", "take"], ["xy"]),
            helper.make_node("MatMul", ["category", "rows"], ["offset"]),
            helper.make_node("Unsqueeze", ["offset", "axes"], ["offsets"]),
            helper.make_node("Add", ["xy", "offsets"], ["logits"]),
        ],
        "segmenter",
        [
            helper.make_tensor_value_info("points", TensorProto.FLOAT, ["batch", "points", 3]),
            helper.make_tensor_value_info("category", TensorProto.FLOAT, ["batch", categories]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "points", 2])],
        [
            numpy_helper.from_array(take, "take"),
            numpy_helper.from_array(rows, "rows"),
            numpy_helper.from_array(np.array([1], np.int64), "axes"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def build_plan(onnx_file: Path, batch: tuple[int, int, int], points: tuple[int, int, int]) -> bytes:
    """A TensorRT-RTX engine of an encoder's ONNX file, for every architecture RTX supports."""
    trt = pytest.importorskip("tensorrt_rtx")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    assert trt.OnnxParser(network, logger).parse(onnx_file.read_bytes())
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape("points", *((b, n, 3) for b, n in zip(batch, points, strict=True)))
    config.add_optimization_profile(profile)
    return bytes(builder.build_serialized_network(network, config))


def write_manifest(folder: Path, engine: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A manifest of all files in a folder; `changes` replace its values."""
    files = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in folder.iterdir()
        if path.name != "manifest.json"
    }
    values = {
        "schema": "crosspoint.manifest/1",
        "files": files,
        "model": {"architecture": "small"},
        "precision": {"asked": "fp32", "read_back": "fp32"},
        "profile": {"batch": [2, 3, 4], "points": [8, 16, 32]},
        "engine": engine,
    }
    path = folder / "manifest.json"
    path.write_text(json.dumps({**values, **changes}))
    return path


ENGINE = {"builder": "tensorrt-rtx", "version": "1.7.1", "targets": ["sm86"], "executed": False, "status": "built"}


@pytest.fixture(scope="session")
def small() -> SimpleNamespace:
    """The functions of this file, which test files cannot import."""
    return SimpleNamespace(
        reference=reference,
        write_onnx=write_onnx,
        write_segmenter=write_segmenter,
        write_manifest=write_manifest,
        build_plan=build_plan,
        engine=ENGINE,
        builder_or_skip=builder_or_skip,
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """ONNX file and manifest."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    write_onnx(folder / "encoder.onnx")
    write_manifest(folder)
    return folder


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real engine of the small model: 2 to 4 clouds of 8 to 32 points."""
    return build_plan(write_onnx(tmp_path_factory.mktemp("plan") / "small.onnx"), (2, 3, 4), (8, 16, 32))


@pytest.fixture
def engine_bundle(bundle: Path, plan: bytes) -> Path:
    """ONNX file, engine and manifest."""
    (bundle / "encoder.plan").write_bytes(plan)
    write_manifest(bundle, ENGINE)
    return bundle


@pytest.fixture
def clouds() -> Callable[..., np.ndarray]:
    """Random clouds (B, N, 3)."""

    def make(batch: int = 3, points: int = 16, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).standard_normal((batch, points, 3)).astype(np.float32)

    return make


def has_gpu() -> bool:
    """Whether CUDA can be used here."""
    try:
        return device_count() > 0
    except CrosspointError:
        return False


@pytest.fixture
def gpu() -> None:
    """Skip where there is no GPU."""
    if not has_gpu():
        pytest.skip("no NVIDIA GPU")


@pytest.fixture
def no_gpu() -> None:
    """Skip where there is one: what is tested is its absence."""
    if has_gpu():
        pytest.skip("an NVIDIA GPU is here")


def builder_or_skip(choice: str) -> Builder:
    """What builds engines for this GPU; skips with the reason where it is missing or has no code for it."""
    try:
        return find_builder((find_gpu() or "",), choice)
    except CrosspointError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["tensorrt", "rtx"])
def gpu_bundle(request: pytest.FixtureRequest, gpu: None, bundle: Path) -> Path:
    """ONNX file, an engine that was built here for this GPU, and manifest; skips where nothing builds one."""
    builder = builder_or_skip(request.param)
    profile = Profile((2, 3, 4), (8, 16, 32))
    engine = build_engine(builder, (bundle / "encoder.onnx").read_bytes(), profile)
    (bundle / "encoder.plan").write_bytes(engine.plan)
    entry = {"builder": builder.name, "version": builder.module.__version__, "targets": list(builder.targets)}
    write_manifest(bundle, {**ENGINE, **entry})
    return bundle


# The GPU in host memory


class Status(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorStreamCaptureUnsupported = 900


class HostRuntime:
    """CUDA's runtime with host memory for a device; refuses what is out of bounds or freed."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaStreamNonBlocking = 1
    CAPTURE_UNSUPPORTED = Status.cudaErrorStreamCaptureUnsupported

    def __init__(self) -> None:
        self.memory: dict[int, ctypes.Array] = {}
        self.streams = 0
        self.limit = 1 << 20
        self.captured: list[Callable[[], None]] | None = None
        self.graphs: set[int] = set()
        self.launches = 0
        self.capture_status = Status.cudaSuccess

    def launch(self, work: Callable[[], None]) -> None:
        """Work of a kernel: done at once, or noted while the stream is captured."""
        if self.captured is None:
            work()
        else:
            self.captured.append(work)

    def cudaSetDevice(self, index: int) -> tuple[Status]:
        return (Status.cudaSuccess,)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Status, int]:
        self.streams += 1
        return Status.cudaSuccess, 7

    def cudaStreamDestroy(self, stream: int) -> tuple[Status]:
        self.streams -= 1
        return (Status.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Status]:
        assert self.captured is None
        return (Status.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[Status]:
        self.captured = []
        return (Status.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Status, list | None]:
        work, self.captured = self.captured, None
        return self.capture_status, work

    def cudaGraphInstantiate(self, graph: list, flags: int) -> tuple[Status, tuple]:
        executable = tuple(graph)
        self.graphs.add(id(executable))
        return Status.cudaSuccess, executable

    def cudaGraphDestroy(self, graph: list) -> tuple[Status]:
        return (Status.cudaSuccess,)

    def cudaGraphExecDestroy(self, executable: tuple) -> tuple[Status]:
        self.graphs.remove(id(executable))
        return (Status.cudaSuccess,)

    def cudaGraphLaunch(self, executable: tuple, stream: int) -> tuple[Status]:
        assert id(executable) in self.graphs
        self.launches += 1
        for work in executable:
            work()
        return (Status.cudaSuccess,)

    def cudaGetLastError(self) -> tuple[Status]:
        return (Status.cudaSuccess,)

    def cudaMalloc(self, size: int) -> tuple[Status, int | None]:
        if size > self.limit:
            return Status.cudaErrorMemoryAllocation, None
        buffer = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(buffer)] = buffer
        return Status.cudaSuccess, ctypes.addressof(buffer)

    def cudaFree(self, address: int) -> tuple[Status]:
        del self.memory[address]
        return (Status.cudaSuccess,)

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int) -> tuple[Status]:
        assert stream == 7
        assert size <= len(self.memory[target if kind == 1 else source])
        ctypes.memmove(target, source, size)
        return (Status.cudaSuccess,)


class HostContext:
    """The small model, on addresses, within the profile 2 to 4 clouds of 8 to 32 points."""

    def __init__(self, weight: np.ndarray, runtime: HostRuntime) -> None:
        self.weight, self.runtime = weight, runtime
        self.address: dict[str, int] = {}
        self.shape: tuple[int, ...] = ()

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        return index == 0 and stream == 7

    def set_device_memory(self, address: int, size: int) -> None:
        assert len(self.runtime.memory[address]) >= size

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = tuple(shape)
        return 2 <= shape[0] <= 4 and 8 <= shape[1] <= 32 and shape[2] == 3

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape if name == "points" else (self.shape[0], 4)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.address[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        shape, address = self.shape, dict(self.address)

        def work() -> None:
            count = int(np.prod(shape))
            points = np.ctypeslib.as_array((ctypes.c_float * count).from_address(address["points"]))
            result = (points.reshape(shape) @ self.weight).max(axis=1)
            ctypes.memmove(address["embedding"], result.ctypes.data, result.nbytes)

        self.runtime.launch(work)
        return True


def host_trt(weight: np.ndarray, runtime: HostRuntime) -> SimpleNamespace:
    """The module, whose engine is the small model."""

    class Logger:
        Severity = SimpleNamespace(ERROR=1, INTERNAL_ERROR=0)

    engine = SimpleNamespace(
        num_io_tensors=2,
        device_memory_size_v2=64,
        create_execution_context=lambda strategy: HostContext(weight, runtime),
        get_tensor_name=lambda i: ("points", "embedding")[i],
        get_tensor_mode=lambda name: "in" if name == "points" else "out",
        get_tensor_dtype=lambda name: "float32",
        get_tensor_shape=lambda name: (-1, -1, 3),
        get_tensor_profile_shape=lambda name, index: [(2, 8, 3), (3, 16, 3), (4, 32, 3)],
    )
    loader = SimpleNamespace(deserialize_cuda_engine=lambda plan: engine if len(plan) > 1000 else None)
    module = ModuleType("host")
    module.ILogger = Logger
    module.Runtime = lambda logger: loader
    module.TensorIOMode = SimpleNamespace(INPUT="in")
    module.ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED=2)
    module.float32 = "float32"
    module.__version__ = "1.7.1"
    return module


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> HostRuntime:
    """A host-memory device in the place of CUDA and TensorRT."""
    runtime = HostRuntime()
    monkeypatch.setattr(backend, "cuda_runtime", lambda: runtime)
    monkeypatch.setattr(backend, "device_count", lambda: 1)
    monkeypatch.setattr(backend, "compute_capability", lambda index: "sm86")
    monkeypatch.setattr(backend, "require", lambda *arguments: host_trt(WEIGHT, runtime))
    return runtime
