"""Objects to label next: uncertain ones, and not the same one twice."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from crosspoint.classify.fit import FitOptions
from crosspoint.classify.fitted import fit_objects
from crosspoint.classify.objects import UnlabelledObjects
from crosspoint.classify.suggest import farthest, relative_entropy, suggest
from crosspoint.core.errors import InputError

CLASSES = ("bed", "car")


@pytest.fixture(scope="module")
def fitted():
    """Class 0 lies around −1 and class 1 around +1 on all axes."""
    labels = np.repeat([0, 1], 6)
    noise = np.random.default_rng(0).normal(size=(12, 4))
    features = np.where(labels == 0, -1.0, 1.0)[:, None] + 0.3 * noise
    return fit_objects(features[:, None].astype(np.float32), labels, head="nearest")


def pool(*places):
    """Objects at places on the line from class 0 to class 1; the last number moves them away from it."""
    features = [[x, x, x, x + away] for x, away in places]
    return UnlabelledObjects([f"{i}.ply" for i in range(len(places))], np.array(features, np.float32))


def test_what_lies_between_the_classes_comes_first(fitted):
    first, *others = suggest(fitted, pool((-1, 0), (0, 0), (1, 0)), classes=CLASSES, count=1)
    assert (first.name, others) == ("1.ply", [])


def test_the_suggestion_names_the_most_probable_class(fitted):
    found = suggest(fitted, pool((-1, 0), (1, 0)), classes=CLASSES, count=2)
    assert {entry.name: entry.label for entry in found} == {"0.ply": "bed", "1.ply": "car"}
    assert all(entry.probability > 0.5 for entry in found)


def test_copies_are_not_suggested_together(fitted):
    """Two copies lie exactly between the classes; of the other two, one is nearly as uncertain."""
    found = suggest(fitted, pool((0, 0), (0, 0), (0.1, 0.4), (1, 0)), classes=CLASSES, count=2)
    assert {entry.name for entry in found} in ({"0.ply", "2.ply"}, {"1.ply", "2.ply"})


def test_a_small_pool_is_suggested_as_a_whole(fitted):
    found = suggest(fitted, pool((0, 0), (1, 0)), classes=CLASSES, count=5)
    assert {entry.name for entry in found} == {"0.ply", "1.ply"}


def test_the_farthest_is_taken_each_time():
    rng = np.random.default_rng(0)
    features, start = rng.normal(size=(20, 3)), rng.normal(size=(4, 3))
    taken = list(start)
    for row in farthest(features, start, count=6):
        apart = cdist(features, taken).min(axis=1)
        assert apart[row] == pytest.approx(apart.max())
        taken.append(features[row])


def test_entropy_is_one_of_equal_probabilities_and_zero_of_a_sure_one():
    found = relative_entropy(np.array([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]]))
    np.testing.assert_allclose(found, [1, 0, 0.5], atol=1e-12)


def test_objects_without_labels_have_to_come_from_somewhere(tmp_path):
    with pytest.raises(InputError, match="--suggest needs unlabelled objects; give --unlabelled FOLDER"):
        FitOptions(suggest=3).pool(tmp_path, None)
    assert FitOptions(suggest=3).pool(tmp_path, tmp_path / "labels.csv") == tmp_path
    assert FitOptions().pool(tmp_path, None) is None


def test_unlabelled_objects_are_for_suggestions(tmp_path):
    with pytest.raises(InputError, match="--unlabelled is for --suggest"):
        FitOptions(unlabelled=tmp_path).check()
