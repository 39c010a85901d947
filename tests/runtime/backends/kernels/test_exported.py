import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from crosspoint.core.errors import InputError
from crosspoint.runtime.backends import kernels
from crosspoint.runtime.backends.kernels import exported as exported_graphs
from crosspoint.runtime.backends.kernels.exported import DOMAIN
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.backends.onnx_messages import ModelProto

EDGES = {"Nearest": 3, "NearestPoints": 1, "GatherMax": 4, "Max": 1, "Mean": 5}
SECOND = {
    "Nearest": 2,
    "NearestPoints": 2,
    "GatherMax": 1,
    "Max": 5,
    "Mean": 4,
}  # three of four EdgeConvs have two convolutions
OPERATORS = {
    "DGCNN": EDGES,
    "PointNet": {"Nearest": 0, "NearestPoints": 0, "GatherMax": 0, "Max": 1, "Mean": 0},
    "SegmentationBackbone": SECOND,
    "DGCNNSegmenter": SECOND,
}
ARGUMENTS = {
    "DGCNN": {"k": 6},
    "SegmentationBackbone": {"k": 5},
    "DGCNNSegmenter": {"parts": 7, "categories": 3, "k": 5},
}


def put_kernels(model):
    """Insert the operators into a model of the package `onnx`, in place; whether there was a place for one."""
    ours = ModelProto.FromString(model.SerializeToString())
    changed = exported_graphs.put_kernels(ours)
    model.ParseFromString(ours.SerializeToString())
    return changed


@pytest.fixture(scope="module")
def exported():
    """A graph of a network in a precision, as the exporter makes it."""
    pytest.importorskip("torch")
    from crosspoint import models
    from crosspoint.export.onnx.build import build
    from crosspoint.export.onnx.fold import deploy
    from crosspoint.export.onnx.int8 import quantisable, quantise
    from crosspoint.export.onnx.precision import lower

    weights = {}

    def make(name, precision="fp32", points=None):
        if name not in weights:
            weights[name] = deploy(getattr(models, name)(**ARGUMENTS.get(name, {})).eval())
        graph = build(weights[name], points)
        if precision in ("fp16", "bf16"):
            return lower(graph, precision, exact_choices=2)
        if precision == "int8":
            ranges = {name: 1.0 for node in graph.graph.node for name in node.input}
            return quantise(graph, ranges, layers=quantisable(graph)[::2])
        return graph

    return make


def counts(model):
    found = [node.op_type for node in model.graph.node if node.domain == "crosspoint"]
    return {kind: found.count(kind) for kind in EDGES}


def assert_left_alone(model):
    content = model.SerializeToString(deterministic=True)
    assert not put_kernels(model)
    assert model.SerializeToString(deterministic=True) == content


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("points", [None, 64])
def test_every_float32_place_of_an_exported_network_gets_its_operator(name, precision, points, exported):
    model = exported(name, precision, points)
    assert put_kernels(model)
    assert counts(model) == OPERATORS[name]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DGCNN", {"Nearest": 3, "NearestPoints": 1, "GatherMax": 1, "Max": 0, "Mean": 4}),
        ("DGCNNSegmenter", {"Nearest": 2, "NearestPoints": 2, "GatherMax": 0, "Max": 2, "Mean": 4}),
    ],
)
def test_places_in_a_low_precision_keep_the_standard_operators(name, expected, precision, exported):
    model = exported(name, precision)
    assert put_kernels(model)
    assert counts(model) == expected
    assert_left_alone(exported("PointNet", precision))


@pytest.mark.parametrize(("file", "name"), [("dgcnn.onnx", "DGCNN"), ("pointnet.onnx", "PointNet")])
def test_the_encoders_of_the_package_get_their_operators(file, name):
    content = kernels.with_kernels((kernels.FOLDER.parents[2] / "weights" / file).read_bytes())
    assert counts(onnx.load_from_string(content)) == OPERATORS[name]


def test_neighbours_that_are_outputs_as_well_are_still_made(exported):
    model = exported("DGCNN")
    names = [node.output[1] for node in model.graph.node if node.op_type == "TopK"]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.INT64, None) for name in names)
    assert put_kernels(model)
    assert counts(model) == EDGES


