import json

import numpy as np
import pytest
import torch

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.results import from_json, to_json
from crosspoint.eval.metrics.statistics import Paired
from crosspoint.models import DGCNN, PointNet
from crosspoint.models.weights import load_model, save_model
from crosspoint.parity.clouds import hostile
from crosspoint.parity.gate import Case, Report, Seen
from crosspoint.parity.limits import LIMITS, holds
from crosspoint.parity.measures import Errors
from crosspoint.parity.near_ties import NearTies
from crosspoint.parity.parity import ParityResult, Verdict, judge, parity, round_up
from crosspoint.runtime.options import Sampling


@pytest.fixture
def changed(tmp_path, pointnet):
    """The same PointNet with its first weight changed by a factor."""

    def change(factor):
        model = load_model(pointnet)
        with torch.no_grad():
            model.linears[0].weight[0] *= factor
        save_model(model, tmp_path / f"{factor}.safetensors")
        return tmp_path / f"{factor}.safetensors"

    return change


def test_a_model_equals_itself(pointnet, modelnet):
    result = parity(pointnet, pointnet, data=modelnet, sampling=Sampling(32))
    assert result.passed
    assert result.task.paired.equal_predictions == 1
    assert result.task.paired.mcnemar_p == 1
    ordinary = [f"ordinary clouds, batch {size}" for size in (1, 2, 5, 32)]
    assert [row.clouds for row in result.numeric] == [
        "real clouds",
        *ordinary,
        "1 points",
        "64 points",
        *hostile(32),
    ]
    written = result.to_json()
    assert list(written) == ["schema", "reference", "candidate", "data", "numeric", "task", "gate", "passed"]
    assert list(written["numeric"][0]) == [
        *("clouds", "relative_l2_max", "relative_l2_p99", "relative_l2_median", "cosine_min", "cosine_p1"),
        *("over_limit", "explained", "relative_l2_unexplained"),
    ]
    assert list(written["data"]) == ["path", "source", "clouds", "points", "seed", "skipped", "frame"]
    assert ParityResult.from_json(json.loads(json.dumps(written, allow_nan=False))) == result


def test_another_model_fails_and_the_report_says_what_would_have_passed(pointnet, modelnet, changed):
    result = parity(pointnet, changed(1.5), data=modelnet, sampling=Sampling(32))
    gate = result.gate
    assert not result.passed
    assert gate.precision == "fp32"
    assert gate.measured > 1e-3
    assert gate.measured <= gate.would_pass_at <= 1.11 * gate.measured
    assert gate.measured == max(row["relative_l2_unexplained"] for row in result.to_json()["numeric"])


def test_a_change_in_the_last_digits_passes(pointnet, modelnet, changed):
    result = parity(pointnet, changed(1 + 1e-5), data=modelnet, sampling=Sampling(32))
    assert result.passed
    assert result.gate.measured > 0


def test_a_folder_of_files_is_enough_for_fp32(tmp_path, pointnet):
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", np.random.default_rng(i).random((50, 3), np.float32))
    result = parity(pointnet, pointnet, data=tmp_path, sampling=Sampling(40))
    assert result.passed
    assert result.task is None


def test_the_fewest_points_are_compared_where_the_number_is_free(tmp_path, modelnet):
    torch.manual_seed(0)
    save_model(DGCNN(k=4).eval(), tmp_path / "a.safetensors")
    result = parity(
        tmp_path / "a.safetensors", tmp_path / "a.safetensors", data=modelnet, sampling=Sampling(16), clouds=40
    )
    assert {"4 points", "32 points"} <= {row.clouds for row in result.numeric}


def test_graphs_with_another_number_of_neighbours_fail(tmp_path, modelnet):
    torch.manual_seed(0)
    model = DGCNN(k=4).eval()
    save_model(model, tmp_path / "a.safetensors")
    other = DGCNN(k=5).eval()
    other.load_state_dict(model.state_dict())
    save_model(other, tmp_path / "b.safetensors")
    result = parity(
        tmp_path / "a.safetensors", tmp_path / "b.safetensors", data=modelnet, sampling=Sampling(32), clouds=30
    )
    assert not result.passed
    assert result.numeric[0].near_ties.explained == 0


def test_embeddings_of_different_width_cannot_be_compared(tmp_path, pointnet, modelnet):
    save_model(DGCNN(k=4).eval(), tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"1024 values per cloud and .* 2048"):
        parity(pointnet, tmp_path / "a.safetensors", data=modelnet, sampling=Sampling(16))


