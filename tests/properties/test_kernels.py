"""The CPU operators against loops, over shapes, k, ties and special values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def operators(compiled):
    """Runs one operator on inputs by name with attributes; sessions are kept."""
    sessions = {}

    def run(kind, inputs, **attributes):
        key = kind, tuple(array.ndim for array in inputs.values()), tuple(attributes.items())
        if key not in sessions:
            sessions[key] = open_session(compiled, kind, inputs, attributes)
        return sessions[key].run(None, inputs)[0]

    return run


def open_session(library, kind, inputs, attributes):
    node = helper.make_node(kind, [*inputs], ["y"], domain="crosspoint", **attributes)
    declared = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), [f"{name}{i}" for i in range(array.ndim)]
        )
        for name, array in inputs.items()
    ]
    result = helper.make_tensor_value_info("y", TensorProto.INT64 if kind == "Nearest" else TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "one", declared, [result])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("crosspoint", 1)]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(str(library))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@st.composite
def tensors(draw, *sizes, special=()):
    """float32 of a shape: few values, so that many are equal; different ones; or with infinities and NaN."""
    shape = tuple(draw(size) if isinstance(size, st.SearchStrategy) else size for size in sizes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["equal", "few", "different", *(["special"] if special else [])]))
    if kind == "different":
        return rng.standard_normal(shape).astype(np.float32)
    if kind == "special":
        return rng.choice(np.float32([-1, 0, 1, *special]), shape)
    return rng.integers(0, 1 if kind == "equal" else 4, shape).astype(np.float32)


@given(
    products=tensors(
        st.integers(1, 2), st.integers(1, 9), st.integers(1, 150), special=[np.inf, -np.inf, np.nan, -0.0]
    ),
    data=st.data(),
)
def test_nearest_is_a_stable_sort_in_which_nan_comes_first(operators, products, data):
    batch, _, count = products.shape
    k = data.draw(st.integers(1, min(count, 80)))
    half = data.draw(tensors(batch, 1, count))
    found = operators("Nearest", {"products": products, "half": half}, k=k)
    scores = (products - half).tolist()
    for cloud, rows in zip(scores, found.tolist(), strict=True):
        for row, chosen in zip(cloud, rows, strict=True):
            order = sorted(range(count), key=lambda i, row=row: (row[i] == row[i], -row[i] if row[i] == row[i] else 0))
            assert chosen == order[:k]


@given(
    near=tensors(st.integers(1, 2), st.integers(1, 40), st.integers(1, 140), special=[np.inf, -np.inf, -0.0]),
    points=st.integers(1, 9),
    k=st.integers(1, 12),
    seed=st.integers(0, 2**32),
)
def test_gather_max_is_the_maximum_of_the_rows(operators, near, points, k, seed):
    batch, count, _ = near.shape
    rows = np.random.default_rng(seed).integers(-count, count, (batch, points, k))
    expected = [[np.max([near[b, j] for j in row], axis=0) for row in rows[b]] for b in range(batch)]
    np.testing.assert_array_equal(operators("GatherMax", {"near": near, "rows": rows}), np.array(expected))


@given(
    x=st.lists(st.integers(1, 9), min_size=1, max_size=4).flatmap(
        lambda outer: tensors(*outer, st.integers(1, 70), st.integers(1, 140))
    ),
    keep=st.integers(0, 1),
    data=st.data(),
)
def test_reductions_are_those_of_every_element(operators, x, keep, data):
    axis = data.draw(st.integers(0, x.ndim - 2))
    maximum = operators("Max", {"x": x}, axis=axis, keep=keep)
    np.testing.assert_array_equal(maximum, x.max(axis=axis, keepdims=bool(keep)))
    mean = operators("Mean", {"x": x}, axis=axis, keep=keep)
    exact = x.astype(np.float64).mean(axis=axis, keepdims=bool(keep))
    np.testing.assert_allclose(mean, exact, rtol=1e-6, atol=1e-6)
