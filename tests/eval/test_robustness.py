import json

import numpy as np
import pytest
import torch

from crosspoint.core.errors import InputError
from crosspoint.data.points import normalise
from crosspoint.eval.robustness import (
    CORRUPTIONS,
    corrupt_all,
    drop,
    occlude,
    robustness,
    rotate,
    thin,
    view,
    view_from,
)
from crosspoint.eval.svm import svm
from crosspoint.export.bundle import export
from crosspoint.models import DGCNN, PointNet
from crosspoint.models.weights import save_model
from crosspoint.runtime.options import RunOn, Sampling

CLOUD = np.random.default_rng(0).standard_normal((40, 3))


def rng():
    return np.random.default_rng(1)


@pytest.mark.parametrize("degrees", [0, 30, 90, 180])
def test_a_rotation_is_one_by_the_angle_asked_for(degrees):
    matrix = rotate(np.eye(3), degrees, rng=rng()).T
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)
    assert np.trace(matrix) == pytest.approx(1 + 2 * np.cos(np.deg2rad(degrees)))


def test_axes_of_rotation_are_random():
    clouds = np.repeat(CLOUD[None].astype(np.float32), 5, axis=0)
    turned = corrupt_all(clouds, "rotation", severity=90, seed=0)
    assert len({cloud[0].tobytes() for cloud in turned}) == 5


@pytest.mark.parametrize("corrupt", [drop, occlude])
@pytest.mark.parametrize(("lost", "left"), [(0.25, 30), (0.9, 4), (1.0, 1)])
def test_lost_points_are_replaced_by_copies(corrupt, lost, left):
    corrupted = corrupt(CLOUD, lost, rng=rng())
    assert corrupted.shape == CLOUD.shape
    kept = np.unique(corrupted, axis=0)
    assert len(kept) == left
    assert {tuple(point) for point in kept} <= {tuple(point) for point in CLOUD}


def test_occlusion_cuts_along_a_plane():
    kept = np.unique(occlude(CLOUD, 0.5, rng=rng()), axis=0)
    direction = rng().standard_normal(3)
    hidden = [point for point in CLOUD if not (kept == point).all(axis=1).any()]
    assert (kept @ direction).max() < min(np.array(hidden) @ direction)