def test_nan_embeddings_fail(tmp_path, pointnet, modelnet):
    model = PointNet().eval()
    with torch.no_grad():
        model.norms[4].bias[0] = float("nan")
    save_model(model, tmp_path / "a.safetensors")
    with pytest.raises(CheckFailed, match="NaN or infinite values"):
        parity(pointnet, tmp_path / "a.safetensors", data=modelnet, sampling=Sampling(16))


def report(precision, **errors):
    """Of a candidate whose errors by name of the clouds have no explanation."""
    cases = [
        Case(name, 2, 32, Errors(0.1, 0.0, 0.0, 1.0, 1.0), 0.0, {}, NearTies(1, 0, error))
        for name, error in errors.items()
    ]
    return Report(precision, "candidate", tuple(cases), LIMITS[precision], Seen.NEAR_TIES)


def task(difference, interval=None, mcnemar_p=1.0):
    """Predictions of 1,000 objects compared."""
    return Paired(1000, 0.8, 0.8 + difference, 0.9, 50, 50, mcnemar_p, difference, interval)


@pytest.mark.parametrize(
    ("precision", "difference", "passed"),
    [("fp16", -0.002, True), ("fp16", -0.0021, False), ("int8", -0.005, True), ("int8", -0.006, False)],
)
def test_lower_precisions_are_judged_by_the_accuracy_that_they_lose(precision, difference, passed):
    assert judge(report(precision, real=0.05), task(difference)).passed is passed


@pytest.mark.parametrize("precision", LIMITS)
def test_a_gain_passes_as_it_does_at_export(precision):
    gain = task(0.003, (0.002, 0.004), 0.001)
    assert judge(report(precision, real=0.0), gain).passed
    assert judge(report(precision, real=0.0), gain, by_interval=True).passed
    assert holds(gain, 0.0)


def test_lower_precisions_do_not_pass_without_labels():
    gate = judge(report("fp16", real=0.05), None)
    assert not gate.passed
    assert gate.would_pass_at is None
    assert str(gate) == (
        "fp16: not passed, the loss of linear-SVM accuracy was not measured; give more labelled --data"
    )


def test_fp32_is_judged_by_its_worst_cloud():
    gate = judge(report("fp32", real=0.05, lattice=2e-5), task(0.0))
    assert (gate.passed, gate.worst, gate.would_pass_at) == (False, "real", 0.05)
    assert judge(report("fp32", lattice=2e-5), None).passed


def test_fp32_fails_when_it_loses_more_than_chance():
    fine = report("fp32", lattice=2e-5)
    gate = judge(fine, task(-0.05, (-0.07, -0.03), 0.001))
    assert (gate.passed, gate.measured, gate.rule) == (False, 0.05, "loss of linear-SVM accuracy")
    assert judge(fine, task(-0.05, (-0.07, -0.03), 0.5)).passed
    assert judge(fine, task(-0.002, (-0.07, -0.03), 0.001)).passed


def test_by_interval_the_end_that_loses_more_is_judged():
    unsure = task(0.001, (-0.004, 0.006))
    assert judge(report("fp16", real=0.05), unsure).passed
    gate = judge(report("fp16", real=0.05), unsure, by_interval=True)
    assert (gate.passed, gate.measured, gate.would_pass_at) == (False, 0.004, 0.004)
    assert not judge(report("fp32", real=0.0), unsure, by_interval=True).passed
    assert judge(report("fp16", real=0.05), task(0.001, (-0.0018, 0.006)), by_interval=True).passed


def test_a_verdict_that_was_read_says_what_the_one_that_was_written_said():
    for written in (Verdict("fp32", "error", 1e-4, 2e-5, True, "lattice"), Verdict("int8", "loss", 0.005, None, False)):
        assert str(from_json(Verdict, json.loads(json.dumps(to_json(written))))) == str(written)
    assert str(Verdict("fp32", "error", 1e-4, 2e-4, False, "lattice")) == (
        "fp32: error 2.00e-04 (lattice), limit 0.0001: not passed, would pass at 2.0e-04"
    )


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.0, 0.0), (1.234e-4, 1.3e-4), (0.1, 0.1), (9.99e-3, 0.01), (2.0, 2.0), (0.00201, 0.0021)]
)
def test_round_up_never_goes_below(value, rounded):
    assert round_up(value) == rounded >= value
