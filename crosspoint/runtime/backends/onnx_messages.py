"""The protobuf messages of ONNX, to read a graph and change it without the package `onnx`.

`onnx` takes 60 ms to import and 33 MB on disk; `protobuf` is there anyway, because ONNX Runtime needs it. Messages that
nothing here looks into are kept as bytes, and fields that are not listed as they are. The numbers are those of
https://github.com/onnx/onnx/blob/main/onnx/onnx-ml.proto.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import AttributeProto as AttributeProto
    from onnx import GraphProto as GraphProto
    from onnx import ModelProto as ModelProto
    from onnx import NodeProto as NodeProto
    from onnx import OperatorSetIdProto as OperatorSetIdProto
    from onnx import TensorProto as TensorProto
    from onnx import ValueInfoProto as ValueInfoProto

PACKAGE = "crosspoint.onnx"
MESSAGES = {  # name, number and type of each field; `*`: repeated, `**`: repeated and packed
    "ModelProto": """ir_version 1 int64, producer_name 2 string, producer_version 3 string, domain 4 string,
        model_version 5 int64, doc_string 6 string, graph 7 GraphProto, opset_import 8 *OperatorSetIdProto,
        metadata_props 14 *bytes, training_info 20 *bytes, functions 25 *bytes, configuration 26 *bytes""",
    "OperatorSetIdProto": "domain 1 string, version 2 int64",
    "GraphProto": """node 1 *NodeProto, name 2 string, initializer 5 *TensorProto, doc_string 10 string,
        input 11 *ValueInfoProto, output 12 *ValueInfoProto, value_info 13 *bytes, quantization_annotation 14 *bytes,
        sparse_initializer 15 *bytes, metadata_props 16 *bytes""",
    "NodeProto": """input 1 *string, output 2 *string, name 3 string, op_type 4 string, attribute 5 *AttributeProto,
        doc_string 6 string, domain 7 string, overload 8 string, metadata_props 9 *bytes,
        device_configurations 10 *bytes""",
    "AttributeProto": """name 1 string, f 2 float, i 3 int64, s 4 bytes, t 5 bytes, g 6 bytes, floats 7 *float,
        ints 8 *int64, strings 9 *bytes, tensors 10 *bytes, graphs 11 *bytes, doc_string 13 string, tp 14 bytes,
        type_protos 15 *bytes, type 20 int32, ref_attr_name 21 string, sparse_tensor 22 bytes,
        sparse_tensors 23 *bytes""",
    "TensorProto": """dims 1 *int64, data_type 2 int32, segment 3 bytes, float_data 4 **float, int32_data 5 **int32,
        string_data 6 *bytes, int64_data 7 **int64, name 8 string, raw_data 9 bytes, double_data 10 **double,
        uint64_data 11 **uint64, doc_string 12 string, external_data 13 *bytes, data_location 14 int32,
        metadata_props 16 *bytes""",
    "ValueInfoProto": "name 1 string, type 2 TypeProto, doc_string 3 string, metadata_props 4 *bytes",
    "TypeProto": """tensor_type 1 TensorTypeProto, sequence_type 4 bytes, map_type 5 bytes, denotation 6 string,
        opaque_type 7 bytes, sparse_tensor_type 8 bytes, optional_type 9 bytes""",
    "TensorTypeProto": "elem_type 1 int32, shape 2 TensorShapeProto",
    "TensorShapeProto": "dim 1 *DimensionProto",
    "DimensionProto": "dim_value 1 int64, dim_param 2 string, denotation 3 string",
}
UNDEFINED, FLOAT, INT8, INT64, FLOAT16, BFLOAT16 = 0, 1, 3, 7, 10, 16  # types of a tensor
DTYPES: dict[int, np.dtype[Any]] = {FLOAT: np.dtype("<f4"), INT8: np.dtype("<i1"), INT64: np.dtype("<i8")}
HERE = 0  # location of a tensor's values: in the file
NUMBER, INTEGER, INTEGERS = 1, 2, 7  # types of an attribute


def _file() -> descriptor_pb2.FileDescriptorProto:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="crosspoint/onnx.proto", package=PACKAGE, syntax="proto2")
    for message, fields in MESSAGES.items():
        described = file.message_type.add(name=message)
        for field in fields.split(","):
            name, number, kind = field.split()
            one = described.field.add(name=name, number=int(number))
            one.label = kinds.LABEL_REPEATED if kind.startswith("*") else kinds.LABEL_OPTIONAL
            if kind.startswith("**"):
                one.options.packed = True
            kind = kind.strip("*")
            if kind in MESSAGES:
                one.type, one.type_name = kinds.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
            else:
                one.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    return file


if not TYPE_CHECKING:
    POOL = descriptor_pool.DescriptorPool()  # of its own: `onnx` puts messages with these names into the default one
    POOL.AddSerializedFile(_file().SerializeToString())
    CLASSES = {
        name: message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES
    }
    AttributeProto, GraphProto, ModelProto = (CLASSES[f"{name}Proto"] for name in ("Attribute", "Graph", "Model"))
    NodeProto, OperatorSetIdProto = CLASSES["NodeProto"], CLASSES["OperatorSetIdProto"]
    TensorProto, ValueInfoProto = CLASSES["TensorProto"], CLASSES["ValueInfoProto"]


def make_node(
    kind: str, inputs: Sequence[str], *, outputs: Sequence[str], name: str = "", domain: str = ""
) -> NodeProto:
    """A node without attributes."""
    return NodeProto(op_type=kind, input=inputs, output=outputs, name=name or None, domain=domain or None)


def make_attribute(name: str, value: int | float | Iterable[int]) -> AttributeProto:
    """An attribute: an integer, a number or integers."""
    if isinstance(value, int):
        return AttributeProto(name=name, type=INTEGER, i=value)  # type: ignore[arg-type]
    if isinstance(value, float):
        return AttributeProto(name=name, type=NUMBER, f=value)  # type: ignore[arg-type]
    return AttributeProto(name=name, type=INTEGERS, ints=value)  # type: ignore[arg-type]


def make_tensor(array: NDArray[Any], name: str) -> TensorProto:
    """A constant of one of the types in `DTYPES`."""
    kind = next(kind for kind, dtype in DTYPES.items() if dtype == array.dtype)
    return TensorProto(dims=array.shape, data_type=kind, name=name, raw_data=array.tobytes())


def array_of(tensor: TensorProto) -> NDArray[Any]:
    """The values of a constant that is stored raw in one of the types in `DTYPES`; of another one no values: (0,)."""
    dtype = DTYPES.get(tensor.data_type)
    if dtype is None or len(tensor.raw_data) != math.prod(tensor.dims) * dtype.itemsize:
        return np.empty(0, object)
    return np.frombuffer(tensor.raw_data, dtype).reshape(tuple(tensor.dims))
