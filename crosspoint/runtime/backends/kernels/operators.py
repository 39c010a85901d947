"""`crosspoint operators`: writes a graph with this package's CPU operators and their library, for other programs."""

import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from crosspoint.core.errors import CheckFailed, InputError, require
from crosspoint.core.files import atomic_folder, write_json
from crosspoint.core.outputs import check_known, check_replaceable, is_schema
from crosspoint.core.reading import read_json
from crosspoint.core.results import Result
from crosspoint.data.points import normalise
from crosspoint.runtime.backends import kernels
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.backends.onnx_messages import ModelProto
from crosspoint.runtime.load import load_encoder
from crosspoint.runtime.open_model import read_same

GRAPH, RESULT = "encoder.onnx", "operators.json"
FILES = (GRAPH, RESULT, "edges.so", "edges.dylib", "edges.dll")
LIMIT = 1e-4  # of relative L2, as of fp32 in the parity gate
LIMIT_OF_CODES = 1e-2  # with int8: where a value lies between two codes, its last digit decides
POINTS = 1024
COMPILE = "install a C compiler and run python -m crosspoint.runtime.backends.kernels.compile"


@dataclass(frozen=True)
class OperatorsResult(Result):
    """A graph with the CPU operators.

    Attributes:
        onnx: The standard ONNX file.
        sha256: Its SHA-256.
        out: The folder.
        graph: Name of the new graph in it.
        library: Name of the library.
        operators: Number of nodes of each operator.
        relative_l2: Difference of the outputs of the two graphs.
    """

    schema: ClassVar[str] = "crosspoint.operators/1"

    onnx: str
    sha256: str
    out: str
    graph: str
    library: str
    operators: dict[str, int]
    relative_l2: float


def write_operators(model: Path | str, out: Path) -> OperatorsResult:
    """Write an ONNX file's graph with the CPU operators, and the library of the operators.

    Any program that uses ONNX Runtime on the CPU runs it after it has registered the library.

    Args:
        model: A bundle, an `.onnx` file of `crosspoint export`, or the name of a released model.
        out: Folder for the graph and the library of this platform; an earlier result there is replaced.

    Returns:
        What was written.

    Raises:
        InputError: The model cannot be read or has no place for the operators, or the folder cannot be written.
        CheckFailed: The outputs of the two graphs differ; nothing is written.
        MissingDependency: onnxruntime is not installed.
    """
    require("onnxruntime", "cpu", purpose="writing a graph with CPU operators")
    if not kernels.LIBRARY.is_file():
        raise InputError(f"this installation has no compiled CPU operators; {COMPILE}")
    check_replaceable(out, _check_ours, inputs=[Path(model)])
    with load_encoder(model, backend="onnxruntime", threads=1) as encoder:
        specification = encoder.specification
        content = read_same(Path(specification.path), specification.sha256)
        inputs = _inputs(specification.points or max(POINTS, specification.min_points), specification.categories)
    if "bf16" in specification.precision:
        raise InputError(
            f"{specification.path} is bf16, which ONNX Runtime cannot run without the CPU operators, so that nothing "
            "would check their outputs; give an fp32 or int8 export"
        )
    graph = kernels.with_kernels(content)
    if graph is None:
        raise InputError(
            f"{specification.path} has no place for the CPU operators: it is fp16 or of another program; give an fp32 "
            "or int8 export"
        )
    difference = _difference(Path(specification.path), content, inputs)
    nodes = Counter(node.op_type for node in ModelProto.FromString(graph).graph.node if node.domain)
    result = OperatorsResult(
        onnx=specification.path,
        sha256=specification.sha256,
        out=str(out),
        graph=GRAPH,
        library=kernels.LIBRARY.name,
        operators=dict(sorted(nodes.items())),
        relative_l2=difference,
    )
    with atomic_folder(out, _check_ours) as folder:
        (folder / GRAPH).write_bytes(graph)
        shutil.copyfile(kernels.LIBRARY, folder / kernels.LIBRARY.name)
        write_json(folder / RESULT, result.to_json())
    return result


def _inputs(count: int, categories: int | None) -> dict[str, NDArray[np.float32]]:
    points = normalise(np.random.default_rng(0).standard_normal((1, count, 3)))
    category = {} if categories is None else {"category": np.eye(1, categories, dtype=np.float32)}
    return {"points": points, **category}


def _difference(path: Path, content: bytes, inputs: dict[str, NDArray[np.float32]]) -> float:
    """The largest relative L2 error of an output of the graph with the operators.

    Raises:
        CheckFailed: It is larger than `LIMIT`, or with int8 than `LIMIT_OF_CODES`.
    """
    outputs = []
    for operators in (False, True):
        with OnnxEncoder(path, threads=1, operators=operators, content=content) as encoder:
            outputs.append(encoder.run(inputs))
    plain, fast = outputs
    sizes = {name: max(float(np.linalg.norm(plain[name])), 1e-12) for name in plain}
    largest = max(float(np.linalg.norm(fast[name] - plain[name])) / sizes[name] for name in plain)
    limit = LIMIT_OF_CODES if b"QuantizeLinear" in content else LIMIT
    if not largest <= limit:  # NaN too
        raise CheckFailed(
            f"the graph with the CPU operators differs from {path} by {largest:.1e} (limit {limit:g}); nothing was "
            "written: compile the operators again on this machine"
        )
    return largest


def _check_ours(folder: Path) -> None:
    """Raise InputError if a folder is not an earlier result."""
    path = folder / RESULT
    if not is_schema(read_json(path, "a result") if path.is_file() else None, "operators"):
        raise InputError(f"{folder} holds files that crosspoint operators did not write; give a new folder for --out")
    check_known(folder, FILES.__contains__)
