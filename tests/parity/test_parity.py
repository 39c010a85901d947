import json

import numpy as np
import pytest
import torch

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.models import DGCNN, PointNet
from crosspoint.models.weights import load_model, save_model
from crosspoint.parity.parity import judge, parity, round_up


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
    result = parity(pointnet, pointnet, modelnet, points=32)
    assert result["passed"]
    assert result["task"]["equal_predictions"] == 1
    assert result["task"]["mcnemar_p"] == 1
    names = [row["clouds"] for row in result["numeric"]]
    assert names[0] == "real (60)"
    assert {"all points equal", "far offset, 1e3", "batches of 1", "batches of 7", "batches of 32"} <= set(names)
    json.dumps(result, allow_nan=False)


def test_another_model_fails_and_the_report_says_what_would_have_passed(pointnet, modelnet, changed):
    result = parity(pointnet, changed(1.5), modelnet, points=32)
    gate = result["gate"]
    assert not result["passed"]
    assert gate["tier"] == "fp32"
    assert gate["measured"] > 1e-3
    assert gate["measured"] <= gate["would_pass_at"] <= 1.11 * gate["measured"]
    assert gate["measured"] == max(row["relative_l2_unexplained"] for row in result["numeric"])


def test_a_change_in_the_last_digits_passes(pointnet, modelnet, changed):
    result = parity(pointnet, changed(1 + 1e-5), modelnet, points=32)
    assert result["passed"]
    assert result["gate"]["measured"] > 0


def test_a_folder_of_files_is_enough_for_fp32(tmp_path, pointnet):
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", np.random.default_rng(i).random((50, 3), np.float32))
    result = parity(pointnet, pointnet, tmp_path, points=40)
    assert result["passed"]
    assert result["task"] is None


def test_the_fewest_points_are_compared_where_the_number_is_free(tmp_path, modelnet):
    torch.manual_seed(0)
    save_model(DGCNN(k=4).eval(), tmp_path / "a.safetensors")
    result = parity(tmp_path / "a.safetensors", tmp_path / "a.safetensors", modelnet, points=16, clouds=40)
    assert {"4 points", "32 points"} <= {row["clouds"] for row in result["numeric"]}


def test_graphs_with_another_number_of_neighbours_fail(tmp_path, modelnet):
    torch.manual_seed(0)
    model = DGCNN(k=4).eval()
    save_model(model, tmp_path / "a.safetensors")
    other = DGCNN(k=5).eval()
    other.load_state_dict(model.state_dict())
    save_model(other, tmp_path / "b.safetensors")
    result = parity(tmp_path / "a.safetensors", tmp_path / "b.safetensors", modelnet, points=32, clouds=30)
    assert not result["passed"]
    assert result["numeric"][0]["explained"] == 0


def test_embeddings_of_different_width_cannot_be_compared(tmp_path, pointnet, modelnet):
    save_model(DGCNN(k=4).eval(), tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"1024 values per cloud and .* 2048"):
        parity(pointnet, tmp_path / "a.safetensors", modelnet, points=16)


def test_nan_embeddings_fail(tmp_path, pointnet, modelnet):
    model = PointNet().eval()
    with torch.no_grad():
        model.norms[4].bias[0] = float("nan")
    save_model(model, tmp_path / "a.safetensors")
    with pytest.raises(CheckFailed, match="NaN or infinite values"):
        parity(pointnet, tmp_path / "a.safetensors", modelnet, points=16)


NUMERIC = [
    {"clouds": "real", "relative_l2_unexplained": 0.05},
    {"clouds": "batches of 2", "relative_l2_unexplained": 2e-5},
]


@pytest.mark.parametrize(
    ("precision", "difference", "passed"),
    [
        ("fp16", -0.002, True),
        ("fp16", -0.0021, False),
        ("bf16", 0.003, False),
        ("int8", -0.005, True),
        ("int8", -0.006, False),
    ],
)
def test_lower_precisions_are_judged_by_accuracy(precision, difference, passed):
    assert judge(precision, NUMERIC, {"difference": difference})["passed"] is passed


def test_lower_precisions_do_not_pass_without_labels():
    gate = judge("fp16", NUMERIC, None)
    assert not gate["passed"]
    assert gate["would_pass_at"] is None


def test_fp32_is_judged_by_its_worst_cloud():
    gate = judge("fp32", NUMERIC, {"difference": 0.0})
    assert (gate["passed"], gate["worst"], gate["would_pass_at"]) == (False, "real", 0.05)
    assert judge("fp32", NUMERIC[1:], None)["passed"]


def test_fp32_fails_when_predictions_differ_by_more_than_chance():
    task = {"difference": -0.05, "interval": (-0.07, -0.03), "mcnemar_p": 0.001}
    gate = judge("fp32", NUMERIC[1:], task)
    assert (gate["passed"], gate["measured"], gate["rule"]) == (False, 0.05, "difference of linear-SVM accuracies")
    assert judge("fp32", NUMERIC[1:], {**task, "mcnemar_p": 0.5})["passed"]
    assert judge("fp32", NUMERIC[1:], {**task, "difference": -0.002})["passed"]


def test_by_interval_the_worse_end_is_judged():
    task = {"difference": 0.001, "interval": (-0.004, 0.006), "mcnemar_p": 1.0}
    assert judge("fp16", NUMERIC, task)["passed"]
    gate = judge("fp16", NUMERIC, task, by_interval=True)
    assert (gate["passed"], gate["measured"], gate["would_pass_at"]) == (False, 0.006, 0.006)
    assert not judge("fp32", NUMERIC[1:], task, by_interval=True)["passed"]
    tight = {**task, "interval": (-0.0005, 0.0018)}
    assert judge("fp16", NUMERIC, tight, by_interval=True)["passed"]


@pytest.mark.parametrize(
    ("value", "rounded"), [(0.0, 0.0), (1.234e-4, 1.3e-4), (0.1, 0.1), (9.99e-3, 0.01), (2.0, 2.0), (0.00201, 0.0021)]
)
def test_round_up_never_goes_below(value, rounded):
    assert round_up(value) == rounded >= value
