import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from crosspoint.errors import InputError
from crosspoint.runtime import kernels
from crosspoint.runtime.kernels.compile import compile_library, compiler
from crosspoint.runtime.onnx import OnnxEncoder

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    if compiler() is None:
        pytest.skip("no C compiler")
    library = compile_library(tmp_path_factory.mktemp("kernels"))
    assert not isinstance(library, str), library
    return library


@pytest.fixture
def library(compiled, monkeypatch):
    monkeypatch.setattr(kernels, "LIBRARY", compiled)
    return compiled


def model(nodes, inputs, outputs, constants=()):
    graph = helper.make_graph(
        nodes,
        "part",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def neighbour_graph(k, outputs=("chosen",), largest=1):
    nodes = [
        helper.make_node("Sub", ["products", "half"], ["scores"]),
        helper.make_node("TopK", ["scores", "k"], ["values", "chosen"], axis=2, largest=largest),
        helper.make_node("Unsqueeze", ["chosen", "axis3"], ["rows"]),
        helper.make_node("GatherND", ["near", "rows"], ["edges"], batch_dims=1),
        helper.make_node("ReduceMax", ["edges"], ["best"], axes=[2], keepdims=0),
    ]
    kinds = {"chosen": TensorProto.INT64, "best": TensorProto.FLOAT, "values": TensorProto.FLOAT}
    inputs = {"products": ["b", "m", "n"], "half": ["b", 1, "n"], "near": ["b", "n", "d"]}
    return model(nodes, inputs, {name: kinds[name] for name in outputs}, [("k", [k]), ("axis3", [3])])


def operators(serialized):
    return [node.op_type for node in onnx.load_from_string(serialized).graph.node]


def run(serialized, library, inputs):
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(str(library))
    return onnxruntime.InferenceSession(serialized, options, providers=["CPUExecutionProvider"]).run(None, inputs)


def rewritten(graph, tmp_path):
    onnx.save(graph, tmp_path / "m.onnx")
    return kernels.with_kernels((tmp_path / "m.onnx").read_bytes())


def slow(products, half, near, k):
    """Neighbours by a stable sort, ties to the lower index, and the maximum over them."""
    scores = products - half
    chosen = np.argsort(-scores, axis=2, kind="stable")[:, :, :k]
    best = np.stack([[near[b][row].max(axis=0) for row in rows] for b, rows in enumerate(chosen)])
    return chosen, best


@pytest.mark.parametrize("k", [1, 5, 20, 32, 33, 70])
@pytest.mark.parametrize("values", ["different", "tied", "equal"])
def test_neighbours_and_maxima_are_those_of_a_stable_sort(k, values, library, tmp_path):
    serialized = rewritten(neighbour_graph(k, ("chosen", "best")), tmp_path)
    assert operators(serialized) == ["Nearest", "GatherMax"]
    for n, d in ((k, 3), (k + 1, 64), (77 + k, 70), (256, 128)):
        rng = np.random.default_rng(n)
        products = rng.normal(size=(2, 9, n)).astype(np.float32)
        half = np.abs(rng.normal(size=(2, 1, n))).astype(np.float32)
        if values != "different":
            levels = 3 if values == "tied" else 1
            products, half = rng.integers(levels, size=products.shape).astype(np.float32), np.zeros_like(half)
        near = rng.normal(size=(2, n, d)).astype(np.float32)
        chosen, best = run(serialized, library, {"products": products, "half": half, "near": near})
        expected = slow(products, half, near, k)
        np.testing.assert_array_equal(chosen, expected[0])
        np.testing.assert_array_equal(best, expected[1])


@pytest.mark.parametrize("order", [1, -1])
def test_sorted_scores(order, library, tmp_path):
    serialized = rewritten(neighbour_graph(20, ("chosen", "best")), tmp_path)
    products = np.sort(np.random.default_rng(0).normal(size=(1, 4, 200)).astype(np.float32))[..., ::order].copy()
    half, near = np.zeros((1, 1, 200), np.float32), np.ones((1, 200, 3), np.float32)
    chosen, _ = run(serialized, library, {"products": products, "half": half, "near": near})
    np.testing.assert_array_equal(chosen, slow(products, half, near, 20)[0])


def test_a_row_of_nan_chooses_points_of_the_cloud(library, tmp_path):
    serialized = rewritten(neighbour_graph(5, ("chosen", "best")), tmp_path)
    half, near = np.zeros((1, 1, 64), np.float32), np.ones((1, 64, 3), np.float32)
    inputs = {"products": np.full((1, 2, 64), np.nan, np.float32), "half": half, "near": near}
    chosen, _ = run(serialized, library, inputs)
    assert ((chosen >= 0) & (chosen < 64)).all()


@pytest.mark.parametrize(("kind", "slow"), [("ReduceMax", np.max), ("ReduceMean", np.mean)])
@pytest.mark.parametrize("shape", [(1, 5, 3), (2, 100, 64), (2, 7, 33, 70)])
@pytest.mark.parametrize("keep", [0, 1])
def test_reductions_over_an_axis_before_the_last(kind, slow, shape, keep, library, tmp_path):
    axis = len(shape) - 2
    node = helper.make_node(kind, ["x"], ["y"], axes=[axis], keepdims=keep)
    serialized = rewritten(model([node], {"x": [f"d{i}" for i in range(len(shape))]}, {"y": 1}), tmp_path)
    assert operators(serialized) == [kind.removeprefix("Reduce")]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    (result,) = run(serialized, library, {"x": x})
    np.testing.assert_allclose(result, slow(x.astype(np.float64), axis=axis, keepdims=bool(keep)), atol=2e-7)


def test_a_long_mean_is_as_exact_as_float32_allows(library, tmp_path):
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0)
    serialized = rewritten(model([node], {"x": ["b", "n", "d"]}, {"y": 1}), tmp_path)
    x = (1 + np.random.default_rng(0).uniform(size=(1, 10_000, 2))).astype(np.float32)
    (result,) = run(serialized, library, {"x": x})
    np.testing.assert_allclose(result, x.astype(np.float64).mean(axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    "graph",
    [
        neighbour_graph(5, ("values", "best")),  # the distances are asked for
        neighbour_graph(5, largest=0),
        model([helper.make_node("ReduceMax", ["x"], ["y"], axes=[2])], {"x": ["b", "n", "d"]}, {"y": 1}),
        model([helper.make_node("ReduceMax", ["x"], ["y"], axes=[0, 1])], {"x": ["b", "n", "d"]}, {"y": 1}),
        model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["b", "n", "d"]}, {"y": 1}),
    ],
)
def test_what_is_something_else_is_left_alone(graph, tmp_path):
    serialized = rewritten(graph, tmp_path)
    left = [] if serialized is None else operators(serialized)
    assert "Nearest" not in left
    assert "Max" not in left


