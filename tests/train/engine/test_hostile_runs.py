"""A run is resumed from values that it can have, or refused in one line."""

import json

import pytest
import torch

from crosspoint.core.errors import InputError
from crosspoint.eval.image.rfs_recipe import make_rfs_recipe
from crosspoint.train.engine.checkpoint import read_checkpoint, restore, save_checkpoint
from crosspoint.train.engine.metrics import Recorder
from crosspoint.train.engine.recipes import recipe_from
from crosspoint.train.engine.run_folder import read_config
from crosspoint.train.partseg.recipes import PartSegRecipe
from crosspoint.train.pretrain.recipes import Recipe, make_recipe


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("k", value) for value in (1.5, True, "4", None, [], 10**9)),
        *(("weight_decay", value) for value in (float("nan"), float("inf"), "0", 10**9)),
        *(("points", 10**12), ("image_size", 10**6), ("seed", 2**63), ("epochs", 10**10), ("crop", 1), ("name", 3)),
        *(("backbone", []), ("learning_rate", float("inf")), ("temperature", float("inf"))),
    ],
)
def test_a_recorded_recipe_holds_values_that_a_run_can_have(field, value):
    values = {**make_recipe("clean").as_dict(), field: value}
    with pytest.raises(InputError, match=r"config\.json does not hold a recipe of this version"):
        recipe_from(values, "config.json", kind=Recipe)


def test_a_whole_number_stands_for_a_real_one():
    values = {**PartSegRecipe("clean").as_dict(), "shift": 0}
    assert recipe_from(values, "config.json", kind=PartSegRecipe).shift == 0


@pytest.mark.parametrize("text", ["1_0", "٣", "0x10", "1e999", "9" * 5000, "None", "[]", "", " ", "nan", "-inf"])
def test_an_override_is_a_plain_number(text):
    for override in (f"k={text}", f"seed={text}"):
        with pytest.raises(InputError, match=r"does not fit|too large") as error:
            make_recipe("clean", [override])
        assert len(str(error.value)) < 200
    with pytest.raises(InputError):
        make_rfs_recipe([f"learning_rate={text}"])


def test_a_large_seed_is_kept_to_its_last_digit():
    assert make_recipe("clean", ["seed=9007199254740991"]).seed == 2**53 - 1


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"recipe": 3}', '{"recipe": {"name": 3}}', "[" * 100_000])
def test_a_config_that_is_no_start_of_a_run_is_one_line(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"config\.json: "):
        read_config(tmp_path)


def parts():
    torch.manual_seed(0)
    network = torch.nn.Linear(3, 4)
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.ones(2, 3)).sum().backward()
    optimiser.step()
    return network, optimiser


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"step": "three"}, "does not hold a run's network and steps"),
        ({"step": -1}, "does not hold a run's network and steps"),
        ({"step": True}, "does not hold a run's network and steps"),
        ({"network": [1]}, "does not hold a run's network and steps"),
        ({"network": {"weight": torch.zeros(1)}}, "damaged or not the checkpoints of this run"),
        ({"optimiser": None}, "damaged or not the checkpoints of this run"),
        ({"data": 3}, "the training data has changed since the run started"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path, changes, said):
    network, optimiser = parts()
    state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "data": "abc"}
    torch.save({"step": 3, **state, **changes}, tmp_path / "step-00000003.pt")
    with pytest.raises(InputError) as error:
        restore(tmp_path, network, optimiser=optimiser, data="abc")
    shown = str(error.value)
    if "no checkpoint in" in shown:
        with pytest.raises(InputError, match=said):
            read_checkpoint(tmp_path / "step-00000003.pt")
    else:
        assert said in shown
    assert shown.isprintable()


def test_an_optimiser_of_another_network_is_refused(tmp_path):
    network, optimiser = parts()

    def kept(change):
        state = optimiser.state_dict()
        change(state)
        save_checkpoint(tmp_path, 3, state={"network": network.state_dict(), "optimiser": state, "data": "abc"})
        fresh, other = parts()
        with pytest.raises(InputError) as error:
            restore(tmp_path, fresh, optimiser=other, data="abc")
        return str(error.value)

    def groups(state):
        state["param_groups"][0]["params"] = [0]

    def shape(state):
        state["state"][0]["exp_avg"] = torch.zeros(1).expand(10**9)

    assert "the optimiser is of another network" in kept(groups)
    assert "the optimiser's exp_avg does not fit" in kept(shape)


def test_a_run_goes_on_from_its_own_checkpoint(tmp_path):
    network, optimiser = parts()
    state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "data": "abc"}
    save_checkpoint(tmp_path, 3, state=state)
    other, again = parts()
    torch.nn.init.zeros_(other.weight)
    assert restore(tmp_path, other, optimiser=again, data="abc")["step"] == 3
    assert torch.equal(other.weight, network.weight)


def test_the_options_of_an_optimiser_are_the_recipes(tmp_path):
    network, optimiser = parts()
    hostile = optimiser.state_dict()
    hostile["param_groups"][0] |= {"lr": "high", "betas": None, "maximize": True}
    save_checkpoint(tmp_path, 3, state={"network": network.state_dict(), "optimiser": hostile, "data": "abc"})
    again = parts()
    before = again[1].param_groups[0]["betas"]
    restore(tmp_path, again[0], optimiser=again[1], data="abc")
    again[1].step()
    assert (again[1].param_groups[0]["betas"], again[1].param_groups[0]["maximize"]) == (before, False)
    assert again[1].state[again[0].weight]["step"] == 2


@pytest.mark.parametrize("line", ["{}", "[1]", '{"step": "x"}', '{"step": 1', "[" * 100_000])
def test_a_line_that_is_no_step_is_not_dropped_silently(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl: "):
        Recorder(tmp_path, 2)
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 3


def test_what_a_killed_run_left_half_written_is_dropped(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "lo')
    with Recorder(tmp_path, 2) as recorder:
        assert recorder.last == {"step": 1, "loss": 2.5}
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "loss": 2.5}
