"""CPU operators of this package (`edges.c`), inserted into the graph when ONNX Runtime opens it.

The exported file contains only standard ONNX, which every runtime reads. On the CPU, ONNX Runtime's TopK uses a heap
and its gather writes every edge. The session therefore gets the same graph with these operators replaced:

        Sub, TopK                       →  Nearest      same neighbours, same order, same choice among ties
        Transpose, MatMul, Sub, TopK    →  NearestPoints  the same of points in three dimensions (`tree.h`)
        Unsqueeze, GatherND, ReduceMax  →  GatherMax    same numbers
        ReduceMax, ReduceMean           →  Max, Mean    over an axis before the last; means differ in the last digit
        products of 8 bits              →  layers that keep the products out of memory (`layers.py`, `eight_bits.py`)
        products of bfloat16            →  the same (`sixteen_bits.py`), on a CPU with AVX512-BF16

Only graphs that are node for node as this package exports them are changed (`exported.py`); others run as they are.
The library is compiled when the wheel is built. Without the library, the standard graph runs, and ONNX Runtime refuses
one in bf16.
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


def lacks_bf16() -> str:
    """Why layers in bf16 do not run on this CPU; empty if they do."""
    if not available():
        return "this installation has no compiled CPU operators"
    try:
        found = getattr(ctypes.CDLL(str(LIBRARY)), "crosspoint_has_bf16", None)
    except OSError:
        return f"{LIBRARY}, the compiled CPU operators, does not load"
    if found is None:
        return "the compiled CPU operators are those of an earlier version"
    return "" if found() else "this CPU has no AVX512-BF16"


def with_kernels(content: bytes) -> bytes | None:
    """Insert the operators into the graph of an ONNX file, given as bytes; return the new graph as bytes.

    Returns None if the graph is not exactly as this package exports it, has no place for an operator, or is in bf16 and
    this CPU lacks the instructions. ONNX Runtime then opens the original bytes. No other file is read.
    """
    from crosspoint.runtime.backends.kernels import eight_bits, sixteen_bits
    from crosspoint.runtime.backends.kernels.exported import put_kernels
    from crosspoint.runtime.backends.onnx_messages import ModelProto

    try:
        model = ModelProto.FromString(content)
    except Exception:  # errors of protobuf; ONNX Runtime reports what is wrong
        return None
    fastest = level()
    products: set[str] | None = set()
    if sixteen_bits.is_bf16(model.graph):
        products = None if lacks_bf16() else sixteen_bits.widen(model.graph)
    if products is None or not put_kernels(model):
        return None
    if products and not sixteen_bits.put_layers(model.graph, products, search=fastest >= VNNI):
        return None
    if not products and fastest > PLAIN:  # in plain C, ONNX Runtime's own products of 8 bits are faster
        eight_bits.put_layers(model.graph, search=fastest >= VNNI)
    return bytes(model.SerializeToString())
