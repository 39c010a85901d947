"""Training on beside a frozen copy: its loss against loops in float64, its views, and what a run keeps and refuses."""

import json
import shutil

import pytest
import torch
from object_pairs import MadeObjects
from torch.nn import functional

from crosspoint.core.content import read_once
from crosspoint.core.errors import InputError
from crosspoint.models.pointnet import PointNet
from crosspoint.models.weights import load_model, save_model
from crosspoint.train.engine.checkpoint import load_checkpoint
from crosspoint.train.engine.distributed import ProcessGroup
from crosspoint.train.pretrain import teaching
from crosspoint.train.pretrain.augment import SampleRng, normalise
from crosspoint.train.pretrain.distillation import Distillation, Distilled
from crosspoint.train.pretrain.initial_weights import find_initial_weights, load_initial_weights
from crosspoint.train.pretrain.losses import SMALLEST_DEVIATION, distillation_loss
from crosspoint.train.pretrain.options import RunOptions
from crosspoint.train.pretrain.pairs import StepSampler, make_loader
from crosspoint.train.pretrain.pretrain import PretrainRun, train
from crosspoint.train.pretrain.recipes import make_recipe
from crosspoint.train.pretrain.teaching import views_of

CPU = torch.device("cpu")
SMALL = ("backbone=pointnet", "points=24", "batch=8", "dropout=0", "objective=distil", "single_view=true", "k=4")


def embeddings(count, dim, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Distilled(*torch.randn(3, count, dim, generator=generator, dtype=torch.float64))


def literal_distance(embedded, target):
    """The mean over objects and components, in loops."""
    count, dim = len(target), len(target[0])
    total = 0.0
    for d in range(dim):
        mean = sum(row[d] for row in target) / count
        variance = sum((row[d] - mean) ** 2 for row in target) / count
        for i in range(count):
            total += (embedded[i][d] - target[i][d]) ** 2 / (variance + SMALLEST_DEVIATION**2)
    return total / (count * dim)


@pytest.mark.parametrize("count", [2, 5, 16])
@pytest.mark.parametrize("dim", [1, 3, 64])
def test_the_loss_is_the_distance_in_standard_deviations_of_the_teacher(count, dim):
    given = embeddings(count, dim)
    losses = distillation_loss(given)
    expected = [literal_distance(each.tolist(), given.target.tolist()) for each in (given.first, given.second)]
    assert losses.first.item() == pytest.approx(expected[0], rel=1e-12)
    assert losses.second.item() == pytest.approx(expected[1], rel=1e-12)
    assert losses.total.item() == pytest.approx(sum(expected), rel=1e-12)
    assert set(losses.named()) == {"loss", "loss_first", "loss_second"}
    narrow = distillation_loss(Distilled(*(each.float() for each in given))).total
    assert narrow.dtype == torch.float32
    assert narrow.item() == pytest.approx(sum(expected), rel=1e-4)


def test_the_mean_of_the_batch_is_at_distance_1_and_the_teacher_at_0():
    target = embeddings(64, 8).target
    mean = target.mean(dim=0, keepdim=True).expand_as(target)
    losses = distillation_loss(Distilled(mean, target, target))
    assert losses.first.item() == pytest.approx(1, rel=1e-4)
    assert losses.second.item() == 0


def test_a_component_that_never_varies_gives_no_infinite_loss():
    flat = torch.ones(4, 3)
    assert distillation_loss(Distilled(flat + 1e-4, flat, flat)).total.item() == pytest.approx(1e-2, rel=1e-2)


def test_gradients_of_the_loss():
    first, second, target = embeddings(5, 4)
    first.requires_grad_()
    second.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: distillation_loss(Distilled(a, b, target)).total, (first, second))


def recipe(*overrides):
    return make_recipe("quick", [*SMALL, *overrides])