def ball(count=1000):
    """Points on the unit sphere, of which a sensor at distance d sees those above the height 1 / d towards it."""
    points = np.random.default_rng(2).standard_normal((count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize("distance", [2.0, 8.0])
def test_a_view_keeps_the_side_towards_a_sensor_at_the_distance(distance):
    corrupted = view(ball(), distance, rng=rng())
    assert corrupted.shape == (1000, 3)
    kept = np.unique(corrupted, axis=0)
    towards = kept.mean(axis=0) / np.linalg.norm(kept.mean(axis=0))
    assert (kept @ towards > 1 / distance - 0.15).mean() > 0.98
    assert len(kept) / 1000 == pytest.approx((1 - 1 / distance) / 2, abs=0.06)  # the cap's share of the sphere
    assert -0.25 < towards[1] < 0.8, "elevations are those of a scan"


def test_objects_are_seen_from_different_sides():
    clouds = np.repeat(ball()[None].astype(np.float32), 4, axis=0)
    sides = [np.unique(cloud, axis=0).mean(axis=0) for cloud in view_all(clouds)]
    assert np.std(sides, axis=0).max() > 0.1


def view_all(clouds):
    return [view(cloud, 4.0, rng=np.random.default_rng(i)) for i, cloud in enumerate(clouds)]


@pytest.mark.parametrize("degrees", [-30.0, 0.0, 90.0])
def test_the_side_seen_has_the_elevation_asked_for(degrees):
    kept = np.unique(view_from(ball(), degrees, rng=rng()), axis=0)
    towards = kept.mean(axis=0) / np.linalg.norm(kept.mean(axis=0))
    assert np.rad2deg(np.arcsin(towards[1])) == pytest.approx(degrees, abs=15)


def test_fewer_points_are_a_part_of_the_cloud():
    assert thin(CLOUD, 0.25, rng=rng()).shape == (10, 3)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_first_severity_leaves_a_cloud_as_it_is_and_others_do_not(name):
    clouds = np.random.default_rng(0).standard_normal((2, 40, 3)).astype(np.float32)
    first, *others = CORRUPTIONS[name].severities
    if not CORRUPTIONS[name].intact:
        others.append(first)
    whole = normalise(clouds)
    np.testing.assert_array_equal(corrupt_all(clouds, name, severity=first, seed=0) == whole, CORRUPTIONS[name].intact)
    for severity in others:
        corrupted = corrupt_all(clouds, name, severity=severity, seed=0)
        assert corrupted.shape != whole.shape or np.abs(corrupted - whole).max() > 1e-3
        np.testing.assert_array_equal(corrupted, corrupt_all(clouds, name, severity=severity, seed=0))


def test_intact_clouds_have_the_accuracy_of_the_svm(modelnet, pointnet, tmp_path):
    run_on = RunOn(cache=tmp_path / "cache")
    result = robustness([pointnet], modelnet, corruptions=("noise", "fewer"), sampling=Sampling(64), run_on=run_on)
    expected = svm(pointnet, modelnet, sampling=Sampling(64), run_on=run_on).clean.accuracy
    for curve in result.curves:
        assert curve.rows[0].accuracy == pytest.approx(expected)
        assert [row.severity for row in curve.rows] == list(CORRUPTIONS[curve.corruption].severities)
    json.dumps(result.to_json(), allow_nan=False)


def test_two_models_meet_the_same_clouds(modelnet, pointnet, tmp_path):
    torch.manual_seed(3)
    save_model(PointNet().eval(), tmp_path / "other.safetensors")
    models = [pointnet, tmp_path / "other.safetensors"]
    result = robustness(models, modelnet, corruptions=("noise",), sampling=Sampling(16), against=pointnet, out=tmp_path)
    own, other = result.curves  # the reference is among the models and meets the clouds once
    assert all(row.against.equal_predictions == 1 for row in own.rows)
    assert [row.against.candidate_accuracy for row in other.rows] == [row.accuracy for row in other.rows]
    assert (tmp_path / "robustness.png").read_bytes().startswith(b"\x89PNG")


def test_an_exported_model_with_a_fixed_number_of_points_leaves_fewer_points_out(modelnet, tmp_path):
    torch.manual_seed(0)
    save_model(DGCNN(k=4).eval(), tmp_path / "encoder.safetensors")
    export(tmp_path / "encoder.safetensors", tmp_path / "bundle", points=16, batch=(1, 2, 4))
    models = [tmp_path / "encoder.safetensors", tmp_path / "bundle"]
    result = robustness(models, modelnet, corruptions=("dropped", "fewer"), sampling=Sampling(16))
    assert [curve.corruption for curve in result.curves] == ["dropped", "fewer", "dropped"]
    assert "takes exactly 16 points" in result.remarks[0]
    dropped = [[row.accuracy for row in curve.rows] for curve in result.curves[::2]]
    assert dropped[0] == dropped[1]
    assert min(row.severity for row in result.curves[1].rows) * 16 >= 4  # the graph needs k points


def test_an_unknown_corruption_is_answered_with_the_known_ones(modelnet, pointnet):
    with pytest.raises(InputError, match=r"dropped, occlusion, fewer, view, view-elevation; 'fog' is not one"):
        robustness([pointnet], modelnet, corruptions=("fog",))


def test_a_reference_of_the_same_file_is_no_candidate_of_itself(modelnet, tmp_path):
    """A bundle that is run by two backends is one path twice; the reference's own curve has no comparison."""
    torch.manual_seed(0)
    save_model(DGCNN(k=4).eval(), tmp_path / "encoder.safetensors")
    export(tmp_path / "encoder.safetensors", tmp_path / "bundle", points=16, batch=(1, 2, 4))
    result = robustness(
        [tmp_path / "bundle"],
        modelnet,
        corruptions=("noise",),
        sampling=Sampling(16),
        run_on=RunOn(backend="onnxruntime"),
        against=tmp_path / "bundle",
    )
    asked, reference = result.curves
    assert all(row.against is not None for row in asked.rows)
    assert all(row.against is None for row in reference.rows)


def test_the_json_has_the_entries_that_scripts_read(modelnet, pointnet):
    """Names and order are a contract: others read these files."""
    few = {"corruptions": ("noise",), "sampling": Sampling(16)}
    written = robustness([pointnet], modelnet, **few, against=pointnet).to_json()
    assert list(written) == ["schema", "models", "data", "curves", "remarks", "against"]
    assert written["schema"] == "crosspoint.robustness/1"
    assert list(written["curves"][0]) == ["model", "corruption", "rows"]
    assert list(written["curves"][0]["model"]) == ["path", "backend", "precision"]
    assert list(written["curves"][0]["rows"][0]) == ["severity", "accuracy", "interval", "against"]
    alone = robustness([pointnet], modelnet, **few).to_json()
    assert "against" not in alone
    assert "against" not in alone["curves"][0]["rows"][0]
