"""CPU operators of this package (`edges.c`), inserted into the graph when ONNX Runtime opens it.

The exported file contains only standard ONNX, which every runtime reads. On the CPU, ONNX Runtime's TopK uses a heap
and its gather writes every edge. The session therefore gets the same graph with these operators replaced:

        Sub, TopK                       →  Nearest      same neighbours, same order, same choice among ties
        Transpose, MatMul, Sub, TopK    →  NearestPoints  the same of points in three dimensions (`tree.h`)
        Unsqueeze, GatherND, ReduceMax  →  GatherMax    same numbers
        ReduceMax, ReduceMean           →  Max, Mean    over an axis before the last; means differ in the last digit
        products of 8 bits              →  layers that keep the products out of memory (`eight_bits.py`)

Only graphs that are node for node as this package exports them are changed (`exported.py`); others run as they are.
The library is compiled when the wheel is built. Without the library, the standard graph runs.
"""

import ctypes
import importlib

from crosspoint.runtime.backends.kernels.compile import FOLDER, SUFFIX

LIBRARY = FOLDER / f"edges{SUFFIX}"
PLAIN, AVX2, AVX512, VNNI, AMX = range(5)  # instructions that the library can use, as in instructions.h
BYTES = (1 << 31) - 1  # largest protobuf message


def available() -> bool:
    """Whether this installation has the compiled operators, and `protobuf` to insert them."""
    try:
        importlib.import_module("google.protobuf")
    except ImportError:
        return False
    return LIBRARY.is_file()


def level() -> int:
    """The instructions that the library uses on this CPU; `PLAIN` of one that was compiled from an earlier source."""
    found = getattr(ctypes.CDLL(str(LIBRARY)), "crosspoint_level", None)
    return PLAIN if found is None else int(found())


def with_kernels(content: bytes) -> bytes | None:
    """Insert the operators into the graph of an ONNX file, given as bytes; return the new graph as bytes.

    Returns None if the graph is not exactly as this package exports it, or has no place for an operator. ONNX Runtime
    then opens the original bytes. No other file is read.
    """
    from crosspoint.runtime.backends.kernels.eight_bits import put_layers
    from crosspoint.runtime.backends.kernels.exported import put_kernels
    from crosspoint.runtime.backends.onnx_messages import ModelProto

    try:
        model = ModelProto.FromString(content)
    except Exception:  # errors of protobuf; ONNX Runtime reports what is wrong
        return None
    if not put_kernels(model):
        return None
    if (fastest := level()) > PLAIN:  # in plain C, ONNX Runtime's own products of 8 bits are faster
        put_layers(model.graph, search=fastest >= VNNI)
    return bytes(model.SerializeToString())
