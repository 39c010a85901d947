import numpy as np
import pytest
import small_models as small
from onnx import TensorProto, helper, numpy_helper

from crosspoint.core.errors import InputError
from crosspoint.runtime.backends import kernels
from crosspoint.runtime.backends.kernels.compile import compile_library
from crosspoint.runtime.backends.onnx import OnnxEncoder

onnxruntime = pytest.importorskip("onnxruntime")


def model(nodes, inputs, outputs, constants=()):
    """Of nodes whose inputs are float32, but for those named `rows`, and whose outputs are of a kind."""
    graph = helper.make_graph(
        nodes,
        "part",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64 if name == "rows" else TensorProto.FLOAT, shape)
            for name, shape in inputs.items()
        ],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("crosspoint", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def shape_of(array):
    return [f"d{i}" for i in range(array.ndim)]


def ours(kind, inputs, attributes, output=TensorProto.FLOAT):
    """A graph of one of our operators."""
    node = helper.make_node(kind, [*inputs], ["y"], domain="crosspoint", **attributes)
    return model([node], {name: shape_of(array) for name, array in inputs.items()}, {"y": output})


def neighbour_graph(k):
    nodes = [
        helper.make_node("Nearest", ["products", "half"], ["chosen"], domain="crosspoint", k=k),
        helper.make_node("GatherMax", ["near", "chosen"], ["best"], domain="crosspoint"),
    ]
    inputs = {"products": ["b", "m", "n"], "half": ["b", 1, "n"], "near": ["b", "n", "d"]}
    return model(nodes, inputs, {"chosen": TensorProto.INT64, "best": TensorProto.FLOAT})


def run(graph, library, inputs):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if library is not None:
        options.register_custom_ops_library(str(library))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def outcome(graph, library, inputs):
    """The only output, or None where ONNX Runtime refuses."""
    try:
        return run(graph, library, inputs)[0]
    except Exception:  # ONNX Runtime's exceptions share no base class
        return None


def assert_same(a, b):
    assert (a is None) == (b is None)
    if a is not None:
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


def slow(products, half, near, k):
    """Neighbours by a stable sort, ties to the lower index, and the maximum over them."""
    scores = products - half
    chosen = np.argsort(-scores, axis=2, kind="stable")[:, :, :k]
    best = np.stack([[near[b][row].max(axis=0) for row in rows] for b, rows in enumerate(chosen)])
    return chosen, best


@pytest.mark.parametrize("k", [1, 5, 20, 32, 33, 70])
@pytest.mark.parametrize("values", ["different", "tied", "equal"])
def test_neighbours_and_maxima_are_those_of_a_stable_sort(k, values, library):
    for n, d in ((k, 3), (k + 1, 64), (77 + k, 70), (256, 128)):
        rng = np.random.default_rng(n)
        products = rng.normal(size=(2, 9, n)).astype(np.float32)
        half = np.abs(rng.normal(size=(2, 1, n))).astype(np.float32)
        if values != "different":
            levels = 3 if values == "tied" else 1
            products, half = rng.integers(levels, size=products.shape).astype(np.float32), np.zeros_like(half)
        near = rng.normal(size=(2, n, d)).astype(np.float32)
        chosen, best = run(neighbour_graph(k), library, {"products": products, "half": half, "near": near})
        expected = slow(products, half, near, k)
        np.testing.assert_array_equal(chosen, expected[0])
        np.testing.assert_array_equal(best, expected[1])


@pytest.mark.parametrize("order", [1, -1])
def test_sorted_scores(order, library):
    products = np.sort(np.random.default_rng(0).normal(size=(1, 4, 200)).astype(np.float32))[..., ::order].copy()
    half, near = np.zeros((1, 1, 200), np.float32), np.ones((1, 200, 3), np.float32)
    chosen, _ = run(neighbour_graph(20), library, {"products": products, "half": half, "near": near})
    np.testing.assert_array_equal(chosen, slow(products, half, near, 20)[0])


@pytest.mark.parametrize("share", [0.02, 0.5, 1])
@pytest.mark.parametrize("k", [1, 5, 40, 64])
def test_scores_that_are_nan_come_first_in_the_order_of_their_columns(k, share, library):
    rng = np.random.default_rng(k)
    products = rng.choice(np.float32([-np.inf, 0, 1, 2, np.inf]), size=(2, 3, 64))
    products[rng.uniform(size=products.shape) < share] = np.nan
    inputs = {"products": products, "half": np.zeros((2, 1, 64), np.float32)}
    (chosen,) = run(ours("Nearest", inputs, {"k": k}, TensorProto.INT64), library, inputs)
    numbers = np.where(np.isnan(products), 0, products)
    columns = np.broadcast_to(np.arange(64), products.shape)
    np.testing.assert_array_equal(chosen, np.lexsort((columns, -numbers, ~np.isnan(products)))[..., :k])


def top_k(k):
    nodes = [
        helper.make_node("Sub", ["products", "half"], ["scores"]),
        helper.make_node("TopK", ["scores", "k"], ["values", "y"], axis=2, largest=1, sorted=1),
    ]
    inputs = {"products": ["b", "m", "n"], "half": ["b", 1, "n"]}
    return model(nodes, inputs, {"y": TensorProto.INT64}, [("k", [k])])


@pytest.mark.parametrize("k", [-(2**63), -1, 0, 1, 31, 32, 33, 34, 2**31, 2**32 + 1, 2**63 - 1])
def test_nearest_chooses_or_refuses_as_topk(k, library):
    products = np.random.default_rng(0).normal(size=(2, 3, 33)).astype(np.float32)
    inputs = {"products": products, "half": np.abs(products[:, :1])}
    own = outcome(ours("Nearest", inputs, {"k": k}, TensorProto.INT64), library, inputs)
    assert (own is not None) == (0 <= k <= 33)
    if k < 2**32:  # ONNX Runtime cuts more off
        assert_same(own, outcome(top_k(k), None, inputs))


def gather_and_maximum():
    nodes = [
        helper.make_node("Unsqueeze", ["rows", "axis3"], ["places"]),
        helper.make_node("GatherND", ["near", "places"], ["edges"], batch_dims=1),
        helper.make_node("ReduceMax", ["edges"], ["y"], axes=[2], keepdims=0),
    ]
    inputs = {"near": ["b", "n", "d"], "rows": ["b", "m", "k"]}
    return model(nodes, inputs, {"y": TensorProto.FLOAT}, [("axis3", [3])])


@pytest.mark.parametrize("index", [-(2**63), -(2**32), -8, -7, -1, 0, 6, 7, 2**31, 2**32, 2**63 - 1])
@pytest.mark.parametrize("d", [1, 64, 70])
def test_gather_max_reads_or_refuses_an_index_as_gathernd(index, d, library):
    rng = np.random.default_rng(0)
    rows = rng.integers(-7, 7, size=(2, 4, 3))
    rows[1, 3, 2] = index
    inputs = {"near": rng.normal(size=(2, 7, d)).astype(np.float32), "rows": rows}
    own = outcome(ours("GatherMax", inputs, {}), library, inputs)
    assert_same(own, outcome(gather_and_maximum(), None, inputs))
    assert (own is not None) == (-7 <= index < 7)


@pytest.mark.parametrize(
    ("near", "rows"),
    [((0, 4, 3), (0, 4, 2)), ((1, 4, 0), (1, 4, 2)), ((1, 4, 3), (1, 0, 2)), ((1, 0, 3), (1, 0, 2))],
)
def test_gather_max_of_empty_tensors_is_as_gathernd(near, rows, library):
    inputs = {"near": np.zeros(near, np.float32), "rows": np.zeros(rows, np.int64)}
    own = outcome(ours("GatherMax", inputs, {}), library, inputs)
    assert_same(own, outcome(gather_and_maximum(), None, inputs))


def test_there_is_no_index_into_no_rows(library):  # ONNX Runtime 1.18's GatherND reads past them
    inputs = {"near": np.zeros((1, 0, 3), np.float32), "rows": np.zeros((1, 4, 2), np.int64)}
    assert outcome(ours("GatherMax", inputs, {}), library, inputs) is None


def test_the_maximum_over_no_neighbours_is_below_every_number(library):
    inputs = {"near": np.zeros((2, 4, 3), np.float32), "rows": np.zeros((2, 5, 0), np.int64)}
    (best,) = run(ours("GatherMax", inputs, {}), library, inputs)
    np.testing.assert_array_equal(best, np.full((2, 5, 3), -np.inf, np.float32))


@pytest.mark.parametrize(("kind", "slow"), [("Max", np.max), ("Mean", np.mean)])
@pytest.mark.parametrize("shape", [(1, 5, 3), (2, 100, 64), (2, 7, 33, 70)])
@pytest.mark.parametrize("keep", [0, 1])
def test_reductions_over_an_axis_before_the_last(kind, slow, shape, keep, library):
    axis = len(shape) - 2
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    (result,) = run(ours(kind, {"x": x}, {"axis": axis, "keep": keep}), library, {"x": x})
    np.testing.assert_allclose(result, slow(x.astype(np.float64), axis=axis, keepdims=bool(keep)), atol=2e-7)


@pytest.mark.parametrize(("kind", "nothing"), [("Max", -np.inf), ("Mean", 0)])
@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 5, 3), (2, 5, 0), (0, 0, 3), (2, 0, 0)])
def test_reductions_of_empty_tensors(kind, nothing, shape, library):
    x = np.zeros(shape, np.float32)
    (result,) = run(ours(kind, {"x": x}, {"axis": 1, "keep": 0}), library, {"x": x})
    np.testing.assert_array_equal(result, np.full((shape[0], shape[2]), nothing, np.float32))


