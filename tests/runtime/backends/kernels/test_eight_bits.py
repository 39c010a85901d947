"""Layers of 8 bits against slow formulas, on all instructions that this CPU has, and where they are put."""

import ctypes

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from crosspoint.runtime.backends import kernels
from crosspoint.runtime.backends.kernels.eight_bits import pack, put_layers
from crosspoint.runtime.backends.kernels.exported import put_kernels
from crosspoint.runtime.backends.onnx import OnnxEncoder

onnxruntime = pytest.importorskip("onnxruntime")
LEVELS = {"plain": 0, "avx2": kernels.AVX2, "avx512": kernels.AVX512, "vnni": kernels.VNNI, "amx": kernels.AMX}
SLOPE = np.float32(0.2)


@pytest.fixture
def library(compiled):
    yield compiled
    ctypes.CDLL(str(compiled)).crosspoint_limit_level(kernels.AMX)


@pytest.fixture(params=LEVELS)
def on_level(request, library):
    """The library limited to some instructions; skips where the CPU lacks them."""
    loaded = ctypes.CDLL(str(library))
    loaded.crosspoint_limit_level(LEVELS[request.param])
    if loaded.crosspoint_level() != LEVELS[request.param]:
        pytest.skip(f"this CPU has no {request.param}")
    return library