def clouds(count=6, points=48, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ball = functional.normalize(torch.randn(count, points, 3, generator=generator), dim=2)
    return 5 + ball * torch.tensor([1.0, 2.0, 0.5])


def test_the_teacher_sees_the_cloud_normalised_and_turned_about_y():
    x = clouds(points=24)
    whole = views_of(x, None, recipe=recipe("single_view=false"), rng=SampleRng(CPU).seed(1)).whole
    torch.testing.assert_close(torch.cdist(whole, whole), torch.cdist(normalise(x), normalise(x)), rtol=0, atol=1e-3)
    torch.testing.assert_close(whole[..., 1], normalise(x)[..., 1], rtol=0, atol=1e-5)
    assert (whole - normalise(x)).abs().amax(dim=(1, 2)).min() > 0.01


def test_the_student_sees_the_cloud_and_a_part_of_it_that_is_centred_anew(monkeypatch):
    monkeypatch.setattr(teaching, "jitter", lambda x, rng: torch.zeros_like(x))
    first, second, whole = views_of(clouds(), None, recipe=recipe(), rng=SampleRng(CPU).seed(1))
    torch.testing.assert_close(first, whole)
    torch.testing.assert_close(second, normalise(second))
    assert (second - whole).abs().max() > 0.1
    for view in second:
        assert 3 < len(view.unique(dim=0)) <= 24


def test_a_view_is_cut_from_the_cloud_as_the_teacher_sees_it(monkeypatch):
    given = []

    def recorded(points, count, *, rng):
        given.append((points, count))
        return points[:, -count:]

    monkeypatch.setattr(teaching, "jitter", lambda x, rng: torch.zeros_like(x))
    monkeypatch.setattr(teaching, "single_view", recorded)
    _, second, whole = views_of(clouds(), None, recipe=recipe(), rng=SampleRng(CPU).seed(1))
    ((points, count),) = given
    assert (points.shape[1], count) == (48, 24)
    torch.testing.assert_close(normalise(points[:, :24]), whole)
    torch.testing.assert_close(normalise(points[:, 24:]), second)


def test_without_single_view_the_student_sees_the_whole_cloud_twice_with_other_noise():
    first, second, whole = views_of(clouds(), None, recipe=recipe("single_view=false"), rng=SampleRng(CPU).seed(1))
    for view in (first, second):
        assert 0 < (view - whole).abs().max() < 0.1
    assert not torch.equal(first, second)


def test_a_sparse_view_has_fewer_points_or_copies_of_them_and_is_normalised_anew(monkeypatch):
    monkeypatch.setattr(teaching, "jitter", lambda x, rng: torch.zeros_like(x))
    seen = []
    for seed in range(60):
        views = views_of(
            clouds(), None, recipe=recipe("single_view=false", "sparse=0.75"), rng=SampleRng(CPU).seed(seed)
        )
        assert views.whole.shape == (6, 24, 3)
        assert views.first.shape == views.second.shape
        torch.testing.assert_close(views.first, normalise(views.first))
        torch.testing.assert_close(views.second, normalise(views.second))
        different = {len(cloud.unique(dim=0)) for view in views[:2] for cloud in view}
        assert len(different) == 1  # the same number in all clouds of a step
        seen.append((views.first.shape[1], *different))
    numbers = [left for _, left in seen]
    assert 6 < min(numbers) < 10 < 20 < max(numbers) <= 24
    assert all(count in (left, 24) for count, left in seen)
    assert 15 < sum(count == left for count, left in seen) < 45  # in about half of the steps nothing is copied


def test_processes_see_as_many_points():
    sparse = recipe("single_view=false", "sparse=0.75")
    for seed in range(8):
        views = [
            views_of(clouds(), None, recipe=sparse, rng=SampleRng(CPU, rank, size=2).seed(seed)) for rank in (0, 1)
        ]
        assert views[0].first.shape == views[1].first.shape


@pytest.fixture
def encoder(tmp_path):
    """An encoder with batch statistics of what it has seen."""
    torch.manual_seed(0)
    network = PointNet().train()
    for seed in range(20):
        network(normalise(clouds(16, seed=seed)))
    path = tmp_path / "initial.safetensors"
    save_model(network.eval(), path, recipe={})
    return path


def started(tmp_path, encoder, *overrides):
    run = PretrainRun(recipe(*overrides), MadeObjects(8), out=tmp_path / "run", device=CPU, group=ProcessGroup())
    load_initial_weights(read_once(encoder), run.network, recipe=run.recipe)
    return run


def first_batch(run):
    return next(iter(make_loader(run.source, run.recipe, steps=StepSampler(8, run.recipe), workers=0)))


def test_student_and_teacher_begin_as_the_initial_encoder(tmp_path, encoder):
    run = started(tmp_path, encoder, "single_view=false")
    batch = first_batch(run)
    whole = normalise(batch.points)
    expected = load_model(encoder).eval()(whole)
    for network in (run.network.points, run.network.teacher):
        assert torch.equal(network(whole), expected)


def test_only_the_student_learns_and_no_statistic_moves(tmp_path, encoder):
    run = started(tmp_path, encoder)
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    losses = [run.train_step(first_batch(run), 3e-3) for _ in range(15)]
    assert losses[-1]["loss_second"] < 0.7 * losses[0]["loss_second"]
    changed = {name for name, value in run.network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("points.") and "running" not in name and "tracked" not in name for name in changed)


def test_training_and_use_are_the_same_function(encoder):
    network = Distillation(load_model(encoder)).train()
    assert network.training
    with torch.no_grad():
        seen = network.points(normalise(clouds()))
        assert torch.equal(seen, network.eval().points(normalise(clouds())))


def test_a_run_holds_an_encoder_and_no_projection(pairs, tmp_path, encoder):
    result = train(
        pairs, tmp_path / "run", recipe=recipe("epochs=2"), init=encoder, device="cpu", options=RunOptions(0)
    )
    assert {"loss", "loss_first", "loss_second"} <= set(result.last)
    written = {path.name for path in (tmp_path / "run").glob("*.safetensors")}
    assert written == {"encoder.safetensors"}
    assert isinstance(load_model(tmp_path / "run" / "encoder.safetensors"), PointNet)


def test_a_run_goes_on_bit_for_bit_with_its_first_teacher(pairs, tmp_path, encoder):
    whole, parts, first = (tmp_path / name for name in ("whole", "parts", "first"))
    given = {"device": "cpu", "options": RunOptions(0)}
    train(pairs, whole, recipe=recipe("epochs=2", "schedule=constant"), init=encoder, **given)
    train(pairs, first, recipe=recipe("epochs=1", "schedule=constant"), init=encoder, **given)
    shutil.copytree(first, parts)
    config = json.loads((parts / "config.json").read_text())
    config["recipe"]["epochs"] = 2
    (parts / "config.json").write_text(json.dumps(config))
    train(pairs, parts, resume=True, **given)
    one, two = (load_checkpoint(run / "checkpoints")["network"] for run in (whole, parts))
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert any(
        not torch.equal(one[f"points.{name}"], one[f"teacher.{name}"]) for name in load_model(encoder).state_dict()
    )
    assert all(torch.equal(value, one[f"teacher.{name}"]) for name, value in load_model(encoder).state_dict().items())


def test_a_run_of_another_objective_gives_the_encoder(pairs, tmp_path):
    given = {"device": "cpu", "options": RunOptions(0)}
    train(pairs, tmp_path / "joint", recipe=recipe("epochs=1", "objective=imid"), **given)
    run = PretrainRun(recipe(), MadeObjects(8), out=tmp_path / "run", device=CPU, group=ProcessGroup())
    start = read_once(find_initial_weights(tmp_path / "joint"))
    load_initial_weights(start, run.network, recipe=run.recipe)
    kept = load_model(tmp_path / "joint" / "encoder.safetensors").state_dict()
    for network in (run.network.points, run.network.teacher):
        assert all(torch.equal(value, kept[name]) for name, value in network.state_dict().items())


def test_it_needs_an_encoder_to_learn_from(pairs, tmp_path):
    with pytest.raises(InputError, match="the objective distil learns from an encoder; give it, e"):
        train(pairs, tmp_path / "run", recipe=recipe(), device="cpu")
    assert not (tmp_path / "run").exists()
