"""Every limit that decides over an export: its value, and candidates just inside and just outside of it."""

from dataclasses import replace

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
from crosspoint.parity import gate, numeric, parity
from crosspoint.parity.clouds import UNNORMALISED, hostile
from crosspoint.parity.limits import MAX_DROP, holds
from crosspoint.parity.reference import Reference
from crosspoint.runtime.profile import make_profile

GOOD = gate.Case("ordinary clouds, batch 5", 5, 64, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, {"edge1": 1.0, "edge2": 1.0})
PRECISIONS = ("fp32", "fp16", "bf16", "int8")


def test_the_table():
    assert {name: (t.relative_l2, t.overlap, t.other_graphs, t.unnormalised) for name, t in gate.TIERS.items()} == {
        "fp32": (1e-4, 0.99, 1e-2, True),
        "fp16": (1e-2, 0.99, 5e-2, False),
        "bf16": (5e-2, 0.99, 1e-1, False),
        "int8": (0.25, 0.5, 0.3, False),
    }
    assert MAX_DROP == {"fp32": 0.2, "fp16": 0.2, "bf16": 0.2, "int8": 0.5}
    assert parity.ACCURACY_LIMITS == {"fp16": 0.002, "bf16": 0.002, "int8": 0.005}
    assert (parity.FP32_ACCURACY_LIMIT, parity.SIGNIFICANT, numeric.LIMIT) == (0.002, 0.05, 1e-4)
    assert (range(17, 21), 3840, 4) == (OPSETS, LARGEST_K, TOPK_AXES)
    assert (LARGEST, LARGEST_WEIGHT, NARROW) == (127, 63, 16)


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-4), ("fp16", 1e-2), ("bf16", 5e-2), ("int8", 0.25)])
def test_the_error_of_any_cloud(precision, limit):
    others = [GOOD, replace(GOOD, name="lattice")]
    assert gate.require_parity(precision, "a.onnx", [*others, replace(GOOD, relative_l2_max=0.999 * limit)])
    with pytest.raises(CheckFailed, match=f"limit {limit:.0e}"):
        gate.require_parity(precision, "a.onnx", [*others, replace(GOOD, relative_l2_max=1.001 * limit), *others])


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 0.99), ("fp16", 0.99), ("bf16", 0.99), ("int8", 0.5)])
@pytest.mark.parametrize("edge", ["edge1", "edge2"])
def test_the_share_of_right_neighbours_of_every_layer(precision, limit, edge):
    inside, outside = (replace(GOOD, overlap={**GOOD.overlap, edge: limit + change}) for change in (1e-6, -1e-3))
    gate.require_parity(precision, "a.onnx", [GOOD, inside])
    with pytest.raises(CheckFailed, match=rf"of {edge}'s 0\.\d+ are right .*limit {limit}"):
        gate.require_parity(precision, "a.onnx", [GOOD, outside, GOOD])


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", UNNORMALISED)
def test_clouds_that_were_not_normalised_count_in_fp32_alone(precision, name):
    bad = replace(GOOD, name=name, relative_l2_max=0.9, overlap={"edge1": 0.1})
    if precision == "fp32":
        with pytest.raises(CheckFailed):
            gate.require_parity(precision, "a.onnx", [GOOD, bad])
    else:
        gate.require_parity(precision, "a.onnx", [GOOD, bad])
    with pytest.raises(CheckFailed, match="relative L2 inf"):
        gate.require_parity(precision, "a.onnx", [GOOD, replace(bad, relative_l2_max=np.inf)])


def test_the_clouds_that_were_not_normalised_are_those_by_name():
    clouds = hostile(64)
    radii = {name: np.linalg.norm(cloud - cloud.mean(axis=0), axis=1).max() for name, cloud in clouds.items()}
    far = {name for name, cloud in clouds.items() if np.abs(cloud.mean(axis=0)).max() > 1}
    small = {name for name, radius in radii.items() if 0 < radius < 0.5}
    assert far | small == set(UNNORMALISED)


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-4), ("fp16", 5e-2), ("bf16", 1e-1), ("int8", 0.3)])
def test_an_engine_is_judged_by_the_median_of_its_cases(precision, limit):
    def cases(*medians):
        return [replace(GOOD, relative_l2_median=m) for m in medians]

    gate.require_engine_parity(precision, "a.plan", cases(5 * limit, 0.999 * limit, 0.0))
    with pytest.raises(CheckFailed, match=f"limit {limit:.0e}"):
        gate.require_engine_parity(precision, "a.plan", cases(0.0, 5 * limit, 1.001 * limit))
    with pytest.raises(CheckFailed):
        gate.require_engine_parity(precision, "a.plan", cases(0.0, 0.0, 5 * limit, 5 * limit, 5 * limit))


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-2), ("fp16", 5e-2), ("bf16", 1e-1), ("int8", 0.3)])
def test_no_cloud_of_an_engine_is_far_off(precision, limit):
    gate.require_engine_parity(precision, "a.plan", [GOOD, replace(GOOD, relative_l2_max=0.999 * limit), GOOD])
    with pytest.raises(CheckFailed, match=f"limit {limit:.0e}"):
        gate.require_engine_parity(precision, "a.plan", [GOOD, replace(GOOD, relative_l2_max=1.001 * limit), GOOD])