@pytest.mark.parametrize(("k", "nearest"), [(64, (3, 1)), (65, (0, 0)), (2**31 - 1, (0, 0))])
def test_so_many_neighbours_that_topk_is_faster_are_left_to_it(k, nearest, exported):
    model = exported("DGCNN")
    change_constant("k6", np.array([k], np.int64))(model)
    assert put_kernels(model)
    assert counts(model) == EDGES | dict(zip(("Nearest", "NearestPoints"), nearest, strict=True))


# Whatever differs from the exporter's graph


def another_operator(model, i):
    model.graph.node[i].op_type = "Relu" if model.graph.node[i].op_type != "Relu" else "Abs"


def another_domain(model, i):
    model.graph.node[i].domain = "com.microsoft"


def our_domain(model, i):
    model.graph.node[i].domain = "crosspoint"


def another_attribute(model, i):
    model.graph.node[i].attribute.append(helper.make_attribute("more", 1))


def an_attribute_twice(model, i):
    for attribute in [*model.graph.node[i].attribute]:
        model.graph.node[i].attribute.append(attribute)
    if not model.graph.node[i].attribute:
        another_attribute(model, i)


def no_attribute(model, i):
    if not model.graph.node[i].attribute:
        another_attribute(model, i)
    else:
        model.graph.node[i].attribute.pop()


def another_value(model, i):
    for attribute in model.graph.node[i].attribute:
        attribute.f += 1
        attribute.i += 1
        attribute.ints[:] = [value + 1 for value in attribute.ints]
        return
    another_attribute(model, i)


def a_value_beside_the_value(model, i):
    for attribute in model.graph.node[i].attribute:
        attribute.s = b"more"
        return
    another_attribute(model, i)


def an_attribute_without_a_type(model, i):
    model.graph.node[i].attribute.add().name = "axis"


def another_input(model, i):
    model.graph.node[i].input[0] = "points" if model.graph.node[i].input[0] != "points" else "nowhere"


def one_more_input(model, i):
    model.graph.node[i].input.append("points")


def no_input(model, i):
    del model.graph.node[i].input[:]


def one_more_output(model, i):
    model.graph.node[i].output.append("more")


def no_output(model, i):
    del model.graph.node[i].output[:]


def an_output_of_another_node(model, i):
    model.graph.node[i].output[-1] = "points"


def a_node_more(model, i):
    x = model.graph.node[i].input[0]
    model.graph.node.insert(i, helper.make_node("Identity", [x], ["more"]))
    model.graph.node[i + 1].input[0] = "more"


def a_rank_more(model, i):
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 0] + [1] * 21 + [-1], np.int64), "wide"))
    x = model.graph.node[i].input[0]
    model.graph.node.insert(i, helper.make_node("Reshape", [x, "wide"], ["more"]))
    model.graph.node[i + 1].input[0] = "more"


def a_conversion_to_integers(model, i):
    model.graph.node.insert(i, helper.make_node("Cast", ["points"], ["more"], to=TensorProto.INT64))


def a_node_less(model, i):
    model.graph.node.pop(i)


def a_node_twice(model, i):
    model.graph.node.insert(i, model.graph.node[i])


CHANGES = [
    *(another_operator, another_domain, our_domain, another_attribute, an_attribute_twice, no_attribute, another_value),
    *(
        a_value_beside_the_value,
        an_attribute_without_a_type,
        another_input,
        one_more_input,
        no_input,
        one_more_output,
        no_output,
    ),
    *(an_output_of_another_node, a_node_more, a_rank_more, a_conversion_to_integers, a_node_less),
    a_node_twice,
]


@pytest.fixture(scope="module")
def light(exported):
    """Exported graphs without the values of their weights, which nobody reads."""
    made = {}

    def make(name, precision):
        if (name, precision) not in made:
            model = made[name, precision] = exported(name, precision)
            for constant in model.graph.initializer:
                if len(constant.raw_data) > 64:
                    constant.raw_data = b""
        return made[name, precision]

    return make


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize(("name", "precision"), [("DGCNN", "int8"), ("PointNet", "fp32"), ("DGCNNSegmenter", "fp16")])
def test_one_change_of_any_node_and_nothing_is_replaced(name, precision, change, light):
    original = light(name, precision)
    for i in range(len(original.graph.node)):
        model = onnx.ModelProto()
        model.CopyFrom(original)
        change(model, i)
        assert not put_kernels(model), original.graph.node[i].name


def change_constant(name, value):
    def change(model):
        (constant,) = (constant for constant in model.graph.initializer if constant.name == name)
        constant.CopyFrom(numpy_helper.from_array(value, name))

    return change


