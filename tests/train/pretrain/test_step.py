"""One step of pretraining against its definition: the optimiser of the recipe, and the seeds of its randomness."""

import hashlib

import pytest
import torch
from object_pairs import MadeObjects

from crosspoint.train.engine.distributed import ProcessGroup
from crosspoint.train.pretrain import pretrain
from crosspoint.train.pretrain.pairs import StepSampler, make_loader
from crosspoint.train.pretrain.pretrain import PretrainRun, learning_rate
from crosspoint.train.pretrain.recipes import make_recipe

CPU = torch.device("cpu")


def make_run(tmp_path, *overrides, double=True):
    base = ("points=24", "k=4", "batch=8", "image_size=32", "image_depth=18", "backbone=pointnet")
    run = PretrainRun(
        make_recipe("quick", [*base, *overrides]), MadeObjects(8), out=tmp_path, device=CPU, group=ProcessGroup()
    )
    if double:
        run.network.double()
    return run


def first_batch(run):
    return next(iter(make_loader(run.source, run.recipe, steps=StepSampler(8, run.recipe), workers=0)))


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_the_first_step_is_adams_with_the_decay_of_the_recipe(tmp_path, weight_decay):
    """After one step, θ ← θ − lr g / (|g| + ε) with g = ∇L + λθ (Kingma and Ba, 2015)."""
    run = make_run(tmp_path, f"weight_decay={weight_decay}", "objective=imid")
    before = {name: parameter.detach().clone() for name, parameter in run.network.named_parameters()}
    run.train_step(first_batch(run), 1e-3)
    decayed = 0.0
    for name, parameter in run.network.named_parameters():
        gradient = parameter.grad + weight_decay * before[name]
        expected = before[name] - 1e-3 * gradient / (gradient.abs() + 1e-8)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-9, atol=1e-12)
        decayed += (gradient - parameter.grad).abs().sum().item()
    assert (decayed > 0) == (weight_decay > 0)


def test_the_rate_of_a_step_is_the_one_that_is_given(tmp_path):
    run = make_run(tmp_path, "objective=imid", "weight_decay=0")
    before = {name: parameter.detach().clone() for name, parameter in run.network.named_parameters()}
    metrics = run.train_step(first_batch(run), 0.0)
    assert metrics["learning_rate"] == 0.0
    assert all(torch.equal(parameter, before[name]) for name, parameter in run.network.named_parameters())


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("cosine", [1.0, 0.75, 0.25]),
        ("cosine-early", [0.75, 0.25, 0.0]),
        ("constant", [1.0, 1.0, 1.0]),
    ],
)
def test_schedules_by_hand(schedule, rates):
    recipe = make_recipe("clean", ["epochs=3", "learning_rate=1.0", f"schedule={schedule}"])
    assert [learning_rate(recipe, epoch) for epoch in range(3)] == pytest.approx(rates)


@pytest.mark.parametrize(("seed", "step"), [(0, 0), (0, 1), (5, 0)])
def test_augmentations_are_drawn_from_the_seed_and_the_step(tmp_path, monkeypatch, seed, step):
    seen = []
    original = pretrain.augment_points

    def recorded(points, dropout, *, with_elastic, rng):
        seen.append((rng.generator.initial_seed(), dropout, with_elastic))
        return original(points, dropout, with_elastic=with_elastic, rng=rng)

    monkeypatch.setattr(pretrain, "augment_points", recorded)
    run = make_run(tmp_path, f"seed={seed}", "dropout=0.25", "elastic=true", double=False)
    run.step = step
    run.forward(first_batch(run))
    expected = int.from_bytes(hashlib.sha256(f"{seed}/{step}".encode()).digest()[:7], "big")
    assert seen == [(expected, 0.25, True)] * 2


def test_the_two_views_of_a_cloud_differ_and_come_again_with_the_step(tmp_path, monkeypatch):
    views = []
    original = pretrain.augment_points

    def recorded(*given, **options):
        views.append(original(*given, **options))
        return views[-1]

    monkeypatch.setattr(pretrain, "augment_points", recorded)
    run = make_run(tmp_path, double=False)
    batch = first_batch(run)
    run.forward(batch)
    run.forward(batch)
    run.step = 1
    run.forward(batch)
    first, second, again, also, later, _ = views
    assert torch.equal(first, again)
    assert torch.equal(second, also)
    assert (first - second).abs().max() > 0.01
    assert (first - later).abs().max() > 0.01


@pytest.mark.parametrize("crop", ["true", "false"])
def test_images_are_cropped_where_the_recipe_says_so(tmp_path, monkeypatch, crop):
    seen = []
    original = pretrain.augment_images

    def recorded(images, crop, *, rng):
        seen.append(crop)
        return original(images, crop, rng=rng)

    monkeypatch.setattr(pretrain, "augment_images", recorded)
    run = make_run(tmp_path, f"crop={crop}", double=False)
    run.forward(first_batch(run))
    assert seen == [crop == "true"]


def test_the_temperature_of_the_recipe_reaches_the_loss(tmp_path):
    runs = [make_run(tmp_path, f"temperature={t}", "objective=imid") for t in (0.1, 1.0)]
    losses = [run.forward(first_batch(run))[1].total.item() for run in runs]
    assert abs(losses[0] - losses[1]) > 0.05
