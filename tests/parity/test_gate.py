from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto

from crosspoint.core.errors import CheckFailed
from crosspoint.core.results import to_json
from crosspoint.export.onnx import build as graph
from crosspoint.export.onnx.file import write_onnx
from crosspoint.export.onnx.fold import deploy
from crosspoint.export.onnx.graph_probe import GraphProbe
from crosspoint.parity.clouds import CLOUDS, gate_clouds
from crosspoint.parity.gate import Gate, Report, Seen, batch_sizes
from crosspoint.parity.limits import LIMITS
from crosspoint.parity.reference import Reference
from crosspoint.runtime.backends.onnx import OnnxEncoder
from crosspoint.runtime.profile import make_profile

PROFILE = make_profile("1:2:4", "32:64:96")


def make_gate(network, profile=PROFILE):
    smallest, usual, largest = profile.tested_points(network.config.get("k", 1))
    clouds = gate_clouds(usual, categories=network.config.get("categories"), counts=(smallest, largest))
    return Gate(Reference(network), clouds)


def measure(network, path, profile=PROFILE):
    with GraphProbe(path) as probe, OnnxEncoder(path) as encoder:
        return make_gate(network).measure(encoder, "fp32", graphs=probe, batches=batch_sizes(profile), name=path.name)


class Gives:
    """Stands for an open encoder: it gives what a function gives for the points."""

    def __init__(self, function):
        self.function = function
        self.specification = SimpleNamespace(backend="tensorrt", device="cuda:0")

    def infer(self, inputs, *, any_scale):
        return self.function(inputs["points"]).astype(np.float32)


def write(path, weights):
    write_onnx(path, graph.build(weights, None), provenance={})
    return path


@pytest.mark.parametrize("name", ["dgcnn", "pointnet", "dgcnn_seg", "dgcnn_partseg"])
def test_a_faithful_model_passes_on_ordinary_and_hostile_clouds(name, network, tmp_path):
    model = network(name)
    report = measure(model, write(tmp_path / "a.onnx", deploy(model)))
    report.require()
    cases = report.cases
    assert {case.batch for case in cases[:4]} == {1, 2, 4, 5}
    assert {case.points for case in cases} == {32, 64, 96}
    assert {"lattice", "all points equal", "100 away"} <= {case.name for case in cases}
    assert max(case.errors.relative_l2_max for case in cases) < 1e-5
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
    report = measure(model, write(tmp_path / "a.onnx", replace(weights, embed=embed)))
    with pytest.raises(
        CheckFailed, match=r"a\.onnx differs from the trained network: relative L2 .* would have passed"
    ):
        report.require()


def test_one_flipped_sign_in_an_edge_product_fails(network, tmp_path):
    model = network("dgcnn")
    weights = deploy(model)
    edges = (*weights.edges[:2], replace(weights.edges[2], near=flipped(weights.edges[2].near)), weights.edges[3])
    report = measure(model, write(tmp_path / "a.onnx", replace(weights, edges=edges)))
    assert report.relative_l2_max > 1e-4
    with pytest.raises(CheckFailed):
        report.require()


def test_another_number_of_neighbours_fails(network, tmp_path):
    model = network("dgcnn")
    weights = deploy(model)
    edges = (replace(weights.edges[0], k=7), *weights.edges[1:])
    report = measure(model, write(tmp_path / "a.onnx", replace(weights, edges=edges)))
    with pytest.raises(CheckFailed, match=r"of edge1's 0\.0000 are right"):
        report.require()


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
    report = measure(model, write(tmp_path / "a.onnx", deploy(model)))
    with pytest.raises(CheckFailed, match=r"does not find the neighbours .* of edge\d's 0\.\d+ are right on"):
        report.require()


@pytest.fixture
def gate(network):
    return make_gate(network("dgcnn"))


def on_ordinary(gate, function, batch, precision="fp32"):
    """The gate of the ordinary clouds alone, for an engine that gives what a function gives for the expected output."""
    expected = gate.clouds[0].own_graphs
    first = Gate(None, gate.clouds[:1])
    return first.measure(Gives(lambda points: function(expected[: len(points)])), precision, batches=[batch])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("seen", Seen)
def test_outputs_that_are_not_numbers_fail(gate, value, seen):
    report = on_ordinary(gate, lambda expected: np.full(expected.shape, value), 1)
    assert report.cases[0].errors.relative_l2_max == np.inf
    assert report.cases[0].errors.cosine_min == -1
    with pytest.raises(CheckFailed, match="relative L2 inf"):
        replace(report, seen=seen).require()


def test_errors_are_what_they_are_called(gate):
    factors = np.array([[1.0], [1.25], [1.5]])
    (case,) = on_ordinary(gate, lambda expected: expected * factors, 3).cases
    assert case.errors.relative_l2_max == pytest.approx(0.5, rel=1e-5)
    assert case.errors.relative_l2_p99 == pytest.approx(0.5, rel=1e-5)
    assert case.errors.relative_l2_median == pytest.approx(0.25, rel=1e-5)
    assert case.own_graphs == pytest.approx(0.5, rel=1e-5)
    assert case.errors.cosine_min == pytest.approx(1)


