"""The share of the work that int8 does, against counts by hand."""

import pytest

from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.calibrate import CalibrationSet, calibrate
from crosspoint.export.onnx.fold import deploy
from crosspoint.export.onnx.gain import ROUNDS, measure_gain, multiply_adds
from crosspoint.export.onnx.graph_view import GraphView
from crosspoint.export.onnx.int8 import quantise
from crosspoint.parity.clouds import inputs_of, ordinary

N = 40


@pytest.mark.parametrize("points", [None, N])
def test_a_layer_multiplies_each_of_its_rows_by_each_weight(network, points):
    work = multiply_adds(build(deploy(network("dgcnn")), points), N)
    pairs = {"edge1": (3, 64), "edge2": (64, 64), "edge3": (64, 128), "edge4": (128, 256)}
    for name, (inputs, outputs) in pairs.items():
        assert work[f"{name}/near"] == work[f"{name}/own/product"] == N * inputs * outputs
    assert work["embed/linear/product"] == N * 512 * 1024
    assert len(work) == 9


def test_a_second_convolution_runs_on_every_edge(network):
    model = network("dgcnn_seg")
    work = multiply_adds(build(deploy(model), None), N)
    assert work["edge1/second"] == N * model.k * 64 * 64
    assert work["transform/matrix/product"] == 256 * 9


def test_the_share_is_that_of_the_layers_in_int8(network):
    exact = build(deploy(network("pointnet")), N)
    inputs = inputs_of(CalibrationSet(ordinary(2, N), "made").points, None)
    layer = "layer4/linear/product"
    reads = {node.name: node.input[0] for node in GraphView(exact).products()}
    lowered = quantise(exact, calibrate(exact, [reads[layer]], inputs=inputs), layers=[layer])
    gain = measure_gain(exact, lowered, inputs=inputs)
    whole = 3 * 64 + 2 * 64 * 64 + 64 * 128 + 128 * 1024
    assert gain.int8_share == pytest.approx(64 * 128 / whole)
    assert (gain.points, gain.rounds) == (N, ROUNDS)
    assert min(gain.speed, gain.fp32_ms, gain.int8_ms) > 0