def run(kind, library, inputs, **attributes):
    """One operator on inputs in the order of a dict."""
    kinds = {np.dtype(np.int8): TensorProto.INT8, np.dtype(np.float32): TensorProto.FLOAT}
    node = helper.make_node(kind, [*inputs], ["y"], domain="crosspoint", **attributes)
    graph = helper.make_graph(
        [node],
        "part",
        [helper.make_tensor_value_info(name, kinds[array.dtype], array.shape) for name, array in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return session(graph, library).run(None, inputs)[0]


def session(graph, library):
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("crosspoint", 1)]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(str(library))
    content = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def leaky(x, slope=SLOPE):
    return np.where(x >= 0, x, slope * x)


def mean(rows):
    """A sum of sums of √n rows in float32, divided by n."""
    together = int(np.ceil(np.sqrt(len(rows))))
    total = np.zeros(rows.shape[1], np.float32)
    for start in range(0, len(rows), together):
        part = np.zeros_like(total)
        for row in rows[start : start + together]:
            part += row
        total += part
    return total / np.float32(len(rows))


def layer(seed, shape, width, largest=64):
    """Codes, weights, scale, bias and maxima of a layer, extremes among them."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-128, 128, shape, dtype=np.int8)
    weights = rng.integers(-largest, largest + 1, (shape[-1], width), dtype=np.int8)
    codes[..., :1, :], weights[:, :1] = -128, -largest
    scale, bias = rng.uniform(1e-4, 1e-2, width).astype(np.float32), rng.normal(size=width).astype(np.float32)
    return codes, weights, scale, bias, rng.normal(size=(*shape[:-1], width)).astype(np.float32)


SIZES = [
    *((1, 1, 1, 1), (2, 31, 3, 16), (1, 33, 16, 31), (3, 32, 64, 32), (2, 129, 65, 33), (1, 257, 130, 70)),
    *((2, 5, 512, 64), (1, 128, 63, 17)),
]


@pytest.mark.parametrize("largest", [64, 127])
@pytest.mark.parametrize(("batch", "n", "channels", "width"), SIZES)
def test_layers_are_those_of_exact_sums(batch, n, channels, width, largest, on_level):
    codes, weights, scale, bias, best = layer(n, (batch, n, channels), width, largest)
    sums = codes.astype(np.int64) @ weights.astype(np.int64)
    product = sums.astype(np.float32) * scale
    active = leaky(product + bias)
    panels = pack(weights)
    inputs = {"codes": codes, "panels": panels, "scale": scale}
    biased = inputs | {"bias": bias}
    assert np.array_equal(run("Product8", on_level, inputs), product)
    assert np.array_equal(run("Linear8", on_level, biased, slope=0.2), active)
    assert np.array_equal(run("Linear8", on_level, biased, slope=1.0), product + bias)
    assert np.array_equal(run("Linear8", on_level, biased, slope=0.0), np.maximum(product + bias, 0))
    assert np.array_equal(run("Edge8", on_level, biased | {"best": best}, slope=0.2), leaky(best + (product + bias)))
    assert np.array_equal(run("Max8", on_level, inputs, axis=1), product.max(axis=1))
    pooled = np.concatenate([active.max(axis=1), np.stack([mean(cloud) for cloud in active])], axis=1)
    assert np.array_equal(run("Pool8", on_level, biased, slope=0.2), pooled)


@pytest.mark.parametrize("shape", [(7, 20), (2, 3, 20, 20), (1, 2, 2, 3, 5)])
def test_codes_may_have_any_number_of_dimensions(shape, on_level):
    codes, weights, scale, _, _ = layer(0, shape, 9)
    product = (codes.astype(np.int64) @ weights.astype(np.int64)).astype(np.float32) * scale
    inputs = {"codes": codes, "panels": pack(weights), "scale": scale}
    assert np.array_equal(run("Product8", on_level, inputs), product)
    assert np.array_equal(run("Max8", on_level, inputs, axis=len(shape) - 2), product.max(axis=-2))


def test_a_layer_without_rows_is_empty_or_least(on_level):
    codes, weights, scale, bias, _ = layer(0, (2, 1, 5), 3)
    inputs = {"codes": codes[:, :0], "panels": pack(weights), "scale": scale}
    assert run("Product8", on_level, inputs).shape == (2, 0, 3)
    assert np.array_equal(run("Max8", on_level, inputs, axis=1), np.full((2, 3), -np.inf))
    pooled = run("Pool8", on_level, inputs | {"bias": bias}, slope=0.2)
    assert np.array_equal(pooled, np.repeat([[-np.inf, 0]], 3, axis=1).repeat(2, axis=0))


@pytest.mark.parametrize("slope", [-0.1, 1.1, np.nan])
def test_a_slope_that_is_not_0_to_1_is_refused(slope, library):
    codes, weights, scale, bias, _ = layer(0, (1, 2, 5), 3)
    inputs = {"codes": codes, "panels": pack(weights), "scale": scale, "bias": bias}
    with pytest.raises(Exception, match="slope"):
        run("Linear8", library, inputs, slope=float(slope))


@pytest.mark.parametrize("axis", [0, 2, -2])
def test_an_axis_that_is_not_that_of_the_rows_is_refused(axis, library):
    codes, weights, scale, _, _ = layer(0, (1, 2, 5), 3)
    with pytest.raises(Exception, match="axis"):
        run("Max8", library, {"codes": codes, "panels": pack(weights), "scale": scale}, axis=axis)


def test_neighbours_maxima_are_equal_on_every_level(on_level):
    rng = np.random.default_rng(0)
    rows, chosen = rng.normal(size=(40, 203)).astype(np.float32), rng.integers(0, 40, (1, 9, 7))
    rows[3, 5], rows[chosen[0, 0, 0], 6] = np.nan, np.nan
    expected = []
    for indices in chosen[0]:
        best = rows[indices[0]].copy()
        for index in indices[1:]:
            best = np.where(best < rows[index], rows[index], best)
        expected.append(best)
    node = helper.make_node("GatherMax", ["near", "chosen"], ["y"], domain="crosspoint")
    inputs = {"near": rows[None], "chosen": chosen}
    graph = helper.make_graph(
        [node],
        "part",
        [
            helper.make_tensor_value_info(*pair, None)
            for pair in (("near", TensorProto.FLOAT), ("chosen", TensorProto.INT64))
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    (found,) = session(graph, on_level).run(None, inputs)
    np.testing.assert_array_equal(found[0], expected)


def clouds_of(kind, n, channels, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, n, channels)).astype(np.float32)
    if kind == "whole":  # of mean 0, so that every product is exact; many are equal
        half = rng.integers(-3, 4, (2, n // 2, channels))
        x = np.concatenate([half, np.zeros((2, n % 2, channels)), -half], axis=1).astype(np.float32)
    elif kind == "far":
        x[:, 0] *= 1e6
    elif kind == "crowded":
        x = 1 + 1e-3 * x
    elif kind == "equal":
        x[:] = 1
    elif kind == "huge":
        x *= 1e30
    elif kind == "tiny":
        x *= 1e-30
    elif kind == "nan":
        x[0, n // 2], x[1, 0, -1] = np.nan, np.inf
    return x


def run_search(library, x, k):
    node = helper.make_node("Nearest16", ["x"], ["y"], domain="crosspoint", k=k)
    graph = helper.make_graph(
        [node],
        "part",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.INT64, None)],
    )
    return session(graph, library).run(None, {"x": x})[0]


POINTS = [(1, 1, 1), (2, 3, 2), (31, 3, 20), (33, 16, 5), (64, 17, 64), (129, 70, 33), (300, 128, 20), (300, 64, 65)]


@pytest.mark.parametrize(("n", "channels", "k"), POINTS)
def test_neighbours_of_whole_numbers_are_those_of_a_stable_sort(n, channels, k, on_level):
    x = clouds_of("whole", n, channels)
    distances = ((x[:, :, None].astype(np.float64) - x[:, None]) ** 2).sum(axis=3)
    expected = np.argsort(distances, axis=2, kind="stable")[:, :, :k]
    np.testing.assert_array_equal(run_search(on_level, x, k), expected)


@pytest.mark.parametrize(("n", "channels", "k"), POINTS)
@pytest.mark.parametrize("kind", ["normal", "crowded", "far"])
def test_neighbours_are_as_near_as_those_of_float64(kind, n, channels, k, on_level):
    x = clouds_of(kind, n, channels)
    centred = x.astype(np.float64) - x.mean(axis=1, keepdims=True, dtype=np.float64)
    distances = ((centred[:, :, None] - centred[:, None]) ** 2).sum(axis=3)
    nearest = np.sort(distances, axis=2)[:, :, :k]
    found = np.take_along_axis(distances, run_search(on_level, x, k), axis=2)
    size = (centred**2).sum(axis=2)
    allowed = 1e-5 * np.sqrt(size[:, :, None] * size.max(axis=1)[:, None, None])  # rounding of a product
    if kind == "far":
        allowed = 1e-5 * size.max() * np.ones_like(allowed)
    assert (np.abs(np.sort(found, axis=2) - nearest) <= allowed + 1e-12).all()


@pytest.mark.parametrize("kind", ["whole", "normal", "far", "crowded", "equal", "huge", "tiny", "nan"])
def test_every_level_finds_the_same_neighbours(kind, library):
    loaded = ctypes.CDLL(str(library))
    for n, channels, k in POINTS:
        x, found = clouds_of(kind, n, channels, seed=n), []
        for level in LEVELS.values():
            loaded.crosspoint_limit_level(level)
            found.append(run_search(library, x, k))
        for other in found[1:]:
            np.testing.assert_array_equal(other, found[0])


# Where they are put


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
def test_networks_give_what_standard_operators_give(name, quantised, library, monkeypatch, tmp_path):
    monkeypatch.setattr(kernels, "LIBRARY", library)
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