def test_an_engine_is_compared_only_where_neighbours_are_no_choice(network, gate, tmp_path):
    with OnnxEncoder(write(tmp_path / "a.onnx", deploy(network("dgcnn")))) as encoder:
        report = gate.check(encoder, "fp32", batches=[2])
    assert [case.name for case in report.cases] == ["ordinary clouds, batch 2", "32 points", "96 points"]
    assert all(case.errors.relative_l2_max == case.own_graphs for case in report.cases)


def test_an_engine_may_take_the_other_of_two_neighbours_for_a_few_clouds(gate):
    known = [clouds for clouds in gate.clouds if clouds.own_graphs is not None]

    def wrong(share, error):
        def embed(points):
            (clouds,) = (clouds for clouds in known if clouds.inputs["points"].shape == points.shape)
            factor = np.where(np.arange(len(points)) < share * len(points), 1 + error, 1)
            return clouds.own_graphs * factor[:, None]

        return Gate(None, known).measure(Gives(embed), "fp32", batches=[CLOUDS])

    wrong(0.2, 1e-3).require()
    with pytest.raises(CheckFailed, match=r"limit 1e-02"):
        wrong(0.2, 0.02).require()
    with pytest.raises(CheckFailed, match=r"limit 1e-04"):
        wrong(1.0, 1e-3).require()


def test_without_ties_the_network_gives_what_it_gives_on_its_own_graphs(gate, network, tmp_path):
    path = write(tmp_path / "a.onnx", deploy(network("dgcnn")))
    with GraphProbe(path) as probe, OnnxEncoder(path) as encoder:
        report = Gate(gate.reference, gate.clouds[:1]).measure(encoder, "fp32", graphs=probe, batches=[CLOUDS])
    (case,) = report.cases
    assert case.own_graphs == pytest.approx(case.errors.relative_l2_max, rel=1e-3)
    assert case.overlap == {f"edge{i}": 1.0 for i in (1, 2, 3, 4)}


def test_a_cloud_with_known_graphs_is_not_computed_again(gate, network, tmp_path, monkeypatch):
    asked = []
    on_graphs = gate.reference.on_graphs
    monkeypatch.setattr(gate.reference, "on_graphs", lambda *given: asked.append(given) or on_graphs(*given))
    path = write(tmp_path / "a.onnx", deploy(network("dgcnn")))
    with GraphProbe(path) as probe, OnnxEncoder(path) as encoder:
        Gate(gate.reference, gate.clouds[:1]).measure(encoder, "fp32", graphs=probe, batches=[2, 8])
    assert len(asked) == CLOUDS


def test_every_cloud_is_compared_in_calls_of_each_batch_size(gate):
    calls = []
    expected = gate.clouds[0].own_graphs

    def embed(points):
        calls.append(len(points))
        start = sum(calls[:-1]) % 10
        return np.concatenate([expected, expected])[start : start + len(points)]

    Gate(None, gate.clouds[:1], least=10).check(Gives(embed), "fp32", batches=[1, 5, 10])
    assert calls == [1] * 10 + [5, 5, 10]


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
    assert batch_sizes(make_profile(batch, points)) == expected


def test_the_manifest_holds_the_worst_of_all_cases(network, tmp_path):
    model = network("dgcnn")
    report = measure(model, write(tmp_path / "a.onnx", deploy(model)))
    written = to_json(report.result())
    assert list(written) == [
        *("tier", "candidate", "reference", "limits", "relative_l2_max", "relative_l2_own_graphs_max", "cosine_min"),
        *("overlap_min", "cases"),
    ]
    assert list(written["cases"][0]) == [
        *("name", "batch", "points", "relative_l2_max", "relative_l2_p99", "relative_l2_median"),
        *("relative_l2_own_graphs", "cosine_min", "cosine_p1", "overlap"),
    ]
    assert written["relative_l2_max"] == max(case["relative_l2_max"] for case in written["cases"])
    assert written["overlap_min"] == min(min(case["overlap"].values()) for case in written["cases"])
    assert written["limits"] == {"relative_l2": 1e-4, "overlap": 0.99}
    assert len(written["cases"]) == len(report.cases)


def test_of_an_engine_the_manifest_holds_both_limits():
    report = Report("fp16", "a", (), LIMITS["fp16"], Seen.NOTHING)
    assert report.limits_by_name == {"relative_l2_median": 5e-2, "relative_l2": 5e-2}
    assert replace(report, precision="fp32", limits=LIMITS["fp32"]).limits_by_name == {
        "relative_l2_median": 1e-4,
        "relative_l2": 1e-2,
    }