def test_scores_that_are_an_output_as_well_are_kept(library, tmp_path):
    graph = neighbour_graph(5)
    graph.graph.output.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, None))
    serialized = rewritten(graph, tmp_path)
    assert serialized is None or "TopK" in operators(serialized)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", ["DGCNN", "PointNet", "SegmentationBackbone", "DGCNNSegmenter"])
def test_networks_give_what_standard_operators_give(name, threads, library, tmp_path):
    torch = pytest.importorskip("torch")
    from crosspoint import models
    from crosspoint.export.deploy import deploy
    from crosspoint.export.graph import build
    from crosspoint.export.onnx_file import write_onnx

    torch.manual_seed(0)
    arguments = {"DGCNN": {"k": 6}, "PointNet": {}, "SegmentationBackbone": {"k": 5}}
    network = getattr(models, name)(**arguments.get(name, {"parts": 7, "categories": 3, "k": 5})).eval()
    write_onnx(tmp_path / "m.onnx", build(deploy(network), None), {"k": 6})
    inputs = {"points": np.random.default_rng(0).uniform(-0.6, 0.6, (4, 40, 3)).astype(np.float32)}
    if name == "DGCNNSegmenter":
        inputs["category"] = np.eye(3, dtype=np.float32)[[0, 2, 1, 0]]
    with (
        OnnxEncoder(tmp_path / "m.onnx", threads=threads) as ours,
        OnnxEncoder(tmp_path / "m.onnx", threads=threads, operators=False) as standard,
    ):
        assert ours.specification.engine.endswith("crosspoint operators")
        assert "crosspoint" not in standard.specification.engine
        for batch in (1, 2, 4):
            piece = {key: value[:batch] for key, value in inputs.items()}
            (a,), (b,) = ours.run(piece).values(), standard.run(piece).values()
            assert a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_without_the_library_the_graph_runs_as_it_is(monkeypatch, tmp_path, small, clouds):
    monkeypatch.setattr(kernels, "LIBRARY", tmp_path / "none.so")
    with OnnxEncoder(small.write_onnx(tmp_path / "m.onnx")) as encoder:
        assert "operators" not in encoder.specification.engine
        np.testing.assert_allclose(encoder.embed(clouds()), small.reference(clouds()), rtol=1e-6)


def test_a_damaged_library_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "edges.so").write_bytes(b"rubbish")
    monkeypatch.setattr(kernels, "LIBRARY", tmp_path / "edges.so")
    onnx.save(neighbour_graph(5), tmp_path / "m.onnx")
    with pytest.raises(InputError, match="cannot open") as caught:
        OnnxEncoder(tmp_path / "m.onnx")
    assert "\n" not in str(caught.value)


def test_a_compiler_that_fails_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "false")
    assert "false failed" in str(compile_library(tmp_path))


def test_threads_have_to_be_there(tmp_path, small):
    with pytest.raises(InputError, match="at least 1"):
        OnnxEncoder(small.write_onnx(tmp_path / "m.onnx"), threads=0)


def test_operators_of_another_domain_are_left_to_onnx_runtime(library, tmp_path):
    nodes = [
        helper.make_node("Gelu", ["x"], ["h"], domain="com.microsoft"),
        helper.make_node("ReduceMax", ["h"], ["y"], axes=[1]),
        helper.make_node("ReduceMax", ["x"], ["z"], axes=[1]),
    ]
    graph = model(nodes, {"x": ["b", "n", "d"]}, {"y": 1, "z": 1})
    graph.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    serialized = rewritten(graph, tmp_path)
    assert operators(serialized) == ["Gelu", "ReduceMax", "Max"]  # what comes out of Gelu is not known to be float32
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    _, z = run(serialized, library, {"x": x})
    np.testing.assert_array_equal(z, x.max(axis=1, keepdims=True))
