"""Recipes, metrics and results of a run come back from files as they were."""

import dataclasses
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspoint.core.files import write_json
from crosspoint.report.read import read_pieces
from crosspoint.train.engine.metrics import Recorder
from crosspoint.train.engine.recipes import choose_recipe, recipe_from
from crosspoint.train.partseg import recipes as partseg_recipes
from crosspoint.train.pretrain import recipes

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz_é名", min_size=1, max_size=9).filter(lambda name: name != "step")
NUMBERS = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(1e-9, 1e3)
SHARES = st.floats(0, 1, exclude_max=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def choice(choices, field):
    return st.sampled_from(choices[field])


PRETRAINING = st.builds(
    recipes.Recipe,
    name=TEXTS,
    **{field: choice(recipes.CHOICES, field) for field in recipes.CHOICES},
    k=st.integers(1, 40),
    views=st.integers(1, 24),
    temperature=POSITIVE,
    points=st.integers(40, 10**6),
    image_size=st.integers(32, 512),
    elastic=st.booleans(),
    dropout=SHARES,
    crop=st.booleans(),
    batch=st.integers(2, 4096),
    epochs=st.integers(1, 10**6),
    learning_rate=POSITIVE,
    weight_decay=SHARES,
    seed=st.integers(0, 2**31),
)
PART_SEGMENTATION = st.builds(
    partseg_recipes.PartSegRecipe,
    name=TEXTS,
    **{field: choice(partseg_recipes.CHOICES, field) for field in partseg_recipes.CHOICES},
    k=st.integers(1, 40),
    points=st.integers(40, 10**6),
    resample=st.booleans(),
    stretch=st.floats(1, 9),
    shift=SHARES,
    label_smoothing=st.floats(0, 0.49),
    batch=st.integers(2, 4096),
    epochs=st.integers(1, 10**6),
    learning_rate=POSITIVE,
    final_learning_rate=SHARES,
    momentum=SHARES,
    weight_decay=SHARES,
    held_out=st.floats(0.01, 0.99),
    restrict=st.booleans(),
    seed=st.integers(0, 2**31),
)


@given(PRETRAINING | PART_SEGMENTATION)
def test_a_recipe_is_read_from_json_as_it_was(recipe):
    values = json.loads(json.dumps(recipe.as_dict()))
    assert recipe_from(values, "config.json", kind=type(recipe)) == recipe


@pytest.mark.parametrize(("module", "strategy"), [(recipes, PRETRAINING), (partseg_recipes, PART_SEGMENTATION)])
@given(data=st.data())
def test_a_recipe_is_what_its_fields_say_on_the_command_line(module, strategy, data):
    recipe = data.draw(strategy)
    fields = {name: value for name, value in dataclasses.asdict(recipe).items() if name != "name"}
    found = choose_recipe(module.RECIPES, "clean", overrides=[f"{name}={value}" for name, value in fields.items()])
    assert found == dataclasses.replace(recipe, name="clean")


@given(
    lines=st.lists(st.dictionaries(NAMES, NUMBERS, max_size=3), max_size=6),
    kept=st.integers(1, 7),
    half=st.text('{}": 0123456789', max_size=12),
)
def test_metrics_are_read_as_they_were_written_and_forgotten_after_the_step_that_a_run_resumes_from(lines, kept, half):
    with tempfile.TemporaryDirectory() as place:
        run = Path(place)
        with Recorder(run, 0) as recorder:
            assert recorder.last == {}
            for step, values in enumerate(lines, 1):
                recorder.write(step, values)
        written = [{"step": step, **values} for step, values in enumerate(lines, 1)]
        assert read_pieces(run).metrics == written
        with (run / "metrics.jsonl").open("a") as file:
            file.write(half)  # of a line that a killed run was at
        with Recorder(run, kept) as recorder:
            assert recorder.last == (written[:kept] or [{}])[-1]
            recorder.write(kept + 1, {"more": 1})
        assert read_pieces(run).metrics == [*written[:kept], {"step": kept + 1, "more": 1}]


@given(
    results=st.dictionaries(
        st.sampled_from(["svm", "fewshot", "parity", "bench", "data-verify"]), st.dictionaries(TEXTS, JSON, max_size=4)
    ),
    summary=st.dictionaries(TEXTS, JSON, max_size=3),
    subfolder=st.booleans(),
)
def test_the_report_finds_every_result_as_its_command_wrote_it(results, summary, subfolder):
    written = {kind: values | {"schema": f"crosspoint.{kind}/1"} for kind, values in results.items()}
    written["quickstart"] = summary | {"schema": "crosspoint.quickstart/1"}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "results") if subfolder else Path(place)
        for kind, values in written.items():
            write_json((Path(place) if kind == "quickstart" else folder) / f"{kind}.json", values)
        pieces = read_pieces(Path(place))
    assert pieces.remarks == []
    assert {result.path.stem: result.values for result in pieces.results} == written
    assert all(result.schema == f"crosspoint.{result.path.stem}/1" for result in pieces.results)