@pytest.mark.parametrize("first", [True, False])
def test_a_maximum_is_nan_where_the_first_row_is(first, library):
    x = np.random.default_rng(0).normal(size=(1, 6, 70)).astype(np.float32)
    x[0, 0 if first else 3] = np.nan
    inputs = {"near": x, "rows": np.arange(6).reshape(1, 1, 6)}
    (gathered,) = run(ours("GatherMax", inputs, {}), library, inputs)
    (reduced,) = run(ours("Max", {"x": x}, {"axis": 1, "keep": 1}), library, {"x": x})
    (standard,) = run(gather_and_maximum(), None, inputs)
    for result in (gathered, reduced, standard):
        np.testing.assert_array_equal(result, np.full((1, 1, 70), np.nan) if first else np.nanmax(x, 1, keepdims=True))


def test_a_long_mean_is_as_exact_as_float32_allows(library):
    x = (1 + np.random.default_rng(0).uniform(size=(1, 10_000, 2))).astype(np.float32)
    (result,) = run(ours("Mean", {"x": x}, {"axis": 1, "keep": 0}), library, {"x": x})
    np.testing.assert_allclose(result, x.astype(np.float64).mean(axis=1), rtol=1e-6)


@pytest.mark.parametrize("rank", [0, 1, 2, 4, 8, 9, 24])
def test_a_rank_that_is_not_theirs_is_refused(rank, library):
    x, rows = np.ones((1,) * rank, np.float32), np.zeros((1,) * rank, np.int64)
    cube, cube_rows = np.ones((1, 1, 1), np.float32), np.zeros((1, 1, 1), np.int64)
    for kind, inputs, output in (
        ("Nearest", {"products": x, "half": cube}, TensorProto.INT64),
        ("Nearest", {"products": cube, "half": x}, TensorProto.INT64),
        ("GatherMax", {"near": x, "rows": cube_rows}, TensorProto.FLOAT),
        ("GatherMax", {"near": cube, "rows": rows}, TensorProto.FLOAT),
    ):
        attributes = {"k": 1} if kind == "Nearest" else {}
        with pytest.raises(Exception, match="dimensions"):
            run(ours(kind, inputs, attributes, output), library, inputs)
    for kind in ("Max", "Mean"):
        result = outcome(ours(kind, {"x": x}, {"axis": rank - 1, "keep": 1}), library, {"x": x})
        assert (result is not None) == (1 <= rank <= 8)


