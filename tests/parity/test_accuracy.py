from dataclasses import replace

import numpy as np
import pytest
import torch

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.data.points import normalise
from crosspoint.parity.accuracy import SvmAccuracy, inner_accuracy, require_objects, verification_clouds
from crosspoint.parity.limits import require_accuracy


class Through:
    """An encoder that gives what the network gives, or zeros."""

    def __init__(self, network, factor=1.0):
        self.network, self.factor = network, factor

    def embed(self, points):
        with torch.inference_mode():
            return self.network(torch.from_numpy(points)).numpy() * self.factor


def test_the_trained_network_loses_nothing_against_itself(network, modelnet):
    probe = verification_clouds(modelnet, 48, limit=None)
    model = network("pointnet")
    task = SvmAccuracy(Through(model).embed(probe.points), probe).compare(Through(model))
    assert task.difference == 0
    assert task.paired.equal_predictions == 1
    assert (task.objects, task.training_clouds) == (15, 45)
    assert task.paired.reference_accuracy > 0.5
    require_accuracy("a.onnx", task, max_drop=0.0)


def test_its_accuracy_is_that_of_scikit_learn(network, modelnet):
    from sklearn.svm import SVC

    probe = verification_clouds(modelnet, 48, limit=None)
    model = network("pointnet")
    task = SvmAccuracy(Through(model).embed(probe.points), probe).compare(Through(model))
    features = Through(model).embed(probe.points)
    classifier = SVC(kernel="linear", C=task.c).fit(features[:45], probe.labels[:45])
    assert task.paired.candidate_accuracy == pytest.approx(classifier.score(features[45:], probe.labels[45:]))


def test_an_encoder_that_tells_nothing_fails(network, modelnet):
    probe = verification_clouds(modelnet, 48, limit=None)
    model = network("pointnet")
    task = SvmAccuracy(Through(model).embed(probe.points), probe).compare(Through(model, 0.0))
    with pytest.raises(CheckFailed, match=r"a\.onnx loses .*% to .*% of \d+ objects, .*\(limit 0\.5\)"):
        require_accuracy("a.onnx", task, max_drop=0.5)


def test_data_without_labels_or_a_wrong_folder_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", normalise(np.random.default_rng(0).standard_normal((40, 3))))
    with pytest.raises(InputError, match="cannot be used for an SVM"):
        verification_clouds(tmp_path, 32, limit=None)
    with pytest.raises(InputError, match="does not exist; give --verify-data"):
        verification_clouds(tmp_path / "nowhere", 32, limit=None)


def test_a_search_sees_a_third_of_the_training_part_and_nothing_else(network, modelnet):
    probe = verification_clouds(modelnet, 48, limit=None)
    model = network("pointnet")
    features = Through(model).embed(probe.points)
    inner = inner_accuracy(features, probe)
    seen, labels = inner._probe.points, inner._probe.labels
    known = {cloud.tobytes() for cloud in probe.points[:45]}
    assert (len(seen), inner._probe.train) == (45, 30)
    assert {cloud.tobytes() for cloud in seen} == known
    assert set(labels[:30]) == set(labels[30:]) == set(probe.labels)
    task = inner.compare(Through(model))
    assert (task.objects, task.training_clouds, task.difference) == (15, 30, 0)


def test_a_training_part_that_is_too_small_has_no_third(network, modelnet):
    probe = verification_clouds(modelnet, 48, limit=None)
    rows = np.concatenate([np.flatnonzero(probe.labels[:45] == label)[:2] for label in np.unique(probe.labels)])
    small = replace(probe, points=probe.points[rows], labels=probe.labels[rows], train=len(rows))
    assert inner_accuracy(Through(network("pointnet")).embed(small.points), small) is None


@pytest.mark.parametrize(("count", "limit"), [(200, 0.5), (3, 0.0), (81, 1.3)])
def test_test_objects_suffice_where_one_is_worth_at_most_the_limit(count, limit, tmp_path):
    require_objects(count, tmp_path, max_drop=limit)


def test_one_object_may_not_be_worth_more_than_the_limit(tmp_path):
    with pytest.raises(InputError, match=r"199 test objects, one of which is worth 0\.50 .*at least 200 test objects"):
        require_objects(199, tmp_path, max_drop=0.5)
