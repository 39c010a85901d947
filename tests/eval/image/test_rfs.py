"""Training on base classes: what an interruption leaves, and where the same command goes on."""

import dataclasses

import numpy as np
import pytest
import torch

from crosspoint.core.errors import InputError
from crosspoint.data.sets.cifar_fs import Pictures
from crosspoint.eval.image.rfs import train_rfs
from crosspoint.eval.image.rfs_recipe import RFSRecipe, make_rfs_recipe
from crosspoint.models.weights import save_model

RECIPE = RFSRecipe(size=32, epochs=4, batch=4, learning_rate=0.01)


@pytest.fixture
def base():
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), np.uint8)
    return Pictures(images, np.arange(10) % 2, ("one", "two"))


def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path, base, monkeypatch):
    whole = train_rfs(base, None, depth=18, recipe=RECIPE, device="cpu", cache=None)
    steps = 0

    def interrupted(optimiser, *given):
        nonlocal steps
        steps += 1
        if steps == 8:  # in the third of four epochs of three steps
            raise KeyboardInterrupt
        return step(optimiser, *given)

    step = torch.optim.SGD.step
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.SGD, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train_rfs(base, None, depth=18, recipe=RECIPE, device="cpu", cache=tmp_path)
        steps = 8  # further steps are counted, none is interrupted
        resumed = train_rfs(base, None, depth=18, recipe=RECIPE, device="cpu", cache=tmp_path)
    assert steps == 8 + 2 * 3
    assert [file.suffix for file in tmp_path.iterdir()] == [".safetensors"]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_finished_training_is_found_again_by_recipe_start_and_pictures(tmp_path, base, monkeypatch):
    first = train_rfs(base, None, depth=18, recipe=RECIPE, device="cpu", cache=tmp_path)
    monkeypatch.setattr(torch.optim, "SGD", None)  # nothing can be trained
    again = train_rfs(base, None, depth=18, recipe=RECIPE, device="cpu", cache=tmp_path)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())
    with pytest.raises(TypeError):  # another recipe trains
        train_rfs(base, None, depth=18, recipe=RFSRecipe(epochs=1), device="cpu", cache=tmp_path)
    with pytest.raises(TypeError):  # other labels train
        train_rfs(
            dataclasses.replace(base, labels=base.labels[::-1].copy()),
            None,
            depth=18,
            recipe=RECIPE,
            device="cpu",
            cache=tmp_path,
        )
    (kept,) = tmp_path.glob("rfs-*.safetensors")
    save_model(again, kept, recipe={"recipe": "another"})
    with pytest.raises(InputError, match="does not match its name; remove it"):
        train_rfs(base, None, depth=18, recipe=RECIPE, device="cpu", cache=tmp_path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoch=3", "no field 'epoch'; did you mean epochs"),
        ("epochs=many", "epochs=many does not fit"),
        ("batch=0", "batch=0 must be at least 1"),
        ("learning_rate=-1", r"learning_rate=-1.0 must be positive"),
        ("momentum=-1", r"momentum=-1.0 must be at least 0"),
        ("epochs", "'epochs' is not of the form key=value"),
    ],
)
def test_a_wrong_field_of_rfs_is_one_line(override, message):
    with pytest.raises(InputError, match=message):
        make_rfs_recipe([override])


def test_fields_of_rfs_keep_their_types():
    recipe = make_rfs_recipe(["epochs=3", "learning_rate=0.1"])
    assert (recipe.epochs, recipe.learning_rate, recipe.batch) == (3, 0.1, 64)