@pytest.mark.parametrize("axis", [-(2**63), -1, 3, 2**32 + 1, 2**63 - 1])
@pytest.mark.parametrize("kind", ["Max", "Mean"])
def test_an_axis_that_is_not_there_is_refused(kind, axis, library):
    x = np.ones((2, 3, 4), np.float32)
    with pytest.raises(Exception, match="axis"):
        run(ours(kind, {"x": x}, {"axis": axis, "keep": 0}), library, {"x": x})


@pytest.mark.parametrize("attributes", [{}, {"k": 1.5}, {"k": [1]}, {"k": "1"}])
def test_an_attribute_that_is_missing_or_of_another_type_is_refused(attributes, library):
    inputs = {"products": np.ones((1, 2, 3), np.float32), "half": np.ones((1, 1, 3), np.float32)}
    with pytest.raises(Exception, match=r"[Aa]ttribute"):
        run(ours("Nearest", inputs, attributes, TensorProto.INT64), library, inputs)


@pytest.mark.parametrize("half", [(1, 1, 6), (2, 3, 6), (2, 1, 5), (2, 1, 7), (2, 0, 6), (3, 1, 6)])
def test_scores_of_sizes_that_do_not_belong_together_are_refused(half, library):
    inputs = {"products": np.ones((2, 3, 6), np.float32), "half": np.ones(half, np.float32)}
    with pytest.raises(Exception, match=r"half must be"):
        run(ours("Nearest", inputs, {"k": 1}, TensorProto.INT64), library, inputs)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", ["DGCNN", "PointNet", "SegmentationBackbone", "DGCNNSegmenter"])
