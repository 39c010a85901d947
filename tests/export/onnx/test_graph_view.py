import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.fold import deploy
from crosspoint.export.onnx.graph_view import GraphView

INPUT = "points"


def model_of(nodes, constants=(), shape=("batch", 16, 3)):
    """A graph from `points` to the indices `chosen (batch, 16, 4)`."""
    return helper.make_model(
        helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("chosen", TensorProto.INT64, ("batch", 16, 4))],
            [numpy_helper.from_array(np.array([4], np.int64), "k"), *constants],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def node(operator, output, *inputs, **attributes):
    return helper.make_node(operator, [*inputs], [output], output, **attributes)


def choice(scores):
    return helper.make_node("TopK", [scores, "k"], ["best", "chosen"], "choice", axis=2)


def names(view, positions):
    return {view.nodes[i].name for i in positions}


@pytest.mark.parametrize("name", ["dgcnn", "dgcnn_seg", "dgcnn_partseg"])
def test_the_island_is_from_centring_to_the_choice_and_holds_no_layer(name, network):
    view = GraphView(build(deploy(network(name)), None))
    island = view.island()
    found = names(view, island.nodes)
    assert not island.uncentred
    assert {"edge1/mean", "edge1/centred", "edge1/products", "edge1/scores", "edge3/neighbours"} <= found
    assert not found & {product.name for product in view.products()}
    assert not any("/max" in entry or "/own" in entry or entry[-5:] == "/near" for entry in found)


def test_the_island_does_not_depend_on_names_or_on_how_distances_are_computed():
    # |x_i − x_j|² in full, chosen among in two stages
    nodes = [
        node("ReduceSum", "a", INPUT, "axis", keepdims=1),
        node("Mul", "b", "a", "sixteenth"),
        node("Sub", "c", INPUT, "b"),
        node("Unsqueeze", "d", "c", "axis"),
        node("Unsqueeze", "e", "c", "two"),
        node("Sub", "f", "d", "e"),
        node("ReduceSumSquare", "g", "f", axes=[3], keepdims=0),
        node("Neg", "h", "g"),
        helper.make_node("TopK", ["h", "eight"], ["i", "j"], "first", axis=2),
        choice("i"),
    ]
    constants = [
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
        numpy_helper.from_array(np.array([2], np.int64), "two"),
        numpy_helper.from_array(np.array([8], np.int64), "eight"),
        numpy_helper.from_array(np.array(1 / 16, np.float32), "sixteenth"),
    ]
    view = GraphView(model_of(nodes, constants))
    island = view.island()
    assert names(view, island.nodes) == {"a", "b", "c", "d", "e", "f", "g", "h", "first", "choice"}
    assert not island.uncentred


def test_features_that_are_not_centred_are_named():
    square = [node("Transpose", "others", "x", perm=[0, 2, 1]), node("MatMul", "scores", "x", "others")]
    weight = numpy_helper.from_array(np.eye(3, dtype=np.float32), "weight")
    activated = [node("MatMul", "product", INPUT, "weight"), node("Relu", "x", "product")]
    assert GraphView(model_of([*activated, *square, choice("scores")], [weight])).island().uncentred == {"x"}
    linear = [node("MatMul", "x", INPUT, "weight")]
    assert GraphView(model_of([*linear, *square, choice("scores")], [weight])).island().uncentred == {"x"}
    plain = [node("Identity", "x", INPUT)]
    assert GraphView(model_of([*plain, *square, choice("scores")])).island().uncentred == {INPUT}


def test_subtracting_the_mean_of_something_else_is_not_centring():
    nodes = [
        node("Abs", "other", INPUT),
        node("ReduceMean", "mean", "other", axes=[1], keepdims=1),
        node("Sub", "x", INPUT, "mean"),
        node("Transpose", "others", "x", perm=[0, 2, 1]),
        node("MatMul", "scores", "x", "others"),
        choice("scores"),
    ]
    assert GraphView(model_of(nodes)).island().uncentred == {INPUT}


def test_what_precedes_a_choice_is_all_of_its_history(network):
    view = GraphView(build(deploy(network("dgcnn")), None))
    assert view.before_choices(0) == set()
    assert names(view, view.before_choices(1)) == names(view, view.before_choices(1) & view.island().nodes)
    second = names(view, view.before_choices(2))
    assert {"edge1/near", "edge1/max", "edge1", "edge2/neighbours"} <= second
    assert not second & {"edge2/near", "edge3/mean"}


def test_layers_are_products_with_weights_whatever_stands_between(network):
    view = GraphView(build(deploy(network("pointnet")), None))
    assert [product.name for product in view.products()] == [
        *(f"layer{i}/linear/product" for i in (1, 2, 3, 4)),
        "layer5/product",
    ]
    assert view.weight(view.products()[0]) == "layer1/linear/product/weight"


def test_types_that_cannot_be_inferred_are_an_error_of_onnx():
    with pytest.raises(onnx.shape_inference.InferenceError):
        GraphView(model_of([node("MatMul", "x", INPUT, INPUT), choice("x")]))
