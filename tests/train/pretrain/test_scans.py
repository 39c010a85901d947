"""Scans of the objects as single views of a run: which one is drawn, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from object_pairs import MadeObjects

from crosspoint.core.errors import InputError
from crosspoint.models.weights import load_model
from crosspoint.train.engine.distributed import ProcessGroup
from crosspoint.train.pretrain import pretrain, teaching
from crosspoint.train.pretrain.augment import SampleRng, normalise
from crosspoint.train.pretrain.options import RunOptions
from crosspoint.train.pretrain.pairs import Pairs, StepSampler, make_loader
from crosspoint.train.pretrain.pretrain import PretrainRun, train
from crosspoint.train.pretrain.recipes import make_recipe
from crosspoint.train.pretrain.scans import ScannedSides, TrainingSet
from crosspoint.train.pretrain.teaching import views_of

CPU = torch.device("cpu")
SMALL = ("backbone=pointnet", "points=24", "batch=4", "epochs=1", "objective=imid", "single_view=true", "k=4")


class MadeScans(MadeObjects):
    """Two scans of each object: all points of the one are (i, 0, 0), of the other (i, 1, 0)."""

    def __init__(self, count, points=30):
        self.keys = [f"c/{i}_{view:02d}" for view in range(2) for i in range(count)]
        self.count, self.size = count, points

    def points(self, number):
        view, i = divmod(number, self.count)
        return (
            np.tile(np.float32([i, view, 0]), (self.size, 1)) + np.arange(self.size, dtype=np.float32)[:, None] * 0.001
        )


@pytest.fixture
def scans():
    return ScannedSides(MadeScans(8), MadeObjects(8).keys, folder="scans")


def recipe(*overrides):
    return make_recipe("quick", [*SMALL, *overrides])


def test_each_scan_is_of_the_object_that_its_name_begins_with(scans):
    seen = set()
    for seed in range(20):
        for i in range(8):
            points = scans.draw(i, 24, rng=np.random.default_rng(seed))
            assert points.shape == (24, 3)
            assert len(np.unique(points, axis=0)) == 24
            assert np.unique(np.floor(points[:, 0])) == [i]
            seen.add((i, int(points[0, 1])))
    assert len(seen) == 16


def test_a_scan_is_drawn_anew_in_each_epoch_and_comes_again_with_the_seed(scans):
    pairs = Pairs(MadeObjects(8), recipe(), sides=scans)
    drawn = [pairs[(epoch, 3)][2] for epoch in (0, 0, 1, 2, 3)]
    assert torch.equal(drawn[0], drawn[1])
    assert any(not torch.equal(drawn[0], each) for each in drawn[2:])
    assert pairs[(0, 3)][0].shape == (24, 3), "nothing has to be cut from the cloud"


def test_a_batch_has_the_scans_in_its_order(scans):
    source = MadeObjects(8)
    batch = next(iter(make_loader(source, recipe(), steps=StepSampler(8, recipe()), workers=0, sides=scans)))
    assert batch.sides[:, 0, 0].floor().tolist() == batch.items.tolist()


def test_the_scan_is_the_second_view(scans, tmp_path, monkeypatch):
    given = []
    original = pretrain.augment_points

    def recorded(points, *rest, **options):
        given.append(points)
        return original(points, *rest, **options)

    monkeypatch.setattr(pretrain, "augment_points", recorded)
    run = PretrainRun(recipe(), MadeObjects(8), out=tmp_path, device=CPU, group=ProcessGroup(), scans=scans)
    batch = next(iter(make_loader(run.source, run.recipe, steps=StepSampler(8, run.recipe), workers=0, sides=scans)))
    run.forward(batch)
    assert torch.equal(given[0], batch.points)
    assert torch.equal(given[1], batch.sides)


def test_cloud_and_scan_are_turned_alike_and_each_centred_by_itself(monkeypatch):
    monkeypatch.setattr(teaching, "jitter", lambda x, rng: torch.zeros_like(x))
    cloud = torch.randn(5, 24, 3, generator=torch.Generator().manual_seed(0))
    side = cloud[:, :24] * torch.tensor([1.0, 0.5, 2.0]) + 7
    rng = SampleRng(CPU).seed(3)
    first, second, whole = views_of(cloud, side, recipe=recipe("objective=distil", "dropout=0"), rng=rng)
    torch.testing.assert_close(first, whole)
    for seen, given in ((whole, normalise(cloud)), (second, normalise(side))):
        torch.testing.assert_close(seen[..., 1], given[..., 1], rtol=0, atol=1e-5)
    level = torch.complex(normalise(cloud)[..., 2], normalise(cloud)[..., 0])
    turned = torch.complex(whole[..., 2], whole[..., 0])
    also = torch.complex(second[..., 2], second[..., 0]) / torch.complex(
        normalise(side)[..., 2], normalise(side)[..., 0]
    )
    torch.testing.assert_close(turned / level, also, rtol=0, atol=1e-3)
    assert (turned / level).abs().sub(1).abs().max() < 1e-3


@pytest.fixture(scope="module")
def folders(pairs, tmp_path_factory):
    """The pairs, and two scans of each of their objects: the same files under other names."""
    root = tmp_path_factory.mktemp("scans")
    for path in sorted(pairs.rglob("*.ply")):
        for view in range(2):
            name = f"{path.stem}_{view:02d}"
            there = root / path.relative_to(pairs).with_name(f"{name}.ply")
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, there)
            category = path.parent.name
            shutil.copytree(
                pairs / "ShapeNetRendering" / category / path.stem, root / "ShapeNetRendering" / category / name
            )
    return pairs, root


def test_a_run_with_scans_is_another_run_that_goes_on_with_them_alone(folders, tmp_path):
    pairs, root = folders
    given = {"device": "cpu", "options": RunOptions(0)}
    with_scans, without = tmp_path / "with", tmp_path / "without"
    train(TrainingSet(pairs, root), with_scans, recipe=recipe(), **given)
    train(pairs, without, recipe=recipe(), **given)
    one, two = (load_model(run / "encoder.safetensors").state_dict() for run in (with_scans, without))
    assert any(not torch.equal(one[name], two[name]) for name in one)
    config = json.loads((with_scans / "config.json").read_text())
    config["recipe"]["epochs"] = 2
    (with_scans / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="the training data has changed since the run started"):
        train(pairs, with_scans, resume=True, **given)
    assert train(TrainingSet(pairs, root), with_scans, resume=True, **given).steps == 6


def test_an_object_without_a_scan_is_named(folders, tmp_path):
    pairs, root = folders
    fewer = tmp_path / "fewer"
    shutil.copytree(root, fewer)
    for path in fewer.glob("ShapeNet/c1/object03_*.ply"):
        path.unlink()
    with pytest.raises(
        InputError, match=r"fewer has no scan of c1/object03 \(1 of 12 objects have none\); scan the meshes"
    ):
        train(TrainingSet(pairs, fewer), tmp_path / "run", recipe=recipe(), device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_scan_with_too_few_points_says_how_many_it_has():
    scans = ScannedSides(MadeScans(8, points=20), MadeObjects(8).keys, folder="scans")
    with pytest.raises(InputError, match=r"scan c/2_0\d has 20 points, the recipe asks for 24; --set points=20"):
        scans.draw(2, 24, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("single_view=false", "the recipe has no use for --scans; add --set single_view=true"),
        ("elastic=true", "elastic distortion moves a cloud and not its scans; add --set elastic=false"),
    ],
)
def test_recipes_that_cannot_take_scans(folders, override, message):
    pairs, root = folders
    with pytest.raises(InputError, match=message):
        TrainingSet(pairs, root).open(recipe(override))
