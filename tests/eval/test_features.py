import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.points import normalise
from crosspoint.data.sets.datasets import load_classification
from crosspoint.data.splits import load_split, sample, stratified
from crosspoint.eval.features import check_seed, embed_clouds, embed_split
from crosspoint.runtime.load import load_encoder


def test_the_test_split_is_used_where_there_is_one(modelnet):
    split = load_split(modelnet, 32, seed=0)
    assert split.test_from == "the test split"
    assert (len(split.train.labels), len(split.test.labels)) == (45, 15)
    assert split.train.points.shape == (45, 64, 3)


def test_a_missing_test_split_is_held_out_stratified_and_said(tmp_path, writers):
    root = writers["modelnet40"](tmp_path, test=0)
    split = load_split(root, 64, seed=7)
    assert "20% of the training split, stratified, seed 7" in split.test_from
    assert np.bincount(split.test.labels).tolist() == [3, 3, 3]
    both = np.concatenate([split.train.points, split.test.points])
    assert len(np.unique(both.reshape(len(both), -1), axis=0)) == 45


def test_the_held_out_part_depends_on_the_seed_only(tmp_path, writers):
    labels = load_classification(writers["modelnet40"](tmp_path, test=0), 64).train.labels
    np.testing.assert_array_equal(stratified(labels, 0.2, seed=1)[1], stratified(labels, 0.2, seed=1)[1])
    assert not np.array_equal(stratified(labels, 0.2, seed=1)[1], stratified(labels, 0.2, seed=2)[1])


def test_more_points_than_stored_are_refused_with_both_numbers(modelnet):
    with pytest.raises(InputError, match="64 points per cloud, fewer than 65"):
        load_split(modelnet, 65, seed=0)


def test_too_few_objects_to_hold_out_some_of_each_class(tmp_path, writers):
    with pytest.raises(InputError, match="cannot be drawn from 3 objects"):
        load_split(writers["modelnet40"](tmp_path, per_class=1, test=0), 64, seed=0)


def test_samples_are_points_of_their_own_cloud_without_repetition(modelnet):
    clouds = load_split(modelnet, 64, seed=0).train.points
    drawn = sample(clouds, 40, seed=3)
    for cloud, few in zip(clouds, drawn, strict=True):
        whole = {tuple(point) for point in cloud.tolist()}
        chosen = {tuple(point) for point in few.tolist()}
        assert len(chosen) == 40
        assert chosen <= whole
    np.testing.assert_array_equal(drawn, sample(clouds, 40, seed=3))


@pytest.mark.parametrize("test", [0, 5])
def test_parts_are_embedded_as_they_are_and_kept_for_every_division(tmp_path, writers, pointnet, test):
    root, cache = writers["modelnet40"](tmp_path, test=test), tmp_path / "cache"
    with load_encoder(pointnet) as encoder:
        for seed in (0, 1):
            split = load_split(root, 64, seed=seed)
            found = embed_split(
                encoder, split, select=lambda stored: stored[:, :32], description="Embedding", cache=cache
            )
            for features, part in zip(found, (split.train, split.test), strict=True):
                np.testing.assert_allclose(features, embed_clouds(encoder, part.points[:, :32]), rtol=1e-5, atol=1e-6)
    assert len(list(cache.iterdir())) == (2 if test else 1)


def test_embeddings_are_those_of_the_normalised_clouds_in_order(modelnet, pointnet):
    import torch

    from crosspoint.models.weights import load_model

    clouds = 5 + 3 * load_split(modelnet, 64, seed=0).test.points
    with load_encoder(pointnet) as encoder:
        result = embed_clouds(encoder, clouds, batch=4)
    with torch.inference_mode():
        expected = load_model(pointnet)(torch.from_numpy(normalise(clouds))).numpy()
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_no_generator_takes_is_refused(seed):
    with pytest.raises(InputError, match="give 0 to"):
        check_seed(seed)
