from pathlib import Path

import numpy as np
import pytest

import crosspoint
from crosspoint.core.errors import InputError
from crosspoint.runtime.backends.onnx_guard import (
    ATTRIBUTE,
    DATA_LOCATION,
    EXTERNAL_DATA,
    INTEGER,
    NAME,
    OPERATOR,
    PARTS,
    check_model,
)

onnx = pytest.importorskip("onnx")

MESSAGES = {
    "model": "ModelProto",
    "training": "TrainingInfoProto",
    "graph": "GraphProto",
    "function": "FunctionProto",
    "node": "NodeProto",
    "attribute": "AttributeProto",
    "sparse": "SparseTensorProto",
    "tensor": "TensorProto",
}


def test_every_message_that_can_hold_a_tensor_is_followed():
    names = {value: key for key, value in MESSAGES.items()}
    for ours, theirs in MESSAGES.items():
        fields = getattr(onnx, theirs).DESCRIPTOR.fields
        held = {f.number: names[f.message_type.name] for f in fields if f.message_type and f.message_type.name in names}
        assert PARTS[ours] == held
    fields = {field.name: field.number for field in onnx.TensorProto.DESCRIPTOR.fields}
    assert (fields["external_data"], fields["data_location"]) == (EXTERNAL_DATA, DATA_LOCATION)
    fields = {field.name: field.number for field in onnx.NodeProto.DESCRIPTOR.fields}
    assert (fields["op_type"], fields["attribute"]) == (OPERATOR, ATTRIBUTE)
    fields = {field.name: field.number for field in onnx.AttributeProto.DESCRIPTOR.fields}
    assert (fields["name"], fields["i"]) == (NAME, INTEGER)


@pytest.mark.parametrize(("count", "refused"), [(-(2**63), True), (-9, True), (-1, True), (0, False), (99, False)])
def test_a_negative_number_of_batch_dimensions_is_refused(count, refused):
    """Such a node would end the process inside ONNX Runtime, and with it this test."""
    node = onnx.helper.make_node("GatherND", ["points", "rows"], ["embedding"], batch_dims=count)
    points, embedding = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("points", ["b", "n", 3]), ("embedding", ["b", 1, 3]))
    )
    rows = onnx.numpy_helper.from_array(np.zeros((1, 1, 1), np.int64), "rows")
    content = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [points], [embedding], [rows])
    ).SerializeToString()
    if refused:
        with pytest.raises(InputError, match="negative batch_dims"):
            check_model(content)
    else:
        check_model(content)


def model(tensor, where):
    constant = onnx.helper.make_node("Constant", [], ["c"], value=tensor)
    branch = onnx.helper.make_graph([constant], "branch", [], [onnx.helper.make_empty_tensor_value_info("c")])
    nodes = {
        "initializer": [],
        "constant": [constant],
        "branch": [onnx.helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)],
    }[where]
    graph = onnx.helper.make_graph(nodes, "g", [], [], [tensor] if where == "initializer" else [])
    return onnx.helper.make_model(graph)


@pytest.mark.parametrize("where", ["initializer", "constant", "branch"])
def test_tensors_in_other_files_are_refused(where):
    tensor = onnx.numpy_helper.from_array(np.arange(9.0), "w")
    check_model(model(tensor, where).SerializeToString())
    for change in ("location", "data"):
        outside = onnx.TensorProto()
        outside.CopyFrom(tensor)
        if change == "location":
            outside.data_location = onnx.TensorProto.EXTERNAL
        else:
            outside.external_data.add(key="location", value="../../etc/passwd")
        with pytest.raises(InputError, match="keeps tensors in other files"):
            check_model(model(outside, where).SerializeToString())


def test_models_of_the_package_hold_everything():
    for path in (Path(crosspoint.__file__).parent / "weights").glob("*.onnx"):
        check_model(path.read_bytes())


@pytest.mark.parametrize("content", [b"\x3a", b"\x3a\xff", b"\xff" * 11, b"\x3b", b"\x3a\x05abc", b"\x39abc"])
def test_other_bytes_are_no_protobuf(content):
    with pytest.raises(ValueError, match="of a protobuf"):
        check_model(content)
