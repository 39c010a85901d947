import numpy as np
import onnx
import onnxruntime
import pytest

from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.calibrate import calibrate
from crosspoint.export.onnx.fold import deploy
from crosspoint.export.onnx.graph_view import GraphView
from crosspoint.export.onnx.int8 import quantisable, quantise
from crosspoint.export.onnx.precision import product_precisions
from crosspoint.parity.clouds import ordinary


def session(model):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def relative_l2(a, b):
    a, b = (array.reshape(len(array), -1) for array in (a, b))
    return (np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max()


@pytest.fixture
def graph(network):
    return lambda name: build(deploy(network(name)), None)


def inputs_of(name):
    inputs = {"points": ordinary(4, 48)}
    return inputs | ({"category": np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]} if name == "dgcnn_partseg" else {})


def ranges_of(model, layers, inputs):
    return calibrate(
        model, [node.input[0] for node in GraphView(model).products() if node.name in layers], inputs=inputs
    )


def test_products_with_coordinates_or_categories_are_left_alone(graph):
    assert quantisable(graph("pointnet")) == [*(f"layer{i}/linear/product" for i in (2, 3, 4)), "layer5/product"]
    assert not {"edge1/near", "edge1/own/product"} & set(quantisable(graph("dgcnn")))
    assert "category/linear/product" not in quantisable(graph("dgcnn_partseg"))


@pytest.mark.parametrize(("inputs", "chosen"), [(15, False), (16, True), (64, True)])
def test_a_product_of_fewer_than_sixteen_channels_is_narrow(inputs, chosen):
    weight = onnx.numpy_helper.from_array(np.ones((inputs, 4), np.float32), "weight")
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2, c]) for n, c in (("x", inputs), ("y", 4)))
    node = onnx.helper.make_node("MatMul", ["x", "weight"], ["y"], "product")
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y], [weight]))
    model.opset_import[0].version = 17
    assert quantisable(model) == (["product"] if chosen else [])


@pytest.mark.parametrize("name", ["dgcnn", "pointnet", "dgcnn_seg", "dgcnn_partseg"])
def test_the_layers_are_int8_and_the_rest_is_as_it_was(name, graph):
    model, inputs = graph(name), inputs_of(name)
    layers = quantisable(model)
    result = quantise(model, ranges_of(model, layers, inputs), layers=layers)
    onnx.checker.check_model(result, full_check=True)
    found = product_precisions(result)
    assert {layer for layer, kind in found.items() if kind == "int8"} == set(layers)
    assert set(found.values()) == {"int8", "fp32"}
    assert relative_l2(session(result).run(None, inputs)[0], session(model).run(None, inputs)[0]) < 0.025


def test_distances_read_what_was_not_quantised(graph):
    model, inputs = graph("dgcnn"), inputs_of("dgcnn")
    layers = quantisable(model)
    view = GraphView(quantise(model, ranges_of(model, layers, inputs), layers=layers))
    island = view.island()
    assert not island.uncentred
    kinds = {view.nodes[i].op_type for i in island.nodes}
    assert not kinds & {"QuantizeLinear", "DequantizeLinear"}
    mean = next(node for node in view.nodes if node.name == "edge2/mean")
    assert [*mean.input] == ["edge1"]


def test_a_product_is_that_of_rounded_factors(graph):
    model, inputs = graph("pointnet"), inputs_of("pointnet")
    name = "layer2/linear/product"
    ranges = ranges_of(model, [name], inputs)
    quantised = quantise(model, ranges, layers=[name])
    for value in ("layer1", name):
        for subject in (model, quantised):
            subject.graph.output.append(onnx.helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, None))
    x, exact = session(model).run(["layer1", name], inputs)
    (found,) = session(quantised).run([name], inputs)
    weight = onnx.numpy_helper.to_array(next(c for c in model.graph.initializer if c.name == f"{name}/weight"))
    step = np.abs(x).max() / 127
    steps = np.maximum(np.abs(weight).max(axis=0), 1e-30) / 63  # so that no CPU saturates
    expected = (np.clip(np.rint(x / step), -128, 127) @ np.rint(weight / steps)) * step * steps
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert 1e-4 < relative_l2(found, exact) < 0.05


def test_a_column_of_zeros_stays_zero(graph):
    model, inputs = graph("pointnet"), inputs_of("pointnet")
    name = "layer2/linear/product"
    constant = next(c for c in model.graph.initializer if c.name == f"{name}/weight")
    weight = onnx.numpy_helper.to_array(constant).copy()
    weight[:, 3] = 0
    constant.CopyFrom(onnx.numpy_helper.from_array(weight, constant.name))
    quantised = quantise(model, ranges_of(model, [name], inputs), layers=[name])
    quantised.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    (found,) = session(quantised).run([name], inputs)
    assert (found[..., 3] == 0).all()


def test_the_same_clouds_give_the_same_bytes(graph):
    results = []
    for _ in range(2):
        model, inputs = graph("dgcnn"), inputs_of("dgcnn")
        layers = quantisable(model)
        results.append(
            quantise(model, ranges_of(model, layers, inputs), layers=layers).SerializeToString(deterministic=True)
        )
    assert results[0] == results[1]
