"""The page of recipe fields says what the dataclasses say."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

from crosspoint.eval.image.rfs_recipe import RFSRecipe
from crosspoint.train.partseg.recipes import CHOICES as PART_CHOICES
from crosspoint.train.partseg.recipes import RECIPES as PART_RECIPES
from crosspoint.train.partseg.recipes import PartSegRecipe
from crosspoint.train.pretrain.recipes import CHOICES, RECIPES, Recipe

PAGE = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text(encoding="utf-8")
KINDS = {  # by the section's title
    "Pretraining": (Recipe, CHOICES, RECIPES),
    "Part segmentation": (PartSegRecipe, PART_CHOICES, PART_RECIPES),
    "RFS, for few-shot images": (RFSRecipe, {}, {}),
}


def rows_of(title):
    """Cells of a section's table by field: default, range, meaning."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    return {name: cells.split(" | ") for name, cells in re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE)}


def written(value):
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def meanings(kind):
    """The dataclass's own words, from its docstring."""
    listed = inspect.getdoc(kind).split("Attributes:\n")[1]
    entries = re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", listed, re.DOTALL | re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def fields(kind):
    return {field.name: field.default for field in dataclasses.fields(kind) if field.name != "name"}


@pytest.mark.parametrize("title", KINDS)
def test_every_field_has_a_row_and_every_row_a_field(title):
    assert list(rows_of(title)) == list(fields(KINDS[title][0]))


@pytest.mark.parametrize("title", KINDS)
def test_rows_give_the_defaults(title):
    kind = KINDS[title][0]
    assert {name: cells[0] for name, cells in rows_of(title).items()} == {
        name: written(default) for name, default in fields(kind).items()
    }


@pytest.mark.parametrize("title", KINDS)
def test_rows_give_the_choices(title):
    kind, choices, _ = KINDS[title]
    rows = rows_of(title)
    for name in choices.keys() & fields(kind):
        assert re.findall(r"`([^`]+)`", rows[name][1]) == [str(choice) for choice in choices[name]]


@pytest.mark.parametrize("title", KINDS)
def test_rows_have_the_words_of_the_docstring(title):
    kind = KINDS[title][0]
    told = meanings(kind)
    assert {name for name, cells in rows_of(title).items() if not cells[2].startswith(told[name])} == set()


@pytest.mark.parametrize("title", ["Pretraining", "Part segmentation"])
def test_rows_say_where_a_recipe_differs(title):
    kind, _, recipes = KINDS[title]
    rows = rows_of(title)
    for recipe, make in recipes.items():
        for name, default in fields(kind).items():
            value = getattr(make(), name)
            assert (f"`{recipe}` {written(value)}" in rows[name][2]) == (value != default), (recipe, name)