def outside(model):
    constant = model.graph.initializer[0]
    constant.data_location = TensorProto.EXTERNAL
    constant.external_data.add(key="location", value="/etc/passwd")


def output_of(name):
    def change(model):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))

    return change


def input_of(shape, kind=TensorProto.FLOAT, name="points"):
    def change(model):
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info(name, kind, shape))

    return change


@pytest.mark.parametrize(
    "change",
    [
        *(change_constant("k6", np.array([value], np.int64)) for value in (0, -1, -(2**63), 2**31, 2**63 - 1)),
        *(change_constant("k6", value) for value in (np.array(6, np.int64), np.array([6], np.int32))),
        *(change_constant("k6", value) for value in (np.array([6, 6], np.int64), np.array([], np.int64))),
        *(change_constant("axis3", np.array([value], np.int64)) for value in (2, -1, 4)),
        *(change_constant("half", value) for value in (np.float32(0.25), np.array([0.5], np.float32), np.float64(0.5))),
        change_constant("edge1/near/weight", np.zeros((1, 3, 64), np.float32)),
        change_constant("edge1/own/bias", np.zeros((1, 64), np.float32)),
        outside,
        *(output_of(name) for name in ("edge1/scores", "edge1/nearness", "edge1/gather", "edge1/rows")),
        *(input_of(shape) for shape in (["b", "n", 4], ["b", "n", "c"], ["b", "n"], ["b", 1, "n", 3], None)),
        input_of(["b", "n", 3], TensorProto.FLOAT16),
        input_of(["b", "n", 3], name="cloud"),
        lambda model: model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1])),
        lambda model: model.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "points")),
        lambda model: model.graph.sparse_initializer.add(),
        lambda model: model.functions.add(name="MatMul"),
        lambda model: model.opset_import.append(helper.make_opsetid("crosspoint", 1)),
        lambda model: setattr(model.opset_import[0], "version", 18),
        lambda model: model.ClearField("opset_import"),
        lambda model: setattr(model, "ir_version", 9),
        lambda model: model.graph.ClearField("output"),
        lambda model: model.graph.ClearField("input"),
        lambda model: model.graph.ClearField("node"),
        lambda model: model.ClearField("graph"),
        lambda model: setattr(model.graph.output[0], "name", "edges"),
        lambda model: model.graph.node.append(helper.make_node("Relu", ["embedding"], ["more"])),
        lambda model: model.graph.node.append(helper.make_node("Cast", ["edge1/scores"], ["more"], to=10)),
    ],
)
def test_a_model_that_is_otherwise_another_is_left_alone(change, exported):
    model = exported("DGCNN")
    change(model)
    assert_left_alone(model)


def test_names_do_not_matter(exported):
    model = exported("DGCNN")
    content = model.SerializeToString().replace(b"edge1/", b"other/").replace(b"k6", b"x6")
    renamed = onnx.load_from_string(content)
    for node in renamed.graph.node:
        node.name = ""
    assert put_kernels(renamed)
    assert counts(renamed) == EDGES


# Files


