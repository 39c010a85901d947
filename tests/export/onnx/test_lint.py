import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from crosspoint.core.errors import CheckFailed
from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.fold import deploy
from crosspoint.export.onnx.lint import RULES, lint, require_clean
from crosspoint.export.onnx.precision import lower

NAMES = ["dgcnn", "pointnet", "dgcnn_seg", "dgcnn_partseg"]
SMALLEST = 16


@pytest.fixture
def model(network):
    return build(deploy(network("dgcnn")), None)


def node_of(model, name):
    return next(node for node in model.graph.node if node.name == name)


def constant_of(model, name):
    return next(constant for constant in model.graph.initializer if constant.name == name)


def append(model, operator, inputs, output, **attributes):
    model.graph.node.append(helper.make_node(operator, inputs, [output], output, **attributes))


def broken(model, smallest=SMALLEST):
    """Rule and node of every finding."""
    return {(finding.rule, finding.node) for finding in lint(model, smallest)}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_exported_breaks_no_rule(name, precision, network):
    exact = build(deploy(network(name)), None)
    assert lint(exact if precision == "fp32" else lower(exact, precision), SMALLEST) == []
    assert require_clean(exact, SMALLEST) == list(RULES)


@pytest.mark.parametrize("version", [16, 21])
def test_opset(version, model):
    model.opset_import[0].version = version
    assert ("opset", "crosspoint") in broken(model)


def test_opset_of_another_domain(model):
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert broken(model) == {("opset", "crosspoint")}


def test_types(model):
    node_of(model, "edge2").op_type = "NoSuchOperator"
    assert ("types", "edge2") in broken(model)


def test_types_that_contradict_each_other(model):
    node_of(model, "edge2/near").input[0] = "edge1/rows"
    assert ("types", "crosspoint") in broken(model)


def test_refused_operator(model):
    append(model, "NonZero", ["embedding"], "where")
    append(model, "Unique", ["embedding"], "distinct")
    append(model, "Compress", ["embedding", "yes"], "some", axis=1)
    model.graph.initializer.append(numpy_helper.from_array(np.array([True]), "yes"))
    indices, updates = np.zeros((1, 2), np.int64), np.ones(1, np.float32)
    model.graph.initializer.extend(
        [numpy_helper.from_array(indices, "indices"), numpy_helper.from_array(updates, "updates")]
    )
    append(model, "ScatterND", ["embedding", "indices", "updates"], "written")
    append(model, "ScatterND", ["embedding", "indices", "updates"], "summed", reduction="add")
    assert broken(model) == {("refused-operator", name) for name in ("where", "distinct", "some", "summed")}


def test_topk_k(model):
    node_of(model, "edge1/neighbours").input[1] = "computed"
    model.graph.node.insert(0, helper.make_node("Identity", ["k6"], ["computed"], "computed"))
    assert ("topk-k", "edge1/neighbours") in broken(model)


def test_topk_k_beyond_the_limit(model):
    constant_of(model, "k6").CopyFrom(numpy_helper.from_array(np.array([4000], np.int64), "k6"))
    assert broken(model, 5000) == {("topk-k", f"edge{i}/neighbours") for i in (1, 2, 3, 4)}


@pytest.mark.parametrize(("k", "refused"), [(0, True), (1, False), (3840, False), (3841, True)])
def test_topk_k_up_to_the_limit(model, k, refused):
    constant_of(model, "k6").CopyFrom(numpy_helper.from_array(np.array([k], np.int64), "k6"))
    assert (("topk-k", "edge1/neighbours") in broken(model, 5000)) == refused


@pytest.mark.parametrize(
    ("number", "refused"), [(2**31 - 1, False), (2**31, True), (-(2**31), False), (-(2**33), True)]
)
def test_int64_constants_up_to_the_ends_of_int32(model, number, refused):
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, number], np.int64), "large"))
    assert (("int64", "large") in broken(model)) == refused


@pytest.mark.parametrize("version", [17, 18, 19, 20])
def test_opsets_that_every_builder_reads(model, version):
    model.opset_import[0].version = version
    assert ("opset", "crosspoint") not in broken(model)


