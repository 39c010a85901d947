"""Recipes of part segmentation."""

import json

import pytest

from crosspoint.core.errors import InputError
from crosspoint.train.engine.recipes import choose_recipe, recipe_from
from crosspoint.train.partseg.recipes import RECIPES, PartSegRecipe


@pytest.mark.parametrize("name", list(RECIPES))
def test_recipes_survive_json(name):
    recipe = choose_recipe(RECIPES, name)
    assert recipe_from(json.loads(json.dumps(recipe.as_dict())), "config.json", kind=PartSegRecipe) == recipe


def test_the_published_schedule():
    for recipe in (RECIPES["clean"](), RECIPES["official"]()):
        assert (recipe.k, recipe.points, recipe.batch, recipe.epochs) == (40, 2048, 8, 300)
        assert (recipe.learning_rate, recipe.final_learning_rate) == (0.1, 1e-3)
        assert (recipe.momentum, recipe.weight_decay, recipe.label_smoothing) == (0.9, 1e-4, 0.2)
    clean, official = RECIPES["clean"](), RECIPES["official"]()
    assert (clean.selection, clean.stretch, clean.shift) == ("val", 1.5, 0.2)
    assert (official.selection, official.stretch, official.shift, official.restrict) == ("test", 1.0, 0.0, False)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=3", "did you mean epochs"),
        ("selection=best", "is not one of val, test, last"),
        ("precision=fp16", "is not one of fp32, bf16"),
        ("points=30", "fewer than k=40"),
        ("stretch=0.5", "at least 1"),
        ("stretch=nan", "at least 1"),
        ("shift=-1", "at least 0"),
        ("label_smoothing=0.5", r"\[0, 0.5\)"),
        ("momentum=1", r"\[0, 1\)"),
        ("learning_rate=0", "must be positive"),
        ("held_out=1", "between 0 and 1"),
        ("batch=1", "at least 2"),
        ("restrict=maybe", "restrict is of type bool"),
    ],
)
def test_wrong_overrides_are_answered(override, message):
    with pytest.raises(InputError, match=message):
        choose_recipe(RECIPES, "clean", overrides=[override])