def test_networks_give_what_standard_operators_give(name, threads, library, tmp_path):
    torch = pytest.importorskip("torch")
    from crosspoint import models
    from crosspoint.export.onnx.build import build
    from crosspoint.export.onnx.file import write_onnx
    from crosspoint.export.onnx.fold import deploy

    torch.manual_seed(0)
    arguments = {"DGCNN": {"k": 6}, "PointNet": {}, "SegmentationBackbone": {"k": 5}}
    network = getattr(models, name)(**arguments.get(name, {"parts": 7, "categories": 3, "k": 5})).eval()
    write_onnx(tmp_path / "m.onnx", build(deploy(network), None), provenance={"k": 6})
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


def test_without_the_library_the_graph_runs_as_it_is(monkeypatch, tmp_path, clouds):
    monkeypatch.setattr(kernels, "LIBRARY", tmp_path / "none.so")
    with OnnxEncoder(small.write_onnx(tmp_path / "m.onnx")) as encoder:
        assert "operators" not in encoder.specification.engine
        np.testing.assert_allclose(encoder.embed(clouds()), small.reference(clouds()), rtol=1e-6)


def test_a_damaged_library_is_one_line(monkeypatch, tmp_path):
    (tmp_path / "edges.so").write_bytes(b"rubbish")
    monkeypatch.setattr(kernels, "LIBRARY", tmp_path / "edges.so")
    with pytest.raises(InputError, match="cannot open") as caught:
        OnnxEncoder(kernels.FOLDER.parents[2] / "weights" / "pointnet.onnx")
    assert "\n" not in str(caught.value)


def test_a_compiler_that_fails_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "false")
    assert "false failed" in str(compile_library(tmp_path))


def test_threads_have_to_be_there(tmp_path):
    with pytest.raises(InputError, match="at least 1"):
        OnnxEncoder(small.write_onnx(tmp_path / "m.onnx"), threads=0)