@pytest.mark.parametrize("operator", ["Scatter", "ScatterElements", "ScatterND"])
def test_scatters_that_sum_are_refused_and_others_are_not(model, operator):
    for reduction in ("none", "add"):
        append(model, operator, ["embedding", "indices", "updates"], reduction, reduction=reduction)
    found = {node for rule, node in broken(model) if rule == "refused-operator"}
    assert found == {"add"}


@pytest.mark.parametrize("operator", ["Add", "Div", "Mod", "Mul", "Sub", "Pow"])
def test_arithmetic_of_whole_numbers_is_slow(model, operator):
    append(model, operator, ["edge1/neighbours", "edge1/neighbours"], "sum")
    assert ("int64", "sum") in broken(model)


def test_topk_points(model, network):
    assert broken(model, 5) == {("topk-points", f"edge{i}/neighbours") for i in (1, 2, 3, 4)}
    assert broken(model, 6) == set()
    assert ("topk-points", "edge1/neighbours") in broken(build(deploy(network("dgcnn")), 5), 5)


def test_topk_axis(model):
    shape = numpy_helper.from_array(np.array([1, 1, 1, 0, 0], np.int64), "five")
    model.graph.initializer.append(shape)
    append(model, "Unsqueeze", ["points", "front"], "deep")
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 2], np.int64), "front"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "k1"))
    model.graph.node.append(helper.make_node("TopK", ["deep", "k1"], ["a", "b"], "selection", axis=0))
    assert ("topk-axis", "selection") in broken(model)
    node_of(model, "selection").attribute[0].i = 1
    assert ("topk-axis", "selection") not in broken(model)


def test_int64_interface(model):
    model.graph.output.append(helper.make_tensor_value_info("edge1/neighbours", TensorProto.INT64, None))
    assert broken(model) == {("int64", "edge1/neighbours")}


def test_int64_constant_beyond_int32(model):
    model.graph.initializer.append(numpy_helper.from_array(np.array([2**40], np.int64), "large"))
    assert broken(model) == {("int64", "large")}


def test_int64_arithmetic(model):
    append(model, "Add", ["edge1/neighbours", "k6"], "offset")
    assert broken(model) == {("int64", "offset")}


def test_external_data(model, tmp_path):
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=100_000)
    outside = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    assert broken(outside) == {
        ("external-data", "embed/linear/product/weight"),
        ("external-data", "edge4/near/weight"),
    } | {("external-data", "edge4/own/product/weight")}


def test_distances_that_are_not_float32(model):
    position = [node.name for node in model.graph.node].index("edge2/neighbours")
    casts = [
        helper.make_node("Cast", ["edge2/scores"], ["low"], "low", to=TensorProto.FLOAT16),
        helper.make_node("Cast", ["low"], ["high"], "high", to=TensorProto.FLOAT),
    ]
    for cast in reversed(casts):
        model.graph.node.insert(position, cast)
    node_of(model, "edge2/neighbours").input[0] = "high"
    assert ("distances-fp32", "high") in broken(model)


def test_distances_of_half_precision_features(model):
    half = lower(model, "fp16")
    node_of(half, "edge2/centred").input[0] = "edge1"  # instead of its float32 cast
    node_of(half, "edge2/mean").input[0] = "edge1"
    assert {("distances-fp32", "edge2/mean"), ("distances-fp32", "edge2/centred")} <= broken(half)


def test_distances_that_are_not_centred(model):
    for name in ("edge3/squares", "edge3/others", "edge3/products"):
        node = node_of(model, name)
        node.input[:] = ["edge2" if value == "edge3/centred" else value for value in node.input]
    assert broken(model) == {("distances-centred", "edge2")}


def test_every_rule_has_a_test_that_breaks_it():
    tests = " ".join(globals())
    words = {"distances-fp32": "not_float32", "distances-centred": "not_centred"}
    assert all(words.get(rule, rule.replace("-", "_")) in tests for rule in RULES)


def test_a_broken_rule_fails_and_names_rule_and_node(model):
    append(model, "NonZero", ["embedding"], "where")
    append(model, "Unique", ["embedding"], "distinct")
    with pytest.raises(
        CheckFailed, match=r"breaks the rule refused-operator: where is a NonZero.* \(and 1 more\); nothing was written"
    ):
        require_clean(model, SMALLEST)
