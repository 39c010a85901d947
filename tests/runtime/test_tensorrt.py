"""What holds of the TensorRT backend without a GPU, with the real modules; execution is in the tests marked `gpu`.

`HostRuntime` and `HostContext` stand in for the GPU in host memory, so that copies, shapes, padding and the freeing of
buffers are checked everywhere. They prove nothing about TensorRT itself.
"""

import ast
import ctypes
import importlib
import inspect
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from crosspoint.errors import InputError, MissingDependency
from crosspoint.runtime import cuda, load_encoder, load_manifest
from crosspoint.runtime import tensorrt as backend

Clouds = Callable[..., np.ndarray]


def test_an_engine_does_not_run_on_the_cpu(engine_bundle: Path) -> None:
    for model, chosen in ((engine_bundle / "encoder.plan", None), (engine_bundle, "tensorrt")):
        with pytest.raises(InputError, match=r"runs on a GPU only; give --device cuda, or .*--backend onnxruntime"):
            load_encoder(model, "cpu", chosen)


def test_a_changed_engine_is_not_deserialized(engine_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = engine_bundle / "encoder.plan"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    def forbidden(*arguments: object) -> None:
        raise AssertionError("TensorRT was reached")

    monkeypatch.setattr(backend, "require", forbidden)
    with pytest.raises(InputError, match=r"encoder\.plan is not the file that was exported"):
        load_encoder(engine_bundle, "cuda")


def test_without_a_gpu_it_says_so(engine_bundle: Path, no_gpu: None) -> None:
    with pytest.raises(
        InputError, match=r"encoder\.plan cannot run here: .*\(\w+\); .*--backend onnxruntime"
    ) as caught:
        load_encoder(engine_bundle, "cuda")
    assert "\n" not in str(caught.value)


def test_a_flavour_that_is_not_installed(engine_bundle: Path, small: SimpleNamespace) -> None:
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("tensorrt is installed")
    small.write_manifest(engine_bundle, {**small.engine, "builder": "tensorrt"})
    with pytest.raises(MissingDependency, match=r"needs the package tensorrt .*crosspoint3d\[trt\]"):
        load_encoder(engine_bundle, "cuda")


@pytest.mark.parametrize("engine", [None, {"builder": "other"}])
def test_an_engine_of_unknown_origin(engine_bundle: Path, small: SimpleNamespace, engine: dict | None) -> None:
    small.write_manifest(engine_bundle, None if engine is None else {**small.engine, **engine})
    with pytest.raises(InputError, match="does not say which TensorRT built it"):
        load_encoder(engine_bundle / "encoder.plan", "cuda")


def test_the_real_api_has_all_that_is_used() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    owners = {
        "trt": trt,
        "runtime": trt.Runtime,
        "engine": trt.ICudaEngine,
        "_engine": trt.ICudaEngine,
        "_context": trt.IExecutionContext,
        "cuda": cuda.cuda_runtime(),
        "_cuda": cuda.cuda_runtime(),
    }
    used = set()
    for node in ast.walk(ast.parse(inspect.getsource(backend))):
        match node:  # runtime.name, self._context.name
            case ast.Attribute(ast.Name(owner) | ast.Attribute(ast.Name("self"), owner), name):
                used.add((owner, name))
    checked = {(owner, name) for owner, name in used if owner in owners}
    assert {("engine", "get_tensor_profile_shape"), ("_context", "execute_async_v3")} <= checked
    assert [pair for pair in sorted(checked) if not hasattr(owners[pair[0]], pair[1])] == []


def test_the_logger_keeps_the_errors_of_the_real_runtime(capfd: pytest.CaptureFixture[str]) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    logger = backend._logger(trt)
    assert trt.Runtime(logger).deserialize_cuda_engine(b"rubbish") is None
    assert logger.errors
    assert all("\n" not in message for message in logger.errors)
    assert capfd.readouterr() == ("", "")


def test_a_failing_call_names_itself(no_gpu: None) -> None:
    with pytest.raises(InputError, match=r"cudaGetDeviceCount failed with cudaError\w+"):
        cuda.call(cuda.cuda_runtime().cudaGetDeviceCount)


# In host memory


class Status(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2


class HostRuntime:
    """CUDA's runtime with host memory for a device; refuses what is out of bounds or freed."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def __init__(self) -> None:
        self.memory: dict[int, ctypes.Array] = {}
        self.streams = 0
        self.limit = 1 << 20

    def cudaSetDevice(self, index: int) -> tuple[Status]:
        return (Status.cudaSuccess,)

    def cudaStreamCreate(self) -> tuple[Status, int]:
        self.streams += 1
        return Status.cudaSuccess, 7

    def cudaStreamDestroy(self, stream: int) -> tuple[Status]:
        self.streams -= 1
        return (Status.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Status]:
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

    def __init__(self, weight: np.ndarray) -> None:
        self.weight = weight
        self.address: dict[str, int] = {}
        self.shape: tuple[int, ...] = ()

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = tuple(shape)
        return 2 <= shape[0] <= 4 and 8 <= shape[1] <= 32 and shape[2] == 3

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape if name == "points" else (self.shape[0], 4)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.address[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        count = int(np.prod(self.shape))
        points = np.ctypeslib.as_array((ctypes.c_float * count).from_address(self.address["points"]))
        result = (points.reshape(self.shape) @ self.weight).max(axis=1).astype(np.float32)
        ctypes.memmove(self.address["embedding"], result.ctypes.data, result.nbytes)
        return True


def host_trt(weight: np.ndarray) -> SimpleNamespace:
    """The module, whose engine is the small model."""

    class Logger:
        Severity = SimpleNamespace(ERROR=1, INTERNAL_ERROR=0)

    engine = SimpleNamespace(
        num_io_tensors=2,
        create_execution_context=lambda: HostContext(weight),
        get_tensor_name=lambda i: ("points", "embedding")[i],
        get_tensor_mode=lambda name: "in" if name == "points" else "out",
        get_tensor_dtype=lambda name: "float32",
        get_tensor_shape=lambda name: (-1, -1, 3),
        get_tensor_profile_shape=lambda name, index: [(2, 8, 3), (3, 16, 3), (4, 32, 3)],
    )
    runtime = SimpleNamespace(deserialize_cuda_engine=lambda plan: engine if plan else None)
    return SimpleNamespace(
        ILogger=Logger,
        Runtime=lambda logger: runtime,
        TensorIOMode=SimpleNamespace(INPUT="in"),
        float32="float32",
        __version__="0",
    )


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> HostRuntime:
    """A host-memory device in the place of CUDA and TensorRT."""
    weight = np.array([[1, 0, 0, 2], [0, 1, 0, -1], [0, 0, 1, 0.5]], np.float32)
    runtime = HostRuntime()
    monkeypatch.setattr(backend, "cuda_runtime", lambda: runtime)
    monkeypatch.setattr(backend, "device_count", lambda: 1)
    monkeypatch.setattr(backend, "compute_capability", lambda index: "sm86")
    monkeypatch.setattr(backend, "require", lambda *arguments: host_trt(weight))
    return runtime


def test_copies_shapes_and_padding(
    engine_bundle: Path, host: HostRuntime, small: SimpleNamespace, clouds: Clouds
) -> None:
    with load_encoder(engine_bundle, "cuda") as encoder:
        specification = encoder.specification
        assert (specification.dim, specification.points, specification.device) == (4, None, "cuda:0")
        assert (specification.min_batch, specification.max_batch) == (2, 4)
        assert (specification.min_points, specification.max_points) == (8, 32)
        for batch, points in ((1, 8), (4, 32), (3, 9), (9, 16)):
            np.testing.assert_allclose(
                encoder.embed(clouds(batch, points)), small.reference(clouds(batch, points)), rtol=1e-5, atol=1e-6
            )
        assert len(host.memory) == 2
        with pytest.raises(InputError, match="8 to 32"):
            encoder.embed(clouds(2, 33))
    assert (len(host.memory), host.streams) == (0, 0)


def test_all_is_freed_when_opening_fails(engine_bundle: Path, host: HostRuntime) -> None:
    host.limit = 1000  # enough for no input buffer
    with pytest.raises(InputError, match="cudaMalloc failed with cudaErrorMemoryAllocation"):
        load_encoder(engine_bundle, "cuda")
    assert (len(host.memory), host.streams) == (0, 0)


def test_an_engine_that_does_not_load_is_explained(
    engine_bundle: Path, host: HostRuntime, small: SimpleNamespace
) -> None:
    (engine_bundle / "encoder.plan").write_bytes(b"")
    small.write_manifest(engine_bundle, small.engine)
    with pytest.raises(
        InputError, match=r"built with tensorrt-rtx 1\.7\.1 for sm86 and does not load on sm86 .*crosspoint export"
    ):
        load_encoder(engine_bundle, "cuda")


def test_a_device_that_is_not_there(engine_bundle: Path, host: HostRuntime) -> None:
    with pytest.raises(InputError, match="device cuda:1 was asked for, and there are 1"):
        load_encoder(engine_bundle, "cuda:1")


# On a GPU


@pytest.mark.gpu
def test_splits_and_pads_to_the_profile(gpu: None, engine_bundle: Path, small: SimpleNamespace, clouds: Clouds) -> None:
    with load_encoder(engine_bundle, "cuda") as encoder:
        assert encoder.specification.backend == "tensorrt-rtx"
        for batch, points in ((1, 8), (2, 16), (3, 9), (4, 32), (9, 16)):
            np.testing.assert_allclose(
                encoder.embed(clouds(batch, points)), small.reference(clouds(batch, points)), rtol=1e-4, atol=1e-5
            )


@pytest.mark.gpu
def test_a_damaged_engine_with_a_matching_hash_is_explained(
    gpu: None, engine_bundle: Path, small: SimpleNamespace
) -> None:
    path = engine_bundle / "encoder.plan"
    path.write_bytes(path.read_bytes()[:1000])
    small.write_manifest(engine_bundle, small.engine)
    with pytest.raises(InputError, match=r"does not load on sm\d+ .*rebuild it here"):
        load_encoder(engine_bundle, "cuda")


@pytest.mark.gpu
def test_manifest_and_specification_agree(gpu: None, engine_bundle: Path) -> None:
    manifest = load_manifest(engine_bundle)
    with load_encoder(engine_bundle, "cuda") as encoder:
        assert encoder.specification.sha256 == manifest.files["encoder.plan"].sha256
        assert (encoder.specification.min_batch, encoder.specification.max_batch) == (2, 4)
