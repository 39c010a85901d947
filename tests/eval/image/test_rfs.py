"""Training on base classes: what an interruption leaves, and where the same command goes on."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.data.sets.cifar_fs import Pictures
from crosspoint.eval.image import rfs
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


class Flat(torch.nn.Flatten):
    """An encoder without weights: the pixels."""

    dim = 12

    def __init__(self, depth):
        super().__init__()
        self.depth = depth


def softmax_regression(images, labels, recipe):
    """Stochastic gradient descent with momentum and weight decay, written out, in float64; weights and bias."""
    torch.manual_seed(recipe.seed)
    start = torch.nn.Linear(12, 2)
    parameters = torch.cat([start.weight.T, start.bias[None]]).detach().double().numpy()  # (12 + 1, 2)
    velocity = np.zeros_like(parameters)
    for epoch in range(recipe.epochs):
        fallen = sum(epoch >= at for at in (3, 4, 5))  # a half, two thirds and five sixths of six epochs
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(recipe.seed + epoch)).numpy()
        for first in range(0, len(order), recipe.batch):
            rows = order[first : first + recipe.batch]
            if len(rows) < 2:
                continue
            x = np.concatenate([images[rows].reshape(len(rows), 12) / 255, np.ones((len(rows), 1))], axis=1)
            odds = np.exp(x @ parameters)
            error = odds / odds.sum(axis=1, keepdims=True) - np.eye(2)[labels[rows]]
            velocity = recipe.momentum * velocity + x.T @ error / len(rows) + recipe.weight_decay * parameters
            parameters = parameters - recipe.learning_rate * 0.1**fallen * velocity
    return parameters


@pytest.mark.parametrize("seed", [0, 3])
def test_training_is_softmax_regression_with_momentum_decay_and_falling_rates(seed, monkeypatch):
    rng = np.random.default_rng(1)
    pictures = Pictures(rng.integers(0, 256, (9, 3, 2, 2), np.uint8), np.arange(9) % 2, ("one", "two"))
    recipe = RFSRecipe(size=2, epochs=6, batch=4, learning_rate=0.5, momentum=0.9, weight_decay=0.01, seed=seed)
    made, seeds, crops = [], [], []
    linear = torch.nn.Linear
    monkeypatch.setattr(rfs, "ImageEncoder", Flat)
    monkeypatch.setattr(rfs.nn, "Linear", lambda *sizes: made.append(linear(*sizes)) or made[-1])
    monkeypatch.setattr(rfs, "_random_shift", lambda images, rng: seeds.append(rng.generator.initial_seed()) or images)
    monkeypatch.setattr(rfs, "augment_images", lambda x, crop, *, rng: crops.append(crop) or x.float() / 255)
    encoder = train_rfs(pictures, None, depth=18, recipe=recipe, device="cpu", cache=None)
    assert (encoder.depth, encoder.training) == (18, False)
    classifier = made[0]
    expected = softmax_regression(pictures.images, pictures.labels, recipe)
    np.testing.assert_allclose(classifier.weight.detach().T, expected[:-1], atol=1e-4)
    np.testing.assert_allclose(classifier.bias.detach(), expected[-1], atol=1e-4)
    assert seeds == [seed + epoch for epoch in range(6) for _ in range(2)]  # the ninth picture is alone in its batch
    assert crops == [False] * 12


def test_a_shift_is_a_crop_of_the_picture_with_four_black_pixels_around_it():
    images = torch.arange(1.0, 1 + 3 * 3 * 25).view(3, 3, 5, 5)
    shares = torch.tensor([[0.0, 0.999], [0.5, 0.2], [1.0, 0.12]])
    rows = [(0, 8), (4, 1), (8, 1)]  # of nine places, the last for a share of one
    moved = rfs._random_shift(images, SimpleNamespace(uniform=lambda *shape: shares))
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)))
    for i, (down, right) in enumerate(rows):
        np.testing.assert_array_equal(moved[i], padded[i, :, down : down + 5, right : right + 5])


def test_a_loss_that_is_not_finite_stops_with_the_epoch(base, monkeypatch):
    losses = iter([1.0, 1.0, 1.0, float("nan")])
    monkeypatch.setattr(rfs.functional, "cross_entropy", lambda given, _: given.sum() * 0 + next(losses))
    recipe = dataclasses.replace(RECIPE, epochs=2)
    with pytest.raises(CheckFailed, match=r"the loss is nan in epoch 2; lower it"):
        train_rfs(base, None, depth=18, recipe=recipe, device="cpu", cache=None)
