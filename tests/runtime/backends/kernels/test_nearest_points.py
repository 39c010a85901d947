"""Neighbours in three dimensions by boxes, against all pairs in float64."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

onnxruntime = pytest.importorskip("onnxruntime")

SEARCHED = 4096  # smaller clouds are compared pair by pair
K = 20


def run(nodes, inputs, library, constants=()):
    """The only output, named y, of a graph."""
    graph = helper.make_graph(
        nodes,
        "part",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.INT64, None)],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("crosspoint", 1)]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.register_custom_ops_library(str(library))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def nearest_points(points, library, k=K, half=None):
    node = helper.make_node("NearestPoints", ["points", "half"], ["y"], domain="crosspoint", k=k)
    return run([node], {"points": points, "half": norms(points) if half is None else half}, library)


def standard(points, library, k=K):
    """The nodes that the operator stands for, of which it takes the same two values."""
    nodes = [
        helper.make_node("Transpose", ["points"], ["others"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["points", "others"], ["products"]),
        helper.make_node("Sub", ["products", "half"], ["scores"]),
        helper.make_node("TopK", ["scores", "k"], ["values", "y"], axis=2, largest=1, sorted=1),
    ]
    return run(nodes, {"points": points, "half": norms(points)}, library, [("k", [k])])


def norms(points):
    return (0.5 * np.square(points).sum(axis=2, dtype=np.float32))[:, None]  # (B, 1, N)


def sphere(rng, n):
    x = rng.normal(size=(n, 3))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def far_away(rng, n):
    """A dense cluster and one point a thousand times as far."""
    return np.concatenate([1e-3 * rng.normal(size=(n - 1, 3)), [[1, 0, 0]]])


ROUNDED = {
    "in space": lambda rng, n: rng.normal(size=(n, 3)),
    "on a surface": sphere,
    "on a line": lambda rng, n: np.outer(rng.normal(size=n), [0.5, 0.3, 0.1]),
    "dense and one far away": far_away,
    "far from the origin": lambda rng, n: 30 + rng.normal(size=(n, 3)),  # rounding is that of large squares
    "large": lambda rng, n: 1e6 * rng.normal(size=(n, 3)),
    "tiny": lambda rng, n: 1e-17 * rng.normal(size=(n, 3)),
}
EXACT = {  # multiples of 1/32, so that scores are exact in float32 and many are equal
    "a grid": lambda rng, n: rng.integers(-32, 32, size=(n, 3)) / 32,
    "each ten times": lambda rng, n: rng.integers(-32, 32, size=(n // 10 + 1, 3))[np.arange(n) % (n // 10 + 1)] / 32,
    "on a line": lambda rng, n: np.outer(rng.integers(-32, 32, size=n), [1, 0, 0]) / 32,
    "on a plane": lambda rng, n: rng.integers(-32, 32, size=(n, 3)) * [1, 0, 1] / 32,
    "all in one place": lambda rng, n: np.full((n, 3), 0.5),
    "all in the origin": lambda rng, n: np.zeros((n, 3)),
}


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("n", [SEARCHED - 1, SEARCHED, SEARCHED + 17])
def test_of_equal_distances_the_first_come_first_as_in_a_stable_sort(kind, n, library):
    rng = np.random.default_rng(n)
    points = EXACT[kind](rng, n)
    chosen = nearest_points(points[None].astype(np.float32), library)[0]
    for i in rng.integers(n, size=40):
        distances = np.square(points - points[i]).sum(axis=1)  # exact
        np.testing.assert_array_equal(chosen[i], np.argsort(distances, kind="stable")[:K])


@pytest.mark.parametrize("kind", ROUNDED)
def test_no_neighbour_is_farther_than_rounding_explains(kind, library):
    rng = np.random.default_rng(0)
    points = ROUNDED[kind](rng, SEARCHED + 100).astype(np.float32)
    chosen = nearest_points(points[None], library)[0]
    exact = points.astype(np.float64)
    for i in rng.integers(len(points), size=40):
        distances = np.square(exact - exact[i]).sum(axis=1)
        found, best = distances[chosen[i]], np.sort(distances)[:K]
        assert len({*chosen[i]}) == K
        scale = np.square(exact[chosen[i]]).sum(axis=1).max() + np.square(exact[i]).sum()
        np.testing.assert_allclose(found, best, rtol=0, atol=1e-6 * scale)


@pytest.mark.parametrize("kind", ["in space", "on a surface", "dense and one far away", "far from the origin"])
def test_the_choice_is_that_of_the_standard_operators(kind, library):
    """But for neighbours whose distances differ by rounding alone; on CPUs with fused multiply-adds for all."""
    points = ROUNDED[kind](np.random.default_rng(1), SEARCHED + 5).astype(np.float32)[None]
    ours, theirs = nearest_points(points, library), standard(points, library)
    assert np.mean(ours != theirs) < 1e-3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [50, SEARCHED + 4])
def test_points_that_are_not_finite_are_ordered_as_by_the_standard_operators(value, n, library):
    points = EXACT["a grid"](np.random.default_rng(0), n).astype(np.float32)
    points[n // 2, 1] = value
    np.testing.assert_array_equal(nearest_points(points[None], library), standard(points[None], library))


def test_each_cloud_of_a_batch_has_its_own_neighbours(library):
    rng = np.random.default_rng(0)
    points = np.stack([kind(rng, SEARCHED) for kind in EXACT.values()]).astype(np.float32)
    points[2] *= np.nan
    together = nearest_points(points, library)
    for i, own in enumerate(points):
        np.testing.assert_array_equal(together[i], nearest_points(own[None], library)[0])


@pytest.mark.parametrize("k", [1, 33, 64, 200])
def test_any_number_of_neighbours(k, library):
    points = EXACT["a grid"](np.random.default_rng(k), SEARCHED + 1)
    chosen = nearest_points(points[None].astype(np.float32), library, k=k)[0]
    for i in (0, 77, SEARCHED):
        distances = np.square(points - points[i]).sum(axis=1)
        np.testing.assert_array_equal(chosen[i], np.argsort(distances, kind="stable")[:k])


def test_other_numbers_than_half_the_squares_are_compared_pair_by_pair(library):
    """Boxes would leave out points that such numbers bring near."""
    points = np.random.default_rng(0).integers(-32, 32, size=(1, SEARCHED, 3)).astype(np.float32) / 32
    half = np.zeros((1, 1, SEARCHED), np.float32)
    chosen = nearest_points(points, library, half=half)[0]
    for i in (0, 5, 999):
        scores = points[0].astype(np.float64) @ points[0, i].astype(np.float64)
        np.testing.assert_array_equal(chosen[i], np.argsort(-scores, kind="stable")[:K])


@pytest.mark.parametrize("k", [0, 7])
def test_as_many_neighbours_as_points_or_none(k, library):
    points = np.random.default_rng(0).normal(size=(2, 7, 3)).astype(np.float32)
    assert np.sort(nearest_points(points, library, k=k)).tolist() == [[list(range(k))] * 7] * 2


@pytest.mark.parametrize(
    ("points", "half", "k", "message"),
    [
        ((1, 7, 3), (1, 1, 7), 8, "k = 8 of 7"),
        ((1, 7, 2), (1, 1, 7), 2, "half must be"),
        ((1, 7, 3), (1, 7, 1), 2, "half must be"),
        ((1, 7, 3), (2, 1, 7), 2, "half must be"),
        ((7, 3), (1, 1, 7), 2, "dimensions"),
        ((1, 7, 3), (1, 1, 7), -1, "negative"),
    ],
)
def test_sizes_that_do_not_belong_together_are_refused(points, half, k, message, library):
    with pytest.raises(Exception, match=message):
        nearest_points(np.ones(points, np.float32), library, k=k, half=np.ones(half, np.float32))
