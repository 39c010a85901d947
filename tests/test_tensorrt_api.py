"""Every attribute of TensorRT that is used here is there: in the real `tensorrt_rtx`, and in what is known of TensorRT
10.3, 10.13 and 11.4 (`tensorrt_api.json`).

What the code uses of TensorRT's objects stands in tables, by class. The tables are held against the code in both
directions, by the names of the attributes alone: what a variable is called makes no difference.
"""

import ast
import importlib
import inspect
import json
import re
from pathlib import Path

import pytest

from crosspoint.export.engine import builder as adapter
from crosspoint.runtime.backends import cuda, graphs, kernel_cache, tensorrt_log
from crosspoint.runtime.backends import tensorrt as backend

KNOWN = json.loads((Path(__file__).parent / "tensorrt_api.json").read_text())["modules"]
BUILDING = {
    "Builder": "build_serialized_network create_builder_config create_network create_optimization_profile",
    "IBuilderConfig": "add_optimization_profile clear_flag create_timing_cache get_flag get_timing_cache "
    "progress_monitor set_flag set_memory_pool_limit set_timing_cache",
    "ILayer": "get_output num_outputs",
    "INetworkDefinition": "get_input get_layer get_output num_inputs num_layers num_outputs",
    "IOptimizationProfile": "set_shape",
    "ITensor": "dtype name shape",
    "ITimingCache": "serialize",
    "OnnxParser": "get_error num_errors parse",
    "ParserError": "desc",
}
TARGETS = {"IBuilderConfig": "num_compute_capabilities set_compute_capability"}  # used where the second is there
RUNNING = {
    "ICudaEngine": "create_engine_inspector create_execution_context device_memory_size_v2 get_tensor_dtype "
    "get_tensor_mode get_tensor_name get_tensor_profile_shape get_tensor_shape num_io_tensors",
    "IExecutionContext": "execute_async_v3 get_tensor_shape set_device_memory set_input_shape "
    "set_optimization_profile_async set_tensor_address",
    "Runtime": "deserialize_cuda_engine engine_host_code_allowed",
}
CAPTURING = {  # used where there is a `CudaGraphStrategy`
    "ICudaEngine": "create_runtime_config",
    "IRuntimeCache": "deserialize serialize",
    "IRuntimeConfig": "create_runtime_cache cuda_graph_strategy set_runtime_cache",
}
DETECTED = {"CudaGraphStrategy", "ComputeCapability"}  # classes that the code asks for before it uses them
OWN = {"engine", "update"}  # names of TensorRT's that in these modules are only those of other objects


def api(name: str) -> dict[str, set[str]]:
    """Names of the classes of a module, real or known."""
    if name != "tensorrt_rtx":
        return {owner: set(names.split()) for owner, names in KNOWN[name].items()}
    return names_of(pytest.importorskip(name))


def names_of(trt) -> dict[str, set[str]]:
    return {owner: set(dir(getattr(trt, owner))) for owner in dir(trt)}


def attributes(*modules) -> set[str]:
    """The names of all attributes that stand in modules."""
    nodes = (node for module in modules for node in ast.walk(ast.parse(inspect.getsource(module))))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def classes_used(*modules) -> set[tuple[str, str]]:
    """(class, name) of all `….Class.name`, and (class, "") of all `….Class`, of TensorRT's classes."""
    classes = {owner for version in KNOWN.values() for owner in version} | DETECTED
    found = set()
    for node in (node for module in modules for node in ast.walk(ast.parse(inspect.getsource(module)))):
        match node:
            case ast.Attribute(ast.Attribute(_, owner), name) if owner in classes:
                found.add((owner, name))
            case ast.Attribute(_, owner) if owner in classes:
                found.add((owner, ""))
    return found


def in_table(*tables: dict[str, str]) -> set[tuple[str, str]]:
    return {(owner, name) for table in tables for owner, names in table.items() for name in names.split()}


def missing(used: set[tuple[str, str]], there: dict[str, set[str]]) -> list[tuple[str, str]]:
    """What of it a TensorRT does not have, but for what every class has, and for what the code asks for first."""
    special = {("ILogger", "__init__"), ("IProgressMonitor", "__init__"), ("ComputeCapability", "__members__")}
    return sorted(
        (owner, name)
        for owner, name in used - special
        if (owner not in there and owner not in DETECTED) or (owner in there and name and name not in there[owner])
    )


@pytest.mark.parametrize(
    ("modules", "tables"),
    [((adapter,), (BUILDING, TARGETS)), ((backend, kernel_cache), (RUNNING, CAPTURING))],
    ids=["building", "running"],
)
def test_the_tables_are_what_the_code_uses(modules, tables) -> None:
    written, listed = attributes(*modules), {name for _, name in in_table(*tables)}
    assert listed - written == set()
    owners = {owner for table in tables for owner in table}
    known = set().union(*(version.get(owner, "").split() for version in KNOWN.values() for owner in owners))
    assert (written & known) - listed - OWN == set()


@pytest.mark.parametrize("name", ["tensorrt_rtx", *KNOWN])
def test_all_that_building_uses_is_there(name: str) -> None:
    there = api(name)
    used = classes_used(adapter, tensorrt_log) | in_table(BUILDING)
    assert {("BuilderFlag", "TF32"), ("ILogger", "Severity"), ("OnnxParser", "")} <= used
    if "set_compute_capability" in there["IBuilderConfig"]:
        used |= in_table(TARGETS)
    assert missing(used, there) == []


@pytest.mark.parametrize("name", ["tensorrt_rtx", *KNOWN])
def test_all_that_running_uses_is_there(name: str) -> None:
    there = api(name)
    used = classes_used(backend, tensorrt_log) | in_table(RUNNING)
    assert {("TensorIOMode", "INPUT"), ("ExecutionContextAllocationStrategy", "USER_MANAGED")} <= used
    if "CudaGraphStrategy" in there:
        used |= in_table(CAPTURING)
    assert missing(used, there) == []


def test_what_is_not_there_is_seen() -> None:
    for name in KNOWN:
        assert missing(in_table(CAPTURING), api(name)) != []
        assert missing({("Builder", "build_anything"), ("Nothing", "")}, api(name)) != []


def test_precisions_are_types_of_every_tensorrt() -> None:
    for name in KNOWN:
        assert set(adapter.PRECISIONS) <= api(name)["DataType"]


def test_all_that_is_used_of_cuda_is_there() -> None:
    """Functions and enumerations, and the members of those enumerations that are used."""
    runtime = cuda.cuda_runtime()
    used = {name for name in attributes(backend, graphs, cuda) if re.match("cuda[A-Z]", name)}
    assert {"cudaGraphInstantiate", "cudaStreamCreateWithFlags", "cudaMemcpyKind", "cudaMemcpyHostToDevice"} <= used
    kinds = (getattr(runtime, name, None) for name in used)
    members = set().union(*(getattr(kind, "__members__", ()) for kind in kinds))
    assert sorted(used - members - set(dir(runtime))) == []


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_the_known_names_are_those_of_the_module_that_is_installed(name: str) -> None:
    try:
        trt = importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name} is not installed")
    there = names_of(trt)
    used = classes_used(backend) | in_table(RUNNING)
    assert missing(used | (in_table(CAPTURING) if "CudaGraphStrategy" in there else set()), there) == []
