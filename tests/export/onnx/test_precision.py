import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from crosspoint.core.errors import CheckFailed
from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.file import read_precision
from crosspoint.export.onnx.fold import deploy
from crosspoint.export.onnx.graph_view import FLOATING, GraphView
from crosspoint.export.onnx.precision import emulate, lower, product_precisions, require_precision
from crosspoint.parity.clouds import ordinary

NAMES = ["dgcnn", "pointnet", "dgcnn_seg", "dgcnn_partseg"]
KINDS = {"fp16": (TensorProto.FLOAT16, torch.float16), "bf16": (TensorProto.BFLOAT16, torch.bfloat16)}
UNIT = {"fp16": 2.0**-11, "bf16": 2.0**-8}  # relative rounding errors


def run(model, inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def relative_l2(a, b):
    a, b = (array.reshape(len(array), -1) for array in (a, b))
    return (np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)).max()


@pytest.fixture
def graph(network):
    return lambda name: build(deploy(network(name)), None)


@pytest.fixture
def clouds():
    def draw(name):
        inputs = {"points": ordinary(3, 48)}
        return inputs | ({"category": np.eye(3, dtype=np.float32)} if name == "dgcnn_partseg" else {})

    return draw


@pytest.mark.parametrize("precision", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_layers_are_low_and_the_island_and_the_interface_are_float32(name, precision, graph):
    model = lower(graph(name), precision)
    onnx.checker.check_model(model, full_check=True)
    assert set(product_precisions(model).values()) == {precision}
    view = GraphView(model)
    for i in view.island().nodes:
        kinds = {view.types[value] for value in view.nodes[i].output}
        assert kinds <= {TensorProto.FLOAT, TensorProto.INT64}
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT
    pooling = [node for node in view.nodes if node.op_type == "ReduceMax"]
    assert pooling
    assert {view.types[node.output[0]] for node in pooling} == {KINDS[precision][0]}
    assert read_precision(model) in (f"{precision}+fp32", f"fp32+{precision}")


@pytest.mark.parametrize("precision", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_the_output_moves_by_roundings_only(name, precision, graph, clouds):
    model = graph(name)
    error = relative_l2(run(emulate(lower(model, precision)), clouds(name)), run(model, clouds(name)))
    assert 0.1 * UNIT[precision] < error < 20 * UNIT[precision]


def test_a_half_precision_file_runs_as_it_is(graph, clouds):
    model = graph("dgcnn")
    assert relative_l2(run(lower(model, "fp16"), clouds("dgcnn")), run(model, clouds("dgcnn"))) < 5e-3


@pytest.mark.parametrize("precision", KINDS)
def test_the_emulation_rounds_where_torch_rounds(precision, graph, network):
    kind = KINDS[precision][1]
    weights = deploy(network("pointnet"))
    points = ordinary(2, 40)
    x = torch.from_numpy(points).to(kind)
    *hidden, last = weights.layers
    for layer in hidden:
        product = (x.float() @ torch.from_numpy(layer.weight).to(kind).float()).to(kind)  # accumulated in float32
        x = (product + torch.from_numpy(layer.bias).to(kind)).relu()
    product = (x.float() @ torch.from_numpy(last.weight).to(kind).float()).to(kind)
    expected = (product.amax(dim=1) + torch.from_numpy(last.bias).to(kind)).relu().float().numpy()
    emulated = run(emulate(lower(graph("pointnet"), precision)), {"points": points})
    # the order of a float32 sum may tip single roundings
    assert relative_l2(emulated, expected) < 0.2 * UNIT[precision]
    assert np.mean(emulated == expected) > 0.8


def test_what_precedes_a_choice_can_stay_float32(graph):
    kept = [
        name
        for name, kind in product_precisions(lower(graph("dgcnn"), "bf16", exact_choices=3)).items()
        if kind == "fp32"
    ]
    assert kept == ["edge1/near", "edge1/own/product", "edge2/near", "edge2/own/product"]


def test_with_every_layer_before_a_choice_exact_the_choices_are_the_same(graph):
    def chosen(model):
        model.graph.output.append(helper.make_tensor_value_info("edge4/neighbours", TensorProto.INT64, None))
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(["edge4/neighbours"], {"points": ordinary(2, 48)})[0]

    np.testing.assert_array_equal(
        chosen(emulate(lower(graph("dgcnn"), "bf16", exact_choices=4))), chosen(graph("dgcnn"))
    )


def test_the_model_that_is_lowered_does_not_change(graph):
    model = graph("dgcnn")
    before = model.SerializeToString(deterministic=True)
    lower(model, "fp16")
    assert model.SerializeToString(deterministic=True) == before


def test_the_same_model_gives_the_same_bytes(graph):
    one, two = (lower(graph("dgcnn_seg"), "fp16").SerializeToString(deterministic=True) for _ in range(2))
    assert one == two


def test_no_value_is_cast_twice(graph):
    casts = [node.input[0] for node in lower(graph("dgcnn_partseg"), "fp16").graph.node if node.op_type == "Cast"]
    assert len(casts) == len(set(casts))


def test_a_weight_beyond_fp16_is_refused_and_bf16_takes_it(graph):
    model = graph("pointnet")
    for constant in model.graph.initializer:
        if constant.name == "layer2/linear/bias":
            constant.CopyFrom(numpy_helper.from_array(np.full(64, 1e5, np.float32), constant.name))
    with pytest.raises(CheckFailed, match=r"layer2/linear/bias holds 1e\+05, too large for fp16; export .* bf16"):
        lower(model, "fp16")
    lower(model, "bf16")


def test_a_precision_that_is_not_there_fails(graph):
    model = graph("dgcnn")
    with pytest.raises(CheckFailed, match="fp16 was asked for, and edge1/near of the ONNX model computes in fp32"):
        require_precision(model, "fp16", kept=[])
    half = lower(model, "fp16", exact_choices=3)
    kept = ["edge1/near", "edge1/own/product", "edge2/near", "edge2/own/product"]
    require_precision(half, "fp16", kept=kept)
    with pytest.raises(CheckFailed, match="edge2/near of the ONNX model computes in fp32"):
        require_precision(half, "fp16", kept=kept[:2])
    with pytest.raises(CheckFailed, match="edge3/near of the ONNX model computes in fp16"):
        require_precision(half, "fp16", kept=[*kept, "edge3/near"])
    with pytest.raises(CheckFailed, match="every layer of the ONNX model computes in fp32"):
        require_precision(model, "fp16", kept=list(product_precisions(model)))


def test_an_emulation_is_float32_throughout(graph):
    view = GraphView(emulate(lower(graph("dgcnn"), "bf16")))
    for node in view.nodes:
        if any(view.types.get(name) in FLOATING[1:] for name in node.output):
            assert node.op_type == "Cast"
