"""The package's own CPU operators (`edges.c`), put into a graph when ONNX Runtime opens it.

The exported file keeps to standard ONNX, which every runtime reads. On the CPU, where ONNX Runtime's TopK is a heap and
its gather writes every edge, the session gets the same graph with these replaced:

    Sub, TopK                       →  Nearest      the same neighbours in the same order, ties included
    Unsqueeze, GatherND, ReduceMax  →  GatherMax    the same numbers
    ReduceMax, ReduceMean           →  Max, Mean    over an axis before the last; means differ in their last digit

Only a graph that is node for node one of the exporter's gets them (`exported.py`); any other runs as it is. The library
is compiled when the package's wheel is built; a package without it runs the standard graph.
"""

import importlib

from crosspoint.runtime.backends.kernels.compile import FOLDER, SUFFIX

LIBRARY = FOLDER / f"edges{SUFFIX}"
BYTES = (1 << 31) - 1  # most of a protobuf message


def available() -> bool:
    """Whether this installation has the compiled operators, and `onnx` to put them into a graph."""
    try:
        importlib.import_module("onnx")
    except ImportError:
        return False
    return LIBRARY.is_file()


def with_kernels(content: bytes) -> bytes | None:
    """The graph in an ONNX file's bytes with the operators in it, serialized.

    None for a graph that is not exactly one of this package's exporter, and where there is no place for an operator.
    ONNX Runtime then reads the bytes themselves. No other file is read.
    """
    from onnx import load_model_from_string

    from crosspoint.runtime.backends.kernels.exported import put_kernels

    try:
        model = load_model_from_string(content)
    except Exception:  # protobuf's; ONNX Runtime says what is wrong with the file
        return None
    return bytes(model.SerializeToString()) if put_kernels(model) else None
