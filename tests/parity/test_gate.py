from dataclasses import replace

import numpy as np
import pytest
from onnx import TensorProto

from crosspoint.core.errors import CheckFailed
from crosspoint.export.onnx import build as graph
from crosspoint.export.onnx.file import write_onnx
from crosspoint.export.onnx.fold import deploy
from crosspoint.export.onnx.graph_probe import GraphProbe
from crosspoint.parity import gate
from crosspoint.parity.reference import Reference
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.profile import make_profile

PROFILE = make_profile("1:2:4", "32:64:96")


def measure(network, path, profile=PROFILE):
    reference = Reference(network)
    prepared = gate.prepare(reference, network.config, profile)
    with GraphProbe(reference, path) as probe, OnnxEncoder(path) as encoder:
        return gate.compare(gate.through(encoder), prepared, gate.batch_sizes(profile), probe)


def write(path, weights):
    write_onnx(path, graph.build(weights, None), {})
    return path


@pytest.mark.parametrize("name", ["dgcnn", "pointnet", "dgcnn_seg", "dgcnn_partseg"])
def test_a_faithful_model_passes_on_ordinary_and_hostile_clouds(name, network, tmp_path):
    model = network(name)
    cases = measure(model, write(tmp_path / "a.onnx", deploy(model)))
    gate.require_parity("fp32", "a.onnx", cases)
    assert {case.batch for case in cases[:4]} == {1, 2, 4, 5}
    assert {case.points for case in cases} == {32, 64, 96}
    assert {"lattice", "all points equal", "100 away"} <= {case.name for case in cases}
    assert max(case.relative_l2_max for case in cases) < 1e-5
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]
    if name == "dgcnn_seg":
        assert set(cases[0].overlap) == {"transform/edge", "edge1", "edge2", "edge3"}


def flipped(weight):
    """With the sign of its largest entry changed."""
    weight = weight.copy()
    weight[np.unravel_index(np.abs(weight).argmax(), weight.shape)] *= -1
    return weight


def test_one_flipped_sign_in_the_last_product_fails(network, tmp_path):
    model = network("dgcnn")
    weights = deploy(model)
    embed = replace(weights.embed, weight=flipped(weights.embed.weight))
    cases = measure(model, write(tmp_path / "a.onnx", replace(weights, embed=embed)))
    with pytest.raises(
        CheckFailed, match=r"a\.onnx differs from the trained network: relative L2 .* would have passed"
    ):
        gate.require_parity("fp32", "a.onnx", cases)


def test_one_flipped_sign_in_an_edge_product_fails(network, tmp_path):
    model = network("dgcnn")
    weights = deploy(model)
    edges = (*weights.edges[:2], replace(weights.edges[2], near=flipped(weights.edges[2].near)), weights.edges[3])
    cases = measure(model, write(tmp_path / "a.onnx", replace(weights, edges=edges)))
    assert max(case.relative_l2_max for case in cases) > 1e-4
    with pytest.raises(CheckFailed):
        gate.require_parity("fp32", "a.onnx", cases)


def test_another_number_of_neighbours_fails(network, tmp_path):
    model = network("dgcnn")
    weights = deploy(model)
    edges = (replace(weights.edges[0], k=7), *weights.edges[1:])
    cases = measure(model, write(tmp_path / "a.onnx", replace(weights, edges=edges)))
    with pytest.raises(CheckFailed, match=r"of edge1's 0\.0000 are right"):
        gate.require_parity("fp32", "a.onnx", cases)


def test_a_graph_of_uncentred_half_precision_distances_fails(network, tmp_path, monkeypatch):
    faithful = graph.Graph.add

    def half(self, operator, name, *inputs, **options):
        if name.endswith("/centred"):
            return faithful(self, "Identity", name, inputs[0])
        if name.endswith("/scores"):
            low = faithful(self, "Cast", f"{name}/low", faithful(self, operator, f"{name}/high", *inputs), to=10)
            return faithful(self, "Cast", name, low, to=TensorProto.FLOAT)
        return faithful(self, operator, name, *inputs, **options)

    monkeypatch.setattr(graph.Graph, "add", half)
    model = network("dgcnn")
    cases = measure(model, write(tmp_path / "a.onnx", deploy(model)))
    with pytest.raises(CheckFailed, match=r"does not find the neighbours .* of edge\d's 0\.\d+ are right on"):
        gate.require_parity("fp32", "a.onnx", cases)


