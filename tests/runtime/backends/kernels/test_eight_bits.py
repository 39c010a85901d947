"""Where the layers of 8 bits are put, and that networks stay what they are."""

import subprocess

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from crosspoint.runtime.backends import kernels
from crosspoint.runtime.backends.kernels.compile import compiler
from crosspoint.runtime.backends.kernels.eight_bits import put_layers
from crosspoint.runtime.backends.kernels.exported import put_kernels
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.backends.onnx_messages import ModelProto

pytest.importorskip("onnxruntime")

NETWORKS = {
    "DGCNN": ({"k": 6}, {"Product8": 3, "Edge8": 3, "Pool8": 1, "Nearest16": 3}),
    "PointNet": ({}, {"Linear8": 3, "Max8": 1}),
    "SegmentationBackbone": ({"k": 5}, {}),
    "DGCNNSegmenter": ({"parts": 7, "categories": 3, "k": 5}, {}),
}


@pytest.fixture(scope="module")
def quantised():
    """An int8 graph of a network, calibrated on what `inputs_of` gives."""
    pytest.importorskip("torch")
    import torch

    from crosspoint import models
    from crosspoint.export.onnx.build import build
    from crosspoint.export.onnx.calibrate import calibrate
    from crosspoint.export.onnx.fold import deploy
    from crosspoint.export.onnx.graph_view import GraphView
    from crosspoint.export.onnx.int8 import quantisable, quantise

    made = {}

    def make(name):
        if name not in made:
            torch.manual_seed(0)
            model = build(deploy(getattr(models, name)(**NETWORKS[name][0]).eval()), None)
            layers = quantisable(model)
            reads = [node.input[0] for node in GraphView(model).products() if node.name in layers]
            made[name] = quantise(model, calibrate(model, reads, inputs=inputs_of(name)), layers=layers)
        copy = onnx.ModelProto()
        copy.CopyFrom(made[name])
        return copy

    return make


def inputs_of(name):
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (3, 70, 3)).astype(np.float32)
    return {"points": points} | ({"category": np.eye(3, dtype=np.float32)} if name == "DGCNNSegmenter" else {})


def counts(model):
    found = [node.op_type for node in model.graph.node if node.op_type.endswith(("8", "16"))]
    return {kind: found.count(kind) for kind in dict.fromkeys(found)}


def rewritten(model):
    model = ModelProto.FromString(model.SerializeToString())
    assert put_kernels(model)
    put_layers(model.graph, search=True)
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_no_product_of_8_bits_is_left_to_onnx_runtime(name, quantised):
    model = rewritten(quantised(name))
    makers = {output: node.op_type for node in model.graph.node for output in node.output}
    left = [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and "DequantizeLinear" in map(makers.get, node.input)
    ]
    assert not left
    assert "DequantizeLinear" not in makers.values()
    assert NETWORKS[name][1].items() <= counts(model).items()


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_give_what_standard_operators_give(name, quantised, library, tmp_path):
    onnx.save(quantised(name), tmp_path / "m.onnx")
    outputs = []
    for operators in (True, False):
        with OnnxEncoder(tmp_path / "m.onnx", threads=1, operators=operators) as encoder:
            outputs.append(next(iter(encoder.run(inputs_of(name)).values())))
    # a value in the middle of two codes may get either
    assert np.linalg.norm(outputs[0] - outputs[1]) <= 2e-3 * np.linalg.norm(outputs[1])


def change(model, name, array):
    (constant,) = (constant for constant in model.graph.initializer if constant.name == name)
    constant.CopyFrom(numpy_helper.from_array(array, name))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layer2/linear/product/weight/int8", 65),
        ("layer2/linear/product/weight/int8", -65),
        *(("layer2/linear/product/weight/scale", value) for value in (0.0, -1.0, np.inf, np.nan)),
        ("layer2/linear/product/weight/zero", 1),
    ],
)
def test_a_product_that_is_not_as_the_exporter_writes_it_stays(name, value, quantised):
    model = quantised("PointNet")
    array = numpy_helper.to_array(next(c for c in model.graph.initializer if c.name == name)).copy()
    array.flat[0] = value
    change(model, name, array)
    assert counts(rewritten(model)) == {"Linear8": 2, "Max8": 1}


def test_neighbours_that_are_outputs_as_well_are_still_made(quantised):
    model = quantised("DGCNN")
    names = [node.output[1] for node in model.graph.node if node.op_type == "TopK"]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.INT64, None) for name in names)
    model = rewritten(model)
    made = {name for node in model.graph.node for name in node.output}
    assert made >= {*names}
    assert counts(model)["Nearest16"] == 3


def test_a_float32_graph_keeps_its_products(quantised):
    pytest.importorskip("torch")
    model = onnx.load_from_string((kernels.FOLDER.parents[2] / "weights" / "dgcnn.onnx").read_bytes())
    assert counts(rewritten(model)) == {}


def test_a_bias_of_another_size_is_left_to_onnx_runtime(quantised):
    model = quantised("PointNet")
    change(model, "layer2/linear/bias", np.zeros(1, np.float32))
    assert counts(rewritten(model)) == {"Product8": 1, "Linear8": 2, "Max8": 1}


def test_plain_c_leaves_products_to_onnx_runtime(quantised, monkeypatch):
    monkeypatch.setattr(kernels, "level", lambda: kernels.PLAIN)
    content = quantised("PointNet").SerializeToString()
    assert counts(onnx.load_from_string(kernels.with_kernels(content))) == {}


def test_a_library_of_an_earlier_source_gets_no_layers(tmp_path, monkeypatch):
    if compiler() is None:
        pytest.skip("no C compiler")
    (tmp_path / "old.c").write_text("int nothing(void) { return 0; }\n")
    library = tmp_path / "old.so"
    subprocess.run([*compiler(), "-shared", "-fPIC", "-o", str(library), str(tmp_path / "old.c")], check=True)
    monkeypatch.setattr(kernels, "LIBRARY", library)
    assert kernels.level() == kernels.PLAIN
