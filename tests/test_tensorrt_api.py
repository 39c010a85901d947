"""Every attribute of TensorRT that is used here is there: in the real `tensorrt_rtx`, and in what is known of TensorRT
10.3, 10.13 and 11.4 (`tensorrt_api.json`)."""

import ast
import importlib
import inspect
import json
from pathlib import Path

import pytest

from crosspoint.export.engine import builder as adapter
from crosspoint.runtime.backends import cuda, graphs, kernel_cache, tensorrt_log
from crosspoint.runtime.backends import tensorrt as backend

KNOWN = json.loads((Path(__file__).parent / "tensorrt_api.json").read_text())["modules"]
# what the variables of the code hold
BUILDING = {
    "trt_builder": "Builder",
    "config": "IBuilderConfig",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "shapes": "IOptimizationProfile",
    "tensor": "ITensor",
    "layer": "ILayer",
    "cache": "ITimingCache",
}
RUNNING = {
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "_engine": "ICudaEngine",
    "context": "IExecutionContext",
    "_context": "IExecutionContext",
    "config": "IRuntimeConfig",
    "cache": "IRuntimeCache",
    "_cache": "IRuntimeCache",
}
# used only where `hasattr` has found the first of them
DETECTED = {
    "CudaGraphStrategy": {"_capturing_context"},  # functions
    "set_compute_capability": {"num_compute_capabilities", "set_compute_capability", "ComputeCapability"},  # names
}


def api(name: str) -> dict[str, set[str]]:
    """Names of the classes of a module, real or known."""
    if name != "tensorrt_rtx":
        return {owner: set(names.split()) for owner, names in KNOWN[name].items()}
    trt = pytest.importorskip(name)
    return {owner: set(dir(getattr(trt, owner))) for owner in dir(trt)}


def uses(module, owners: dict[str, str], leaving_out: set[str] = frozenset()) -> set[tuple[str, str]]:
    """(class, name) of all `variable.name`, `self.variable.name`, `trt.Class` and `trt.Class.name` in a module."""
    found = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef) and node.name in leaving_out:
            return
        match node:
            case ast.Attribute(
                ast.Attribute(ast.Name("trt") | ast.Attribute(ast.Name("self"), "_trt"), owner), name
            ) if owner[0].isupper():
                found.add((owner, name))
            case ast.Attribute(ast.Name("trt") | ast.Attribute(ast.Name("self"), "_trt"), name):
                found.add((name, ""))
            case ast.Attribute(ast.Name(owner) | ast.Attribute(ast.Name("self"), owner), name) if owner in owners:
                found.add((owners[owner], name))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(inspect.getsource(module)))
    return found


def missing(used: set[tuple[str, str]], there: dict[str, set[str]]) -> list[tuple[str, str]]:
    special = {("__version__", ""), ("__name__", ""), ("ILogger", "__init__"), ("IProgressMonitor", "__init__")}
    special |= {(owner, "__members__") for owner in ("ComputeCapability",) if owner in there}
    return sorted(
        (owner, name) for owner, name in used - special if owner not in there or (name and name not in there[owner])
    )


@pytest.mark.parametrize("name", ["tensorrt_rtx", *KNOWN])
def test_all_that_building_uses_is_there(name: str) -> None:
    used, there = uses(adapter, BUILDING), api(name)
    assert {("Builder", "build_serialized_network"), ("BuilderFlag", "TF32"), ("IBuilderConfig", "set_flag")} <= used
    if "set_compute_capability" not in there["IBuilderConfig"]:
        used = {pair for pair in used if not set(pair) & DETECTED["set_compute_capability"]}
    assert missing(used | uses(tensorrt_log, {}), there) == []


@pytest.mark.parametrize("name", ["tensorrt_rtx", *KNOWN])
def test_all_that_running_uses_is_there(name: str) -> None:
    there = api(name)
    captures = "CudaGraphStrategy" in there
    used = uses(backend, RUNNING, set() if captures else DETECTED["CudaGraphStrategy"])
    used |= uses(kernel_cache, RUNNING) if captures else set()
    assert {("ICudaEngine", "get_tensor_profile_shape"), ("IExecutionContext", "execute_async_v3")} <= used
    assert (("IRuntimeCache", "deserialize") in used) is captures
    assert missing(used | uses(tensorrt_log, {}), there) == []


def test_precisions_are_types_of_every_tensorrt() -> None:
    for name in KNOWN:
        assert set(adapter.PRECISIONS) <= api(name)["DataType"]


def test_all_that_is_used_of_cuda_is_there() -> None:
    runtime = cuda.cuda_runtime()
    used = set()
    for module in (backend, graphs, cuda):
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            match node:
                case ast.Attribute(ast.Name("cuda") | ast.Attribute(ast.Name("self"), "_cuda"), name):
                    used.add(name)
    assert {"cudaGraphInstantiate", "cudaStreamCreateWithFlags", "cudaMalloc"} <= used
    assert [name for name in sorted(used) if not hasattr(runtime, name)] == []


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_the_known_names_are_those_of_the_module_that_is_installed(name: str) -> None:
    try:
        trt = importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name} is not installed")
    there = {owner: set(dir(getattr(trt, owner))) for owner in dir(trt)}
    used = uses(backend, RUNNING, set() if "CudaGraphStrategy" in there else DETECTED["CudaGraphStrategy"])
    assert missing(used, there) == []
