"""Small models of known outcome: `embedding = max over points of (points @ W)`, W (3, 4), for every backend."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from host_cuda import HostCuda
from host_tensorrt import HostTensorRT, Model
from onnx import TensorProto, helper, numpy_helper

from crosspoint.core.errors import CrosspointError
from crosspoint.export.engine.builder import Builder, build_engine, find_builder, find_gpu
from crosspoint.runtime.backends import cuda
from crosspoint.runtime.backends import tensorrt as backend
from crosspoint.runtime.backends.cuda import device_count
from crosspoint.runtime.profile import Profile

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
        segments=segments,
        segmenter=SEGMENTER,
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
    engine = build_engine(builder, (bundle / "encoder.onnx").read_bytes(), profile=profile)
    (bundle / "encoder.plan").write_bytes(engine.plan)
    entry = {"builder": builder.name, "version": builder.module.__version__, "targets": list(builder.targets)}
    write_manifest(bundle, {**ENGINE, **entry})
    return bundle


# The GPU in host memory: tests/stand_ins/README.md


def segments(points: np.ndarray, category: np.ndarray) -> np.ndarray:
    """What the small segmenter computes: (B, N, 3) and (B, 2) to (B, N, 2)."""
    return points[..., :2] + 10 * category[:, None]


ENCODER = Model(
    profile={"points": ((2, 8, 3), (3, 16, 3), (4, 32, 3))},
    outputs=lambda shapes: {"embedding": (shapes["points"][0], 4)},
    compute=lambda given: {"embedding": (given["points"] @ WEIGHT).max(axis=1)},
    types={},
)
SEGMENTER = Model(
    profile={"points": ((2, 8, 3), (3, 16, 3), (4, 32, 3)), "category": ((2, 2), (3, 2), (4, 2))},
    outputs=lambda shapes: {"logits": (*shapes["points"][:2], 2)},
    compute=lambda given: {"logits": segments(given["points"], given["category"])},
    types={},
)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> HostCuda:
    """Host memory in the place of CUDA and TensorRT; `host.trt` is the module that opens engines."""
    runtime = HostCuda()
    runtime.trt = HostTensorRT("host", runtime, ENCODER)
    monkeypatch.setattr(backend, "cuda_runtime", lambda: runtime)
    monkeypatch.setattr(cuda, "cuda_runtime", lambda: runtime)
    monkeypatch.setattr(backend, "require", lambda *_, **__: runtime.trt)
    return runtime


@pytest.fixture
def captures(host: HostCuda) -> HostTensorRT:
    """`host` with TensorRT-RTX's way of running engines: it captures by itself, and compiles at run time."""
    host.trt = HostTensorRT("host_rtx", host, ENCODER, captures=True)
    return host.trt
