"""Refuses dangerous ONNX models. Reads the protobuf bytes, without the package `onnx`, before the model is opened.

Refused are tensors in other files (https://github.com/onnx/onnx/blob/main/docs/ExternalData.md), because such a model
decides which files are read; and a GatherND with a negative number of batch dimensions, which ONNX Runtime does not
check and which crashes the process.
"""

from collections.abc import Iterator

from crosspoint.core.errors import InputError

PARTS = {  # for each message and field number, the message in that field
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
EXTERNAL_DATA, DATA_LOCATION, EXTERNAL = 13, 14, 1  # fields of a tensor; the location "external"
OPERATOR, ATTRIBUTE = 4, 5  # fields of a node
NAME, INTEGER = 1, 3  # fields of an attribute; a negative number has the sign bit of 64 bits
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types
WIDTH = {FIXED64: 8, FIXED32: 4}


def check_model(content: bytes) -> None:
    """Refuse a model that must not be given to ONNX Runtime.

    Args:
        content: The bytes of the `.onnx` file.

    Raises:
        InputError: A tensor lies in another file, or a node would crash the process.
        ValueError: The bytes are not protobuf.
    """
    waiting = [("model", memoryview(content))]
    while waiting:
        kind, message = waiting.pop()
        if kind == "node":
            _check_node(message)
        for number, value in _fields(message):
            if kind == "tensor" and (number == EXTERNAL_DATA or (number, value) == (DATA_LOCATION, EXTERNAL)):
                raise InputError(
                    "keeps tensors in other files, which are never read; save the model as one file, with "
                    "torch.onnx.export(..., external_data=False)"
                )
            if number in PARTS[kind] and isinstance(value, memoryview):
                waiting.append((PARTS[kind][number], value))


def _check_node(node: memoryview) -> None:
    fields = list(_fields(node))
    if not any(number == OPERATOR and _text(value) == b"GatherND" for number, value in fields):
        return
    for number, value in fields:
        attribute = dict(_fields(value)) if number == ATTRIBUTE and isinstance(value, memoryview) else {}
        count = attribute.get(INTEGER)
        if _text(attribute.get(NAME)) == b"batch_dims" and isinstance(count, int) and count >> 63:
            raise InputError("has a GatherND with a negative batch_dims; export the model again")


def _text(value: memoryview | int | None) -> bytes:
    return bytes(value) if isinstance(value, memoryview) else b""


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Number and value of each field of a message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        length, at = _varint(message, at) if wire == BYTES else (WIDTH.get(wire, -1), at)
        if length < 0 or at + length > len(message):
            raise ValueError("a field of a protobuf is cut off or of an unknown type")
        yield key >> 3, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Read a varint: the number, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            break
        byte, at = message[at], at + 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number of a protobuf is cut off or too long")
