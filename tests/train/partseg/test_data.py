"""How a set is divided and how its clouds are augmented."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crosspoint.core.errors import InputError
from crosspoint.data.sets.datasets import load_parts
from crosspoint.train.partseg.data import augment_parts, load_part_data
from crosspoint.train.partseg.recipes import PartSegRecipe
from crosspoint.train.pretrain.augment import SampleRng, normalise


def recipe(**fields):
    return PartSegRecipe("clean", **{"k": 4, "points": 32, **fields})


def names(clouds):
    return {cloud.tobytes() for cloud in clouds.points}


def test_a_validation_part_is_held_out_where_there_is_none(part_set):
    whole = load_parts(part_set, None)
    data = load_part_data(part_set, recipe(held_out=0.2))
    assert names(data.train) | names(data.selection) == names(whole.train)
    assert not names(data.train) & names(data.selection)
    assert np.bincount(data.selection.labels).tolist() == [2, 2]
    assert "there is no validation split" in data.selected_on
    again, other = (
        load_part_data(part_set, recipe(held_out=0.2)),
        load_part_data(part_set, recipe(seed=1, held_out=0.2)),
    )
    assert names(again.train) == names(data.train) != names(other.train)
    assert again.fingerprint() == data.fingerprint() != other.fingerprint()


def test_the_set_decides_where_it_has_a_validation_split(write_parts, tmp_path):
    root = write_parts(tmp_path, val=4)
    whole = load_parts(root, None)
    data = load_part_data(root, recipe())
    assert names(data.train) == names(whole.train)
    assert names(data.selection) == names(whole.val)
    test, last = load_part_data(root, recipe(selection="test")), load_part_data(root, recipe(selection="last"))
    assert names(test.train) == names(last.train) == names(whole.train) | names(whole.val)
    assert names(test.selection) == names(whole.test)
    assert last.selection is None


def test_clean_never_sees_test_labels(part_set):
    data = load_part_data(part_set, recipe())
    test = names(load_parts(part_set, None).test)
    assert not test & (names(data.train) | names(data.selection))


def test_what_cannot_be_divided_is_answered(write_parts, part_set, tmp_path):
    with pytest.raises(InputError, match=r"add objects, or take the last epoch: --set selection=last"):
        load_part_data(write_parts(tmp_path, train=3), recipe())
    with pytest.raises(InputError, match="64 points per cloud, 65 were asked for"):
        load_part_data(part_set, recipe(points=65))


def augmented(chosen, seed=0):
    clouds = torch.randn(3, 64, 3, generator=torch.Generator().manual_seed(1))
    numbers = torch.arange(64).expand(3, 64)
    points, parts = augment_parts(clouds, numbers, recipe=chosen, rng=SampleRng(torch.device("cpu")).seed(seed))
    return clouds, points, parts


def test_points_are_shuffled_with_their_labels():
    for resample in (True, False):
        clouds, points, parts = augmented(recipe(resample=resample, stretch=1.0, shift=0.0))
        for cloud, moved, order in zip(clouds, points, parts, strict=True):
            assert len(set(order.tolist())) == 32
            assert order.tolist() != sorted(order.tolist())
            assert (set(order.tolist()) == set(range(32))) == (not resample)
            torch.testing.assert_close(moved, normalise(cloud[order][None])[0])


def test_clouds_are_stretched_and_shifted_as_published():
    factors, shifts = [], []
    for seed in range(100):
        clouds, points, parts = augmented(recipe(), seed)
        before = torch.stack([normalise(c[o][None])[0] for c, o in zip(clouds, parts, strict=True)])
        factor = (points.amax(1) - points.amin(1)) / (before.amax(1) - before.amin(1))  # (3, 3)
        shift = points.mean(1)  # the mean of a normalised cloud is 0
        torch.testing.assert_close(points, before * factor[:, None] + shift[:, None], atol=1e-5, rtol=1e-5)
        factors.append(factor)
        shifts.append(shift)
    factor, shift = torch.cat(factors), torch.cat(shifts)
    assert 2 / 3 - 1e-4 < factor.min() < 0.68
    assert 1.48 < factor.max() < 1.5 + 1e-4
    assert -0.2 - 1e-4 < shift.min() < -0.19
    assert 0.19 < shift.max() < 0.2 + 1e-4
    assert abs(torch.corrcoef(factor.t())[0, 1]) < 0.2, "each axis has a factor of its own"


def test_all_that_decides_a_run_is_in_its_fingerprint(part_set):
    data = load_part_data(part_set, recipe(held_out=0.2))

    def changed(name, array, of="train"):
        clouds = getattr(data, of)
        values = getattr(clouds, name).copy()
        array(values)
        return replace(data, **{of: replace(clouds, **{name: values})})

    def first(values):
        values.flat[0] = 1 - values.flat[0]

    variants = [changed(name, first, of) for of in ("train", "selection") for name in ("points", "labels", "parts")]
    variants.append(replace(data, selection=None))
    variants.append(replace(data, taxonomy=replace(data.taxonomy, parts=tuple(reversed(data.taxonomy.parts)))))
    shape = data.train.points.shape
    clouds = replace(data.train, points=data.train.points.reshape(shape[1], shape[0], 3))
    variants.append(replace(data, train=clouds))
    found = {variant.fingerprint() for variant in (data, *variants)}
    assert len(found) == len(variants) + 1
