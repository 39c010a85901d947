"""Encoders, on PyTorch and on exported graphs with the package's operators and without, over batches and points."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crosspoint.data.points import normalise
from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.file import write_onnx
from crosspoint.export.onnx.fold import deploy
from crosspoint.models.weights import save_model
from crosspoint.runtime.backends import kernels
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.backends.pytorch import PyTorchEncoder
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.specification import Specification

pytest.importorskip("onnxruntime")
NAMES = ["DGCNN", "PointNet", "SegmentationBackbone", "DGCNNSegmenter"]
K = 6


@pytest.fixture(scope="module")
def library(compiled):
    """The operators, compiled, in the place of this installation's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "LIBRARY", compiled)
        yield compiled


@pytest.fixture(scope="module", params=NAMES)
def encoders(request, make_network, library, tmp_path_factory):
    """One network behind every encoder of a CPU, and in float64, also with half as many neighbours."""
    folder, network = tmp_path_factory.mktemp(request.param), make_network(request.param, K)
    save_model(network, folder / "m.safetensors")
    provenance = {"model": network.config, "k": K}
    write_onnx(folder / "m.onnx", build(deploy(network), None), provenance=provenance)
    one = OnnxEncoder(folder / "m.onnx", threads=1)
    assert one.specification.engine.endswith("crosspoint operators")
    every = {
        "PyTorch": PyTorchEncoder(folder / "m.safetensors"),
        "operators": one,
        "operators, by cloud": OnnxEncoder(folder / "m.onnx", threads=2),
        "standard": OnnxEncoder(folder / "m.onnx", threads=1, operators=False),
        "standard, by cloud": OnnxEncoder(folder / "m.onnx", threads=2, operators=False),
    }
    yield SimpleNamespace(
        every=every,
        double=make_network(request.param, K).double(),
        half=make_network(request.param, K // 2).double(),
        of_points=request.param == "DGCNNSegmenter",
    )
    for encoder in every.values():
        encoder.close()


@st.composite
def batches(draw, fewest=1):
    """Clouds `(B, N, 3)` float32, normalised."""
    batch, count = draw(st.integers(fewest, 5)), draw(st.integers(K, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return normalise(rng.uniform(-0.57, 0.57, (batch, count, 3)))


def apply(encoder, points, first=0):
    """Embeddings, or logits with the categories of the clouds from number `first` on."""
    if encoder.specification.categories is None:
        return encoder.embed(points)
    return encoder.segment(points, np.eye(3)[np.arange(first, first + len(points)) % 3])


def assert_near(result, expected, name):
    scale = 1 + np.abs(expected).max()
    np.testing.assert_allclose(result / scale, expected / scale, rtol=0, atol=2e-5, err_msg=name)


@given(points=batches(), random=st.randoms(use_true_random=False))
def test_every_encoder_gives_what_float64_gives_in_any_order_of_the_points(
    encoders, run_network, has_near_tie, points, random
):
    exact = torch.tensor(points).double()
    assume(not has_near_tie(encoders.double, exact))
    expected = run_network(encoders.double, exact).numpy()
    order = random.sample(range(points.shape[1]), points.shape[1])
    for name, encoder in encoders.every.items():
        assert_near(apply(encoder, points), expected, name)
        moved = apply(encoder, points[:, order])
        assert_near(moved, expected[:, order] if encoders.of_points else expected, name)


@given(points=batches(), random=st.randoms(use_true_random=False))
def test_neighbours_that_tie_in_one_place_change_nothing(encoders, run_network, has_near_tie, points, random):
    """A cloud with every point twice, and twice the neighbours, is the cloud."""
    exact = torch.tensor(points).double()
    assume(not has_near_tie(encoders.half, exact))
    expected = run_network(encoders.half, exact).numpy()
    order = random.sample([*range(points.shape[1])] * 2, 2 * points.shape[1])
    for name, encoder in encoders.every.items():
        found = apply(encoder, points[:, order])
        assert_near(found, expected[:, order] if encoders.of_points else expected, name)


@given(points=batches(fewest=2))
def test_a_cloud_that_goes_through_by_itself_has_the_same_bits_in_every_batch(encoders, points):
    for name in ("operators", "standard"):
        by_cloud, one = encoders.every[f"{name}, by cloud"], encoders.every[name]
        found = apply(by_cloud, points)
        for i in range(len(points)):
            np.testing.assert_array_equal(found[i], apply(one, points[i : i + 1], first=i)[0])
        others = np.concatenate([points[:1], 0.9 * points[1:, ::-1]])
        np.testing.assert_array_equal(apply(by_cloud, others)[0], found[0])


@given(points=batches(fewest=2), data=st.data())
def test_a_cloud_s_result_is_its_own_in_every_encoder(encoders, has_near_tie, points, data):
    assume(not has_near_tie(encoders.double, torch.tensor(points).double()))
    i = data.draw(st.integers(0, len(points) - 1))
    for name, encoder in encoders.every.items():
        assert_near(apply(encoder, points[i : i + 1], first=i)[0], apply(encoder, points)[i], name)


class Mean(Encoder):
    """The mean of each cloud, for as many clouds at once as its limits say; it keeps what it was called with."""

    def __init__(self, least, most, points):
        self.specification = Specification(
            "mean", 3, points, most, "fp32", "numpy", "cpu", "0" * 64, "mean", min_batch=least
        )
        self.sizes = []

    def run(self, inputs):
        self.sizes.append(len(inputs["points"]))
        assert inputs["points"].flags.c_contiguous
        return {"embedding": inputs["points"].mean(axis=1)}


@settings(max_examples=10 * settings().max_examples)
@given(
    total=st.integers(1, 4) | st.integers(1, 40),
    limits=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    open_end=st.booleans(),
    kind=st.sampled_from([np.float16, np.float32, np.float64]),
    order=st.sampled_from(["C", "F"]),
    seed=st.integers(0, 2**32),
)
def test_any_number_of_clouds_passes_in_pieces_that_the_backend_takes(total, limits, open_end, kind, order, seed):
    least, most = sorted(limits)
    clouds = normalise(np.random.default_rng(seed).standard_normal((total, 4, 3)))
    points = np.asarray(clouds.astype(kind), order=order)
    encoder = Mean(least, None if open_end else most, 4)
    np.testing.assert_array_equal(encoder.embed(points), points.astype(np.float32).mean(axis=1))
    step = total if open_end else most
    pieces = [min(step, total - start) for start in range(0, total, step)]
    assert encoder.sizes == [max(least, piece) for piece in pieces]
