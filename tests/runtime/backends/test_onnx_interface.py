"""ONNX files of other origin: names, unknown widths, and what their messages advise."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from crosspoint.core.errors import InputError
from crosspoint.data.points import normalise
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.load import load_encoder

WEIGHT = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
FORMS = {
    "named": (("batch", "points", 3), ("batch", 5)),
    "width unknown": (("batch", "points", 3), ("batch", "width")),
    "no shape of the output": (("batch", "points", 3), None),
    "no shape at all": (None, None),
    "one cloud of a fixed size": ((1, 40, 3), ("a", "b")),
    "coordinates unknown": (("batch", "points", "xyz"), ("batch", "width")),
}


def write(path, form, *, source="x", result="linear_7", weights=True, more=()):
    """`max_p x_p W` of every cloud, with inputs and outputs of any name and declared shape."""
    given, made = FORMS[form] if isinstance(form, str) else form
    reduce = helper.make_node("ReduceMax", [source], ["top"], axes=[1], keepdims=0)
    product = helper.make_node(*(("MatMul", ["top", "w"]) if weights else ("Identity", ["top"])), [result])
    others = [helper.make_node("Identity", ["top"], [name]) for name in more]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, made) for name in (result, *more)]
    graph = helper.make_graph(
        [reduce, product, *others],
        "main_graph",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, given)],
        outputs,
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def clouds():
    return normalise(np.random.default_rng(1).normal(size=(3, 40, 3)))


@pytest.mark.parametrize("form", FORMS)
def test_a_file_of_any_names_and_shapes_is_opened(tmp_path, clouds, form):
    with OnnxEncoder(write(tmp_path / "m.onnx", form), threads=2) as encoder:
        assert (encoder.specification.dim, encoder.specification.architecture) == (5, "unknown")
        np.testing.assert_allclose(encoder.embed(clouds), clouds.max(axis=1) @ WEIGHT, rtol=1e-5)


def test_of_several_outputs_the_embedding_is_taken(tmp_path, clouds):
    path = write(tmp_path / "m.onnx", "width unknown", result="embedding", more=("other",))
    with OnnxEncoder(path) as encoder:
        np.testing.assert_allclose(encoder.embed(clouds), clouds.max(axis=1) @ WEIGHT, rtol=1e-5)


def test_what_pytorch_writes_is_opened(tmp_path, clouds):
    torch = pytest.importorskip("torch")

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(3, 5)

        def forward(self, points):
            return self.linear(points).amax(dim=1)

    network, path = Network().eval(), tmp_path / "m.onnx"
    axes = {"x": {0: "batch", 1: "points"}}
    with pytest.warns(DeprecationWarning, match="legacy"):  # the form without onnxscript
        torch.onnx.export(network, (torch.zeros(2, 9, 3),), path, dynamo=False, input_names=["x"], dynamic_axes=axes)
    with OnnxEncoder(path) as encoder, torch.inference_mode():
        np.testing.assert_allclose(encoder.embed(clouds), network(torch.from_numpy(clouds)).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("form", "options", "message"),
    [
        ((("batch", 3, 40), ("batch", 40)), {"weights": False}, r"points must be \(B, N, 3\)"),
        ((("batch", "points", 6), ("batch", 6)), {"weights": False}, r"points must be \(B, N, 3\)"),
        ("named", {"more": ("second",)}, "maps x to linear_7, second"),
    ],
)
def test_a_file_that_cannot_be_used_names_the_way_by_its_checkpoint(tmp_path, form, options, message):
    with pytest.raises(InputError, match=f"(?s){message}.*crosspoint import") as caught:
        OnnxEncoder(write(tmp_path / "m.onnx", form, **options))
    assert "\n" not in str(caught.value)


def test_an_output_for_every_point_is_no_embedding(tmp_path):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "main_graph",
        [value("x", TensorProto.FLOAT, ("batch", "points", 3))],
        [value("y", TensorProto.FLOAT, ("batch", "points", 5))],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(InputError, match=r"an encoder gives \(B, D\)"):
        OnnxEncoder(tmp_path / "m.onnx")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".t7"])
def test_a_checkpoint_is_sent_to_import(tmp_path, suffix):
    (tmp_path / f"m{suffix}").write_bytes(b"")
    with pytest.raises(InputError, match=r"crosspoint import .*m\.[pt7h]+ --out encoder\.safetensors"):
        load_encoder(tmp_path / f"m{suffix}")
