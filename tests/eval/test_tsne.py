import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.data.sets.datasets import Clouds
from crosspoint.data.splits import Split
from crosspoint.eval.tsne import neighbour_accuracy, ten_classes, tsne


def split_of(names):
    labels = np.tile(np.arange(len(names)), 3)
    clouds = Clouds(np.arange(len(labels), dtype=np.float32)[:, None, None] * np.ones((1, 4, 3), np.float32), labels)
    return Split("modelnet40", names, clouds, clouds, "the test split")


def test_modelnet10_is_found_among_other_classes():
    names, objects = ten_classes(split_of(("airplane", "toilet", "bed", "guitar")))
    assert names == ("bed", "toilet")
    assert objects.labels.tolist() == [1, 0] * 3
    assert objects.points[:, 0, 0].tolist() == [1, 2, 5, 6, 9, 10]


def test_other_sets_show_their_first_ten_classes():
    names, objects = ten_classes(split_of(tuple("abcdefghijkl")))
    assert names == tuple("abcdefghij")
    assert sorted(set(objects.labels)) == list(range(10))


def test_groups_that_are_far_apart_stay_apart():
    labels = np.repeat(np.arange(3), 12)
    features = (50 * np.eye(3)[labels] + np.random.default_rng(0).standard_normal((36, 3))).astype(np.float32)
    assert neighbour_accuracy(features, labels) == 1
    assert neighbour_accuracy(tsne(features, 0), labels) == 1


def test_a_neighbour_is_never_the_object_itself():
    features = np.array([[0.0], [0.1], [5.0], [5.1]], np.float32)
    assert neighbour_accuracy(features, np.array([0, 1, 0, 1])) <= 0.5


def test_three_objects_are_too_few():
    with pytest.raises(InputError, match="t-SNE needs at least 4 objects, not 3"):
        tsne(np.zeros((3, 2), np.float32), 0)
