"""Recipes say what they are, take overrides of any field, and refuse what no run can have."""

import dataclasses
import json

import pytest

from crosspoint.core.errors import InputError
from crosspoint.train.engine.recipes import recipe_from
from crosspoint.train.pretrain.recipes import RECIPES, Recipe, make_recipe


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_carry_their_name_and_survive_json(name):
    recipe = make_recipe(name)
    assert recipe.name == name
    assert recipe_from(json.loads(json.dumps(recipe.as_dict())), "config.json", kind=Recipe) == recipe


def test_published_values():
    official, paper = make_recipe("official"), make_recipe("paper")
    assert (official.k, official.temperature, official.batch, official.weight_decay) == (15, 0.1, 20, 1e-6)
    assert (official.schedule, official.dropout, official.elastic, official.crop) == (
        "cosine-early",
        0.875,
        False,
        False,
    )
    assert (paper.weight_decay, paper.dropout, paper.elastic, paper.crop) == (1e-4, 0.0, True, True)
    assert (paper.points, paper.image_size, paper.image_depth, paper.epochs, paper.learning_rate) == (
        2048,
        224,
        50,
        100,
        1e-3,
    )


def test_every_field_can_be_set():
    others = {
        "backbone": "pointnet",
        "image_depth": "34",
        "objective": "imid",
        "schedule": "constant",
        "dropout": "0.3",
        "sparse": "0.5",
        "negatives": "local",
        "precision": "bf16",
    }
    for field in dataclasses.fields(Recipe):
        if field.name == "name":
            continue
        needed = ["objective=distil"] if field.name == "sparse" else []
        old = getattr(make_recipe("clean"), field.name)
        text = others.get(field.name) or (str(not old).lower() if isinstance(old, bool) else str(old + 33))
        changed = getattr(make_recipe("clean", [*needed, f"{field.name}={text}"]), field.name)
        assert changed != old
        assert type(changed) is type(old)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("batchsize=3", "did you mean batch"),
        ("epoch=3", "did you mean epochs"),
        ("name=x", "no field 'name'"),
        ("batch", "not of the form key=value"),
        ("batch=many", "batch is of type int"),
        ("batch=2.5", "batch is of type int"),
        ("elastic=3", "elastic is of type bool"),
        ("learning_rate=-1", "must be positive"),
        ("learning_rate=nan", "must be positive"),
        ("backbone=pointnext", "is not one of dgcnn, pointnet"),
        ("epochs=0", "at least 1"),
        ("points=10", "fewer than k=20"),
        ("dropout=1", r"\[0, 1\)"),
        ("epochs=inf", "epochs is of type int"),
        ("sparse=0.5", "sparse=0.5 is for the objective distil, not joint"),
    ],
)
def test_wrong_overrides_are_answered(override, message):
    with pytest.raises(InputError, match=message):
        make_recipe("clean", [override])


def test_a_sparse_cloud_needs_as_many_points_as_neighbours():
    distil = ["objective=distil", "points=100"]
    assert make_recipe("clean", [*distil, "sparse=0.8"]).sparse == 0.8
    with pytest.raises(InputError, match=r"sparse=0\.81 leaves 19 of points=100, fewer than k=20"):
        make_recipe("clean", [*distil, "sparse=0.81"])
    assert make_recipe("clean", [*distil, "sparse=0.81", "backbone=pointnet"]).sparse == 0.81


def test_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match="did you mean official"):
        make_recipe("offical")


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"k": -1}, "k"), ({"points": 0}, "points"), ({"unheard": 1}, "unheard")],
)
def test_a_recipe_of_another_version_is_one_line_that_names_the_field(change, reason):
    values = {**make_recipe("quick", ()).as_dict(), **change}
    with pytest.raises(
        InputError, match=f"state.pt does not hold a recipe of this version .*{reason}.*start the run anew"
    ) as e:
        recipe_from(values, "state.pt", kind=Recipe)
    assert "\n" not in str(e.value)