@pytest.mark.parametrize("max_drop", [0.0, 0.2, 0.5])
def test_lost_accuracy_in_points(max_drop):
    assert holds({"difference": -(max_drop - 1e-4) / 100}, max_drop) or max_drop == 0
    assert holds({"difference": -max_drop / 100}, max_drop)
    assert not holds({"difference": -(max_drop + 1e-3) / 100}, max_drop)
    assert holds({"difference": 0.5}, max_drop), "a gain is no loss"


def test_the_median_of_a_case_is_that_of_its_clouds():
    network = PointNet().eval()
    prepared = gate.prepare(Reference(network), network.config, make_profile("1:1:1", "32:32:32"))[:1]
    expected = prepared[0].own_graphs
    for errors in ([0, 0, 0.5, 0.5, 0.5], [0.5, 0, 0, 0.25, 0.125]):
        factors = 1 + np.array(errors)[:, None]
        (case,) = gate.compare(lambda _, f=factors: (expected * f).astype(np.float32), prepared, [5], None)
        assert case.relative_l2_median == pytest.approx(sorted(errors)[2], abs=1e-6)
        assert case.relative_l2_max == pytest.approx(0.5, rel=1e-5)


def test_the_clouds_of_a_gate(network):
    """Ordinary ones first, the user's, the bounds of the profile, and the hostile ones."""
    real = normalise(np.random.default_rng(0).standard_normal((3, 64, 3)))
    model = network("dgcnn")
    prepared = gate.prepare(Reference(model), model.config, make_profile("1:2:4", "32:64:96"), real)
    assert [clouds.name for clouds in prepared] == [
        "ordinary clouds", "real clouds", "32 points", "96 points", *hostile(64)
    ]  # fmt: skip
    assert [len(clouds.inputs["points"]) for clouds in prepared[:4]] == [5, 3, 2, 2]
    np.testing.assert_array_equal(prepared[1].inputs["points"], real)
    ties = {clouds.name for clouds in prepared if clouds.own_graphs is None}
    assert ties == set(hostile(64)), "where neighbours are a choice there is no one right output"


def test_the_gate_sees_clouds_that_nothing_was_fitted_to(modelnet, monkeypatch, tmp_path, saved):
    """With labelled data the first of its test part; int8 without labels the first of those it is calibrated with."""
    seen = []
    original = gate.prepare
    monkeypatch.setattr(gate, "prepare", lambda *given: seen.append(given[3]) or original(*given))
    options = {"batch": "1:2:4", "points": 48, "precision": "int8"}
    verification = bundle.Verification(modelnet, max_drop=100.0)
    bundle.export(saved("pointnet"), tmp_path / "a", verification=verification, **options)
    test = load_classification(modelnet, None).test
    held_out = normalise(test.points[:, :48])
    assert len(seen[0]) == gate.CLOUDS == 5
    for cloud in seen[0]:
        assert min(np.abs(np.sort(cloud, axis=0) - np.sort(other, axis=0)).max() for other in held_out) < 1e-6
    verification = bundle.Verification(calibrate=modelnet)
    bundle.export(saved("pointnet"), tmp_path / "b", verification=verification, **options)
    np.testing.assert_array_equal(seen[1], calibration_set(modelnet, 48).points[:5])
    bundle.export(saved("pointnet"), tmp_path / "c", **options)
    assert seen[2] is None, "clouds that were made are not the user's"


def test_two_engines_of_one_network_differ_by_what_the_limit_allows():
    """fp32's limit lies far above rounding and far below a wrong weight: both are tried."""
    torch.manual_seed(0)
    network = PointNet().eval()
    prepared = gate.prepare(Reference(network), network.config, make_profile("1:1:1", "64:64:64"))[:1]

    def run(inputs):
        with torch.no_grad():
            return network(torch.from_numpy(inputs["points"])).numpy()

    gate.require_parity("fp32", "itself", gate.compare(run, prepared, [5], None))
    with torch.no_grad():
        network.linears[1].weight[3, 5] += 0.2
    with pytest.raises(CheckFailed):
        gate.require_parity("fp32", "another", gate.compare(run, prepared, [5], None))