def wide_file(path, rank):
    """The maxima of the points, taken over a tensor of many dimensions: a foreign encoder, and a valid one."""
    nodes = [
        helper.make_node("Reshape", ["points", "wide"], ["x"]),
        helper.make_node("ReduceMax", ["x"], ["maxima"], axes=[rank - 2], keepdims=0),
        helper.make_node("Reshape", ["maxima", "flat"], ["embedding"]),
    ]
    shapes = {"wide": [0, *[1] * (rank - 3), -1, 3], "flat": [-1, 3]}
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("points", TensorProto.FLOAT, ["batch", "points", 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.array(shape, np.int64), name) for name, shape in shapes.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("rank", [8, 9, 12, 24])
def test_a_tensor_of_many_dimensions_goes_through_onnx_runtime_alone(rank, tmp_path, clouds):
    pytest.importorskip("onnxruntime")
    with OnnxEncoder(wide_file(tmp_path / "m.onnx", rank)) as encoder:
        assert "operators" not in encoder.specification.engine
        np.testing.assert_array_equal(encoder.embed(clouds()), clouds().max(axis=1))


def test_no_shape_is_inferred(exported, monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise AssertionError("shape inference reads what a stranger wrote")

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", refuse)
    assert kernels.with_kernels(exported("DGCNN").SerializeToString()) is not None
    assert kernels.with_kernels(wide_file(tmp_path / "m.onnx", 8).read_bytes()) is None


def test_a_graph_that_does_not_state_its_width_stays_as_it_is(exported):
    """ONNX Runtime infers it behind its own operators, and not behind others."""
    model = exported("DGCNN")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert kernels.with_kernels(model.SerializeToString()) is None


def test_data_outside_of_the_file_is_not_read(exported, tmp_path):
    model = exported("PointNet")
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="data", size_threshold=0)
    (tmp_path / "data").unlink()
    assert kernels.with_kernels((tmp_path / "m.onnx").read_bytes()) is None


def test_bytes_that_are_no_model_are_left_to_onnx_runtime(exported):
    content = exported("PointNet").SerializeToString()
    deep = b""
    for _ in range(3000):  # a graph in an attribute of a node of a graph in …
        for tag in (b"\x32", b"\x2a", b"\x0a"):
            deep = tag + varint(len(deep)) + deep
    changed = (
        *(content[:-1], content[: len(content) // 2], b"\xff" * 100, b"\x0a" * 100),
        *(content.replace(b"MatMul", b"MatM\xff\xfe", 1), content.replace(b"layer1", b"layer\xff"), b"\x3a" + deep),
    )
    for content in changed:
        assert kernels.with_kernels(content) is None


def varint(number):
    parts = []
    while number > 127:
        parts.append(number % 128 + 128)
        number //= 128
    return bytes([*parts, number])


def test_an_empty_file_is_one_line(tmp_path):
    (tmp_path / "m.onnx").touch()
    with pytest.raises(InputError, match="empty"):
        OnnxEncoder(tmp_path / "m.onnx")


def test_a_rewritten_model_names_version_1_of_our_operators(exported):
    model = onnx.ModelProto()
    model.CopyFrom(exported("DGCNN"))
    before = [(opset.domain, opset.version) for opset in model.opset_import]
    assert put_kernels(model)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [*before, (DOMAIN, 1)]


def with_head(model, width=2048):
    """The graph with a classifier of three classes behind it."""
    from crosspoint.export.onnx.classifier_head import append_classifier
    from crosspoint.runtime.classifier import Classifier, ClassifierInfo, LinearHead
    from crosspoint.runtime.novelty import Novelty, Scale

    rng = np.random.default_rng(0)
    head = LinearHead(rng.normal(size=width), np.full(width, 0.5), rng.normal(size=(width, 3)) / 99, rng.normal(size=3))
    info = ClassifierInfo(("a", "b", "c"), 0.5, 64, True, "svm", 1.0, 2.0, 6)
    novelty = Novelty(np.zeros((1, len(head.mean)), np.float32), Scale(1.0, 2.0), Scale(0.5, 0.1))
    clouds = np.zeros((0, 1, 3), np.float32)
    return append_classifier(model, Classifier(info, head, novelty, clouds, np.zeros(0, np.int64)))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_classifier_gets_the_operators_of_its_encoder(precision, exported):
    model = with_head(exported("DGCNN", precision))
    assert put_kernels(model)
    assert counts(model) == EDGES


def test_a_classifier_gives_the_same_scores_with_them(exported, tmp_path):
    path = tmp_path / "classifier.onnx"
    onnx.save(with_head(exported("DGCNN")), path)
    points = {"points": np.random.default_rng(0).normal(size=(2, 40, 3)).astype(np.float32)}
    with OnnxEncoder(path, threads=1) as fast, OnnxEncoder(path, threads=1, operators=False) as plain:
        assert "operators" in fast.specification.engine
        a, b = fast.run(points), plain.run(points)
    assert a.keys() == {"embedding", "scores", "novelty"}
    for name in ("scores", "novelty"):
        np.testing.assert_allclose(a[name], b[name], atol=1e-4)


@pytest.mark.parametrize("node", range(17))
def test_a_head_of_another_kind_is_left_alone(node, exported):
    model = with_head(exported("PointNet"), width=1024)
    assert put_kernels(with_head(exported("PointNet"), width=1024))
    model.graph.node[node - 17].op_type = "Elu"
    assert_left_alone(model)


def test_a_head_before_the_end_of_the_graph_is_left_alone(exported):
    model = with_head(exported("PointNet"), width=1024)
    model.graph.node.append(helper.make_node("Identity", ["scores"], ["again"]))
    assert_left_alone(model)
