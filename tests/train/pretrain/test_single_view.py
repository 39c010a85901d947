"""Single views in training against the convex hull, a closed form, and any split of the batch over processes."""

import os
import signal

import numpy as np
import pytest
import torch

from crosspoint.core.system.interrupt import Stopped
from crosspoint.data import visible as hull
from crosspoint.models.weights import load_model
from crosspoint.train.pretrain import pretrain
from crosspoint.train.pretrain import single_view as module
from crosspoint.train.pretrain.augment import SampleRng, normalise
from crosspoint.train.pretrain.options import RunOptions
from crosspoint.train.pretrain.pretrain import train
from crosspoint.train.pretrain.recipes import RECIPES, make_recipe
from crosspoint.train.pretrain.single_view import DISTANCES, single_view, visible

CPU = torch.device("cpu")


def sphere(batch, count):
    points = torch.randn(batch, count, 3, generator=torch.Generator().manual_seed(1))
    return points / points.norm(dim=2, keepdim=True)


def test_of_a_sphere_the_cap_towards_the_sensor_is_seen():
    points = sphere(3, 1000)
    sensors = torch.tensor([[0.0, 3.0, 0.0], [1.2, 0.0, 1.6], [0.0, 0.0, -6.0]])
    truth = (points * sensors.unsqueeze(1)).sum(dim=2) > 1
    assert ((visible(points, sensors) == truth).float().mean(dim=1) > 0.85).all()


def test_most_points_agree_with_the_hull(monkeypatch):
    monkeypatch.setattr(hull, "FLIP", module.FLIP)
    rng = np.random.default_rng(0)
    points = normalise(torch.tensor(rng.normal(size=(4, 400, 3)) * [1, 0.6, 0.2], dtype=torch.float32))
    sensors = torch.tensor(rng.normal(size=(4, 3)), dtype=torch.float32)
    sensors = 3 * sensors / sensors.norm(dim=1, keepdim=True)
    expected = np.stack([hull.visible(p, s) for p, s in zip(points.numpy(), sensors.numpy(), strict=True)])
    found = visible(points, sensors).numpy()
    assert (found == expected).mean() > 0.95
    assert (found & ~expected).mean() < 0.005, "what is farthest in some direction is a corner of the hull"


def test_a_view_is_of_seen_points_alone_each_about_as_often():
    points = sphere(4, 1000) + 5
    found = single_view(points, 1000, rng=SampleRng(CPU).seed(2))
    assert found.shape == points.shape
    for cloud, whole in zip(found, normalise(points), strict=True):
        index = torch.cdist(cloud, whole).argmin(dim=1)
        assert torch.equal(whole[index], cloud)
        counts = index.bincount()
        counts = counts[counts > 0]
        assert counts.max() - counts.min() <= 1
        share = len(counts) / 1000
        assert (1 - 1 / DISTANCES[0]) / 2 - 0.1 < share < (1 - 1 / DISTANCES[1]) / 2 + 0.06
        side = cloud.mean(dim=0)
        assert (cloud @ (side / side.norm()) > 0).float().mean() > 0.97


def test_every_cloud_has_a_side_of_its_own():
    found = single_view(sphere(1, 200).expand(6, -1, -1), 200, rng=SampleRng(CPU).seed(0))
    assert found.mean(dim=1).std(dim=0).max() > 0.1


def test_processes_that_share_a_batch_draw_the_same_views():
    points = sphere(4, 100)
    whole = single_view(points, 60, rng=SampleRng(CPU).seed(5))
    halves = [single_view(points[2 * r : 2 * r + 2], 60, rng=SampleRng(CPU, r, size=2).seed(5)) for r in (0, 1)]
    torch.testing.assert_close(torch.cat(halves), whole)


def test_equal_points_stay_what_they_are():
    assert single_view(torch.ones(2, 5, 3), 5, rng=SampleRng(CPU).seed(0)).abs().max() == 0


def test_where_more_is_seen_than_a_view_has_points_none_is_copied():
    points = sphere(3, 1000)
    found = single_view(points, 100, rng=SampleRng(CPU).seed(2))
    assert found.shape == (3, 100, 3)
    assert all(len(cloud.unique(dim=0)) == 100 for cloud in found)


@pytest.mark.parametrize("name", RECIPES)
def test_no_recipe_of_the_package_has_single_views(name):
    assert make_recipe(name).single_view is False


def test_an_interrupted_run_with_single_views_ends_as_if_it_had_not_been(pairs, tmp_path, monkeypatch):
    small = ("points=32", "batch=4", "epochs=1", "backbone=pointnet", "objective=imid")
    views = (*small, "single_view=true")
    for name, overrides in (("whole", views), ("without", small)):
        train(pairs, tmp_path / name, recipe="quick", overrides=overrides, device="cpu", options=RunOptions(0))
    original = pretrain.PretrainRun.train_step

    def step_and_interrupt(run, batch, rate):
        if run.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(run, batch, rate)

    with monkeypatch.context() as patch:
        patch.setattr(pretrain.PretrainRun, "train_step", step_and_interrupt)
        with pytest.raises(Stopped):
            train(pairs, tmp_path / "cut", recipe="quick", overrides=views, device="cpu", options=RunOptions(0))
    train(pairs, tmp_path / "cut", resume=True, device="cpu", options=RunOptions(0))
    whole, cut, without = (
        load_model(tmp_path / name / "encoder.safetensors").state_dict() for name in ("whole", "cut", "without")
    )
    assert all(torch.equal(whole[key], cut[key]) for key in whole)
    assert any(not torch.equal(whole[key], without[key]) for key in whole)