@pytest.fixture
def prepared(network):
    return gate.prepare(Reference(network("dgcnn")), network("dgcnn").config, PROFILE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("check", [gate.require_parity, gate.require_engine_parity])
def test_outputs_that_are_not_numbers_fail(prepared, value, check):
    broken = gate.compare(lambda inputs: np.full((len(inputs["points"]), 2048), value, np.float32), prepared, [1], None)
    assert broken[0].relative_l2_max == np.inf
    assert broken[0].cosine_min == -1
    with pytest.raises(CheckFailed, match="relative L2 inf"):
        check("fp32", "a.onnx", broken)


def test_errors_are_what_they_are_called(prepared):
    expected = prepared[0].own_graphs
    factors = np.array([[1.0], [1.25], [1.5]])
    (case,) = gate.compare(lambda _: (expected[:3] * factors).astype(np.float32), prepared[:1], [3], None)
    assert case.relative_l2_max == pytest.approx(0.5, rel=1e-5)
    assert case.relative_l2_p99 == pytest.approx(0.5, rel=1e-5)
    assert case.relative_l2_median == pytest.approx(0.25, rel=1e-5)
    assert case.relative_l2_own_graphs == pytest.approx(0.5, rel=1e-5)
    assert case.cosine_min == pytest.approx(1)


def test_an_engine_is_compared_only_where_neighbours_are_no_choice(network, prepared, tmp_path):
    with OnnxEncoder(write(tmp_path / "a.onnx", deploy(network("dgcnn")))) as encoder:
        cases = gate.compare(gate.through(encoder), prepared, [2], None)
    assert [case.name for case in cases] == ["ordinary clouds, batch 2", "32 points", "96 points"]
    assert all(case.relative_l2_max == case.relative_l2_own_graphs for case in cases)
    gate.require_engine_parity("fp32", "a.plan", cases)


def test_an_engine_may_take_the_other_of_two_neighbours_for_a_few_clouds(prepared):
    def wrong(share, error):
        def run(inputs):
            (clouds,) = (clouds for clouds in prepared if clouds.inputs["points"].shape == inputs["points"].shape)
            factor = np.where(np.arange(len(inputs["points"])) < share * len(inputs["points"]), 1 + error, 1)
            return (clouds.own_graphs * factor[:, None]).astype(np.float32)

        return gate.compare(run, [clouds for clouds in prepared if clouds.own_graphs is not None], [gate.CLOUDS], None)

    gate.require_engine_parity("fp32", "a.plan", wrong(0.2, 1e-3))
    with pytest.raises(CheckFailed, match=r"limit 1e-02"):
        gate.require_engine_parity("fp32", "a.plan", wrong(0.2, 0.02))
    with pytest.raises(CheckFailed, match=r"limit 1e-04"):
        gate.require_engine_parity("fp32", "a.plan", wrong(1.0, 1e-3))


@pytest.mark.parametrize(
    ("batch", "points", "expected"),
    [
        ("1:8:32", 1024, [1, 2, 5, 8, 32]),
        ("1:8:256", 1024, [1, 2, 5, 8, 32]),
        ("1:8:32", 8192, [1, 2]),
        (4, 64, [1, 2, 4, 5]),
    ],
)
def test_batches_stay_within_memory(batch, points, expected):
    assert gate.batch_sizes(make_profile(batch, points)) == expected


def test_the_report_holds_the_worst_of_all_cases(network, tmp_path):
    model = network("dgcnn")
    cases = measure(model, write(tmp_path / "a.onnx", deploy(model)))
    report = gate.report("fp32", "a", cases, {})
    assert report["relative_l2_max"] == max(case["relative_l2_max"] for case in report["cases"])
    assert report["overlap_min"] == min(min(case["overlap"].values()) for case in report["cases"])
    assert len(report["cases"]) == len(cases)
