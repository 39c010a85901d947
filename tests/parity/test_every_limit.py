"""Every limit that decides over an export: its value, and candidates just inside and just outside of it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crosspoint.core.errors import CheckFailed
from crosspoint.data.points import normalise
from crosspoint.data.sets.datasets import load_classification
from crosspoint.export import bundle
from crosspoint.export.onnx.calibrate import calibration_set
from crosspoint.export.onnx.int8 import LARGEST, LARGEST_WEIGHT, NARROW
from crosspoint.export.onnx.lint import LARGEST_K, OPSETS, TOPK_AXES
from crosspoint.models import PointNet
from crosspoint.parity.clouds import CLOUDS, UNNORMALISED, gate_clouds, hostile
from crosspoint.parity.gate import Case, Gate, Report, Seen
from crosspoint.parity.limits import LIMITS, NEAR_TIES, SIGNIFICANT, holds
from crosspoint.parity.measures import Errors
from crosspoint.parity.near_ties import FACTOR, JITTER, TRIALS
from crosspoint.parity.reference import Reference

NONE = Errors(0.0, 0.0, 0.0, 1.0, 1.0)
GOOD = Case("ordinary clouds, batch 5", 5, 64, NONE, 0.0, {"edge1": 1.0, "edge2": 1.0})
PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def with_error(largest=0.0, median=0.0, **changes):
    errors = replace(NONE, relative_l2_max=largest, relative_l2_median=median)
    return replace(GOOD, errors=errors, **changes)


def require(precision, cases, seen=Seen.GRAPHS):
    Report(precision, "a.onnx", tuple(cases), LIMITS[precision], seen).require()


def test_the_table():
    columns = {name: (t.relative_l2, t.overlap, t.unseen_graphs, t.unnormalised) for name, t in LIMITS.items()}
    assert columns == {
        "fp32": (1e-4, 0.99, 1e-2, True),
        "fp16": (1e-2, 0.99, 5e-2, False),
        "bf16": (5e-2, 0.99, 1e-1, False),
        "int8": (0.25, 0.5, 0.3, False),
    }
    assert {name: t.max_drop for name, t in LIMITS.items()} == {"fp32": 0.2, "fp16": 0.2, "bf16": 0.2, "int8": 0.5}
    assert {name: t.channel for name, t in LIMITS.items()} == {"fp32": 1e-4, "fp16": 1e-2, "bf16": 6e-2, "int8": 1.0}
    assert (SIGNIFICANT, NEAR_TIES, JITTER, TRIALS, FACTOR) == (0.05, 0.25, 1e-6, 8, 2.0)
    assert (range(17, 21), 3840, 4) == (OPSETS, LARGEST_K, TOPK_AXES)
    assert (LARGEST, LARGEST_WEIGHT, NARROW) == (127, 63, 16)


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-4), ("fp16", 1e-2), ("bf16", 5e-2), ("int8", 0.25)])
def test_the_error_of_any_cloud(precision, limit):
    others = [GOOD, replace(GOOD, name="lattice")]
    require(precision, [*others, with_error(0.999 * limit)])
    with pytest.raises(CheckFailed, match=f"limit {limit:.0e}"):
        require(precision, [*others, with_error(1.001 * limit), *others])


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 0.99), ("fp16", 0.99), ("bf16", 0.99), ("int8", 0.5)])
@pytest.mark.parametrize("edge", ["edge1", "edge2"])
def test_the_share_of_right_neighbours_of_every_layer(precision, limit, edge):
    inside, outside = (replace(GOOD, overlap={**GOOD.overlap, edge: limit + change}) for change in (1e-6, -1e-3))
    require(precision, [GOOD, inside])
    with pytest.raises(CheckFailed, match=rf"of {edge}'s 0\.\d+ are right .*limit {limit}"):
        require(precision, [GOOD, outside, GOOD])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", UNNORMALISED)
def test_clouds_that_were_not_normalised_count_in_fp32_alone(precision, name):
    bad = with_error(0.9, name=name, overlap={"edge1": 0.1})
    if precision == "fp32":
        with pytest.raises(CheckFailed):
            require(precision, [GOOD, bad])
    else:
        require(precision, [GOOD, bad])
    with pytest.raises(CheckFailed, match="relative L2 inf"):
        require(precision, [GOOD, with_error(np.inf, name=name)])


def test_the_clouds_that_were_not_normalised_are_those_by_name():
    clouds = hostile(64)
    radii = {name: np.linalg.norm(cloud - cloud.mean(axis=0), axis=1).max() for name, cloud in clouds.items()}
    far = {name for name, cloud in clouds.items() if np.abs(cloud.mean(axis=0)).max() > 1}
    small = {name for name, radius in radii.items() if 0 < radius < 0.5}
    assert far | small == set(UNNORMALISED)


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-4), ("fp16", 5e-2), ("bf16", 1e-1), ("int8", 0.3)])
def test_an_engine_is_judged_by_the_median_of_its_cases(precision, limit):
    def check(*medians):
        require(precision, [with_error(median=median) for median in medians], Seen.NOTHING)

    check(5 * limit, 0.999 * limit, 0.0)
    with pytest.raises(CheckFailed, match=f"limit {limit:.0e}"):
        check(0.0, 5 * limit, 1.001 * limit)
    with pytest.raises(CheckFailed):
        check(0.0, 0.0, 5 * limit, 5 * limit, 5 * limit)


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-2), ("fp16", 5e-2), ("bf16", 1e-1), ("int8", 0.3)])
def test_no_cloud_of_an_engine_is_far_off(precision, limit):
    require(precision, [GOOD, with_error(0.999 * limit), GOOD], Seen.NOTHING)
    with pytest.raises(CheckFailed, match=f"limit {limit:.0e}"):
        require(precision, [GOOD, with_error(1.001 * limit), GOOD], Seen.NOTHING)


def lost(points):
    return SimpleNamespace(difference=-points / 100, interval=None)


@pytest.mark.parametrize("max_drop", [0.0, 0.2, 0.5])
def test_lost_accuracy_in_points(max_drop):
    assert holds(lost(max_drop - 1e-4), max_drop) or max_drop == 0
    assert holds(lost(max_drop), max_drop)
    assert not holds(lost(max_drop + 1e-3), max_drop)
    assert holds(lost(-50), max_drop), "a gain is no loss"


class Gives:
    """Stands for an open encoder: it gives what a function gives for the points."""

    def __init__(self, function):
        self.function = function
        self.specification = SimpleNamespace(backend="onnxruntime", device="cpu")

    def infer(self, inputs, *, any_scale):
        return self.function(inputs["points"])


def test_the_median_of_a_case_is_that_of_its_clouds():
    gate = Gate(Reference(PointNet().eval()), gate_clouds(32)[:1])
    expected = gate.clouds[0].own_graphs
    for errors in ([0, 0, 0.5, 0.5, 0.5], [0.5, 0, 0, 0.25, 0.125]):
        output = (expected * (1 + np.array(errors)[:, None])).astype(np.float32)
        (case,) = gate.measure(Gives(lambda points, output=output: output), "fp32", batches=[5]).cases
        assert case.errors.relative_l2_median == pytest.approx(sorted(errors)[2], abs=1e-6)
        assert case.errors.relative_l2_max == pytest.approx(0.5, rel=1e-5)


def test_the_clouds_of_a_gate(network):
    """Ordinary ones first, the user's, the bounds of the profile, and the hostile ones."""
    real = normalise(np.random.default_rng(0).standard_normal((3, 64, 3)))
    gate = Gate(Reference(network("dgcnn")), gate_clouds(64, real=real, counts=(32, 96)))
    assert [clouds.name for clouds in gate.clouds] == [
        "ordinary clouds", "real clouds", "32 points", "96 points", *hostile(64)
    ]  # fmt: skip
    assert [len(clouds) for clouds in gate.clouds[:4]] == [5, 3, 2, 2]
    np.testing.assert_array_equal(gate.clouds[1].inputs["points"], real)
    ties = {clouds.name for clouds in gate.clouds if clouds.own_graphs is None}
    assert ties == set(hostile(64)), "where neighbours are a choice there is no one right output"


