"""The messages are those of the package `onnx`: fields, bytes and equality."""

import numpy as np
import pytest

from crosspoint.runtime.backends import onnx_messages as messages

onnx = pytest.importorskip("onnx")
from google.protobuf import descriptor_pb2  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

FIELD = descriptor_pb2.FieldDescriptorProto
THEIRS = {  # names of nested messages
    "TensorTypeProto": onnx.TypeProto.Tensor,
    "DimensionProto": onnx.TensorShapeProto.Dimension,
}


def described(message):
    """Number, label, type and packing of each field of a message, by name."""
    found = descriptor_pb2.DescriptorProto()
    message.DESCRIPTOR.CopyToProto(found)
    return {one.name: (one.number, one.label, one.type, one.options.packed) for one in found.field}


@pytest.mark.parametrize("name", messages.MESSAGES)
def test_every_field_has_the_number_and_type_of_onnx(name):
    ours, theirs = described(messages.CLASSES[name]), described(THEIRS.get(name) or getattr(onnx, name))
    common = ours.keys() & theirs.keys()  # an older onnx lacks the newest fields
    assert common
    kept = {FIELD.TYPE_ENUM: FIELD.TYPE_INT32}  # an unknown value is then not lost
    for field in common:
        number, label, kind, packed = theirs[field]
        known = kind if kind != FIELD.TYPE_MESSAGE or ours[field][2] == kind else FIELD.TYPE_BYTES
        assert ours[field] == (number, label, kept.get(known, known), packed), field


@pytest.fixture
def model():
    """A model with fields of every kind, among them messages that are kept as bytes."""
    graph = helper.make_graph(
        [
            helper.make_node("Identity", ["points"], ["a"], "first", domain="d", doc_string="text"),
            helper.make_node("If", ["a"], ["b"], then_branch=helper.make_graph([], "inner", [], [])),
            helper.make_node("X", ["b"], ["c"], f=0.5, i=-3, s="s", t=numpy_helper.from_array(np.eye(2)), ints=[1, -2]),
            helper.make_node("Y", ["c"], ["d"], floats=[1.0, 2.0], strings=["a", "b"]),
        ],
        "graph",
        [helper.make_tensor_value_info("points", TensorProto.FLOAT, ["batch", 5, 3])],
        [helper.make_tensor_value_info("d", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3), "raw"),
            helper.make_tensor("values", TensorProto.FLOAT, [2], [1.0, 2.0]),
            helper.make_tensor("texts", TensorProto.STRING, [1], [b"x"]),
            helper.make_tensor("integers", TensorProto.INT64, [2], [1, -1]),
        ],
        value_info=[helper.make_tensor_value_info("a", TensorProto.FLOAT, [1])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="p")
    helper.set_model_props(made, {"crosspoint": "{}"})
    made.functions.add(name="f")
    made.graph.initializer[0].external_data.add(key="location", value="x")
    return made


def test_a_model_that_is_read_and_written_keeps_its_bytes(model):
    content = model.SerializeToString(deterministic=True)
    ours = messages.ModelProto.FromString(content)
    assert ours.SerializeToString(deterministic=True) == content
    assert [node.op_type for node in ours.graph.node] == ["Identity", "If", "X", "Y"]
    assert ours.functions
    assert ours.graph.initializer[0].external_data


def test_a_field_that_is_not_listed_is_kept(model):
    content = model.SerializeToString() + b"\xa2\x06\x02hi"  # field 100
    assert messages.ModelProto.FromString(content).SerializeToString().endswith(b"\xa2\x06\x02hi")


@pytest.mark.parametrize("value", [3, -1, 1 << 40, 0.25, [1], [2, -2], []])
def test_attributes_are_those_of_onnx(value):
    theirs = helper.make_attribute("a", value, attr_type=onnx.AttributeProto.INTS if value == [] else None)
    assert messages.make_attribute("a", value).SerializeToString() == theirs.SerializeToString()


@pytest.mark.parametrize("name", ["", "n"])
def test_nodes_are_those_of_onnx(name):
    ours = messages.make_node("Max", ["a", "b"], outputs=["c"], name=name, domain="crosspoint")
    assert (
        ours.SerializeToString()
        == helper.make_node("Max", ["a", "b"], ["c"], name, domain="crosspoint").SerializeToString()
    )


@pytest.mark.parametrize(
    "array", [np.float32(0.5), np.arange(3), np.zeros((0, 2), np.float32), np.ones((2, 2), np.int8)]
)
def test_tensors_are_those_of_onnx(array):
    array = np.asarray(array)
    theirs = numpy_helper.from_array(array, "t")
    assert messages.make_tensor(array, "t").SerializeToString() == theirs.SerializeToString()


def test_values_come_back_and_those_in_another_type_or_place_do_not():
    for array in (np.arange(6, dtype=np.float32).reshape(2, 3), np.array(3), np.zeros((0, 2), np.int8)):
        found = messages.array_of(messages.make_tensor(np.asarray(array), "t"))
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)
    for tensor in (numpy_helper.from_array(np.eye(2), "t"), helper.make_tensor("t", TensorProto.FLOAT, [1], [1.0])):
        assert messages.array_of(tensor).shape == (0,)
