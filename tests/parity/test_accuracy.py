import numpy as np
import pytest
import torch

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.data.points import normalise
from crosspoint.parity.accuracy import SvmAccuracy, verification_clouds
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