def test_the_gate_sees_clouds_that_nothing_was_fitted_to(modelnet, monkeypatch, tmp_path, saved):
    """With labelled data the first of its test part; int8 without labels the first of those it is calibrated with."""
    seen = []
    original = bundle.gate_clouds
    monkeypatch.setattr(
        bundle, "gate_clouds", lambda points, **given: seen.append(given["real"]) or original(points, **given)
    )
    options = {"batch": "1:2:4", "points": 48, "precision": "int8"}
    verification = bundle.Verification(modelnet, max_drop=100.0)
    bundle.export(saved("pointnet"), tmp_path / "a", verification=verification, **options)
    test = load_classification(modelnet, None).test
    held_out = normalise(test.points[:, :48])
    assert len(seen[0]) == CLOUDS == 5
    for cloud in seen[0]:
        assert min(np.abs(np.sort(cloud, axis=0) - np.sort(other, axis=0)).max() for other in held_out) < 1e-6
    verification = bundle.Verification(calibrate=modelnet)
    bundle.export(saved("pointnet"), tmp_path / "b", verification=verification, **options)
    np.testing.assert_array_equal(seen[1], calibration_set(modelnet, 48).points[:5])
    bundle.export(saved("pointnet"), tmp_path / "c", **options)
    assert seen[2] is None, "synthetic clouds are not the user's"


def test_two_engines_of_one_network_differ_by_what_the_limit_allows():
    """fp32's limit lies far above rounding and far below a wrong weight: both are tried."""
    torch.manual_seed(0)
    network = PointNet().eval()
    gate = Gate(Reference(network), gate_clouds(64)[:1])

    def embed(points):
        with torch.no_grad():
            return network(torch.from_numpy(points)).numpy()

    require("fp32", gate.measure(Gives(embed), "fp32", batches=[5]).cases)
    with torch.no_grad():
        network.linears[1].weight[3, 5] += 0.2
    with pytest.raises(CheckFailed):
        require("fp32", gate.measure(Gives(embed), "fp32", batches=[5]).cases)
